// deno-lint-ignore-file no-console -- a task speaks to the terminal that started it.
/** Makes `dist/cairn.js`, the library for pages (`src/browser.ts`) as one module. */

import { browserScript } from "./browser_script.ts";

const FOLDER = new URL("../dist/", import.meta.url);

/** The library as one module for browsers. @throws {Error} with what the bundler said. */
export async function browserLibrary(): Promise<string> {
  return await browserScript(new URL("../src/browser.ts", import.meta.url));
}

if (import.meta.main) {
  const script = await browserLibrary();
  await Deno.mkdir(FOLDER, { recursive: true });
  await Deno.writeTextFile(new URL("cairn.js", FOLDER), script);
  console.log(`dist/cairn.js: ${Math.ceil(script.length / 1000)} kB`);
}
