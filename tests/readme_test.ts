/** Holds README.md against the program: its lines of TypeScript are run. */

import { deepEqual, equal, match, ok } from "node:assert/strict";
import { fileURLToPath } from "node:url";

const ROOT = new URL("../", import.meta.url);
const DEADLINE = 180_000;
const page = await Deno.readTextFile(new URL("README.md", ROOT));

Deno.test("The library in README.md is twenty lines that do what they say", async () => {
  const example = new URL("examples/library.ts", ROOT);
  const [, shown = ""] = /```ts\n(.*?)```/s.exec(page) ?? [];
  const [lint = "", ...lines] = (await Deno.readTextFile(example)).split("\n");
  match(lint, /^\/\/ deno-lint-ignore-file/);
  equal(shown.replace('"./src/mod.ts"', '"../src/mod.ts"'), lines.join("\n"));
  ok(lines.filter((line) => line !== "").length <= 25);

  const folder = await Deno.makeTempDir({ prefix: "cairn-readme-" });
  try {
    const config = fileURLToPath(new URL("deno.json", ROOT));
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "--no-check", "-A", "--config", config, example.href],
      cwd: folder,
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const late = setTimeout(() => child.kill("SIGKILL"), DEADLINE);
    let said = "";
    const output = child.stdout.pipeThrough(new TextDecoderStream());
    for await (const text of output) if ((said += text).endsWith("\n")) break;
    clearTimeout(late);
    child.kill("SIGKILL");
    await child.status;
    equal(said, "chat Good morning\n");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("README.md links to pages that are there, and to every page of docs/", async () => {
  const linked = [...page.matchAll(/\]\(((?!https?:)[^)#]+)\)/g)].map(([, path = ""]) => path);
  for (const path of linked) await Deno.stat(new URL(path, ROOT));
  const entries = await Array.fromAsync(Deno.readDir(new URL("docs/", ROOT)));
  const part = /^(performance|relay)_/;
  const pages = entries.map(({ name }) => name).filter((name) => name.endsWith(".md"));
  deepEqual(pages.filter((name) => !part.test(name) && !linked.includes(`docs/${name}`)), []);
});
