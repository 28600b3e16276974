// deno-lint-ignore-file no-console -- a task speaks to the terminal that started it.
/**
 * Makes `src/roles/server/dashboard/page.js`, the script of the dashboard, of the modules in
 * `dashboard/page/`; `--check` only compares.
 */

import { browserScript } from "./browser_script.ts";

const FOLDER = new URL("../src/roles/server/dashboard/", import.meta.url);
const SCRIPT = new URL("page.js", FOLDER);

/** The modules as one script for browsers. @throws {Error} with what the bundler said. */
export async function dashboardScript(): Promise<string> {
  return await browserScript(new URL("page/main.ts", FOLDER));
}

if (import.meta.main) {
  const wanted = await dashboardScript();
  if (!Deno.args.includes("--check")) {
    await Deno.writeTextFile(SCRIPT, wanted);
  } else if (await Deno.readTextFile(SCRIPT).catch(() => "") !== wanted) {
    console.error("The dashboard's page.js is not up to date; run: deno task dashboard");
    Deno.exit(1);
  }
}
