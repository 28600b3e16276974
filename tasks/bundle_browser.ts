// deno-lint-ignore-file no-console -- a task speaks to the terminal that started it.
/**
 * Makes the library for pages (`src/browser.ts`): `dist/cairn.js` as one module, and beside it
 * `dist/cairn.d.ts`, its types.
 */

import { browserScript } from "./browser_script.ts";
import { moduleTypes } from "./browser_types.ts";

const ENTRY = new URL("../src/browser.ts", import.meta.url);
const FOLDER = new URL("../dist/", import.meta.url);

/** Where Deno finds the types of the module; others look beside it. */
const TYPES_ARE_IN = '/* @ts-self-types="./cairn.d.ts" */\n';

/** The library as one module for browsers. @throws {Error} with what the bundler said. */
export async function browserLibrary(): Promise<string> {
  return TYPES_ARE_IN + await browserScript(ENTRY);
}

/** Its types, as one file of declarations. */
export async function browserTypes(): Promise<string> {
  return await moduleTypes(ENTRY);
}

if (import.meta.main) {
  await Deno.mkdir(FOLDER, { recursive: true });
  const made = { "cairn.js": await browserLibrary(), "cairn.d.ts": await browserTypes() };
  for (const [name, text] of Object.entries(made)) {
    await Deno.writeTextFile(new URL(name, FOLDER), text);
    console.log(`dist/${name}: ${Math.ceil(text.length / 1000)} kB`);
  }
}
