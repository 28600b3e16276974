// deno-lint-ignore-file no-console -- a task speaks to the terminal that started it.
/** Serves `examples/browser/` on this machine: `deno task browser-example [port]`. */

import { browserScript } from "./browser_script.ts";
import { serveSite } from "./site.ts";

const EXAMPLE = new URL("../examples/browser/", import.meta.url);
const PORT = 8_000;

/** The example's files by their path. @throws {Error} with what the bundler said. */
export async function browserExample(): Promise<Record<string, string>> {
  const [page, style, script] = await Promise.all([
    Deno.readTextFile(new URL("index.html", EXAMPLE)),
    Deno.readTextFile(new URL("chat.css", EXAMPLE)),
    browserScript(new URL("chat.ts", EXAMPLE)),
  ]);
  return { "/": page, "/chat.css": style, "/chat.js": script };
}

if (import.meta.main) {
  const site = serveSite(await browserExample(), Number(Deno.args[0] ?? PORT));
  console.log(`The example is at ${site.url}`);
}
