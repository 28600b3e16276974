/** `src/browser.ts` as pages get it: one module that no server's runtime is needed for. */

import { deepEqual, ok } from "node:assert/strict";
import { browserLibrary, browserTypes } from "../tasks/bundle_browser.ts";

/** Uncompressed; what a page loads with gzip is about a third. */
const MOST_BYTES = 300_000;
/** What the types have to refuse. */
const WRONG = `
import { BrowserNode, PeerNode } from "./cairn.js";
// @ts-expect-error: only its kinds are made
new PeerNode();
// @ts-expect-error: bytes or text
await (await BrowserNode.create()).send("Qm", "chat", new ArrayBuffer(1));
// @ts-expect-error: there are no folders
await BrowserNode.create({ storagePath: "." });
`;
/** `web_socket_client` asks for it on Deno only. */
const LAZY = ['import("node:tls")'];

Deno.test("The library for pages is one module, and needs nothing of Deno or Node", async () => {
  const script = await browserLibrary();
  ok(script.length < MOST_BYTES, `${script.length} bytes`);
  deepEqual(script.match(/\b(?:import|from|require)\s*\(?\s*["'][\w@:./-]+["']\)?/g) ?? [], LAZY);
  deepEqual(script.match(/\bDeno\.\w+/g) ?? [], []);
  const [, exported = ""] = /\bexport\s*\{([^}]*)\}/.exec(script) ?? [];
  deepEqual(
    exported.split(",").map((name) => name.trim().split(" as ").at(-1)).toSorted(),
    [
      ...["AuthenticationFailed", "BrowserNode", "CairnError", "MAX_DATA_LENGTH"],
      ...["PeerId", "PeerNode", "PeerUnreachable", "TransportExhausted"],
    ],
  );
});

Deno.test("The examples of docs/browser.md are sound by the types beside the module", async () => {
  const page = await Deno.readTextFile(new URL("../docs/browser.md", import.meta.url));
  const examples = [...page.matchAll(/```ts\n(.*?)```/gs)].map(([, code = ""]) => code);
  ok(examples.length >= 2, "the examples were found");
  const folder = await Deno.makeTempDir({ prefix: "cairn-types-" });
  try {
    const files: Record<string, string> = {
      "deno.json": JSON.stringify({ compilerOptions: { strict: true, lib: ["esnext", "dom"] } }),
      "cairn.js": await browserLibrary(),
      "cairn.d.ts": await browserTypes(),
      "wrong.ts": WRONG,
    };
    for (const [index, code] of examples.entries()) files[`example_${index}.ts`] = code;
    for (const [name, text] of Object.entries(files)) {
      await Deno.writeTextFile(`${folder}/${name}`, text);
    }
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["check", "."],
      cwd: folder,
      env: { NO_COLOR: "1" },
      stdin: "null",
    }).output();
    ok(success, new TextDecoder().decode(stderr));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
