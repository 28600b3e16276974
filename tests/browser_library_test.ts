/** `src/browser.ts` as pages get it: one module that no server's runtime is needed for. */

import { deepEqual, ok } from "node:assert/strict";
import { browserLibrary } from "../tasks/bundle_browser.ts";

/** Uncompressed; what a page loads with gzip is about a third. */
const MOST_BYTES = 300_000;
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
