// deno-lint-ignore-file no-console -- a task speaks to the terminal that started it.
/**
 * Takes the pictures of docs/dashboard.md: the dashboard of an invented server, on a desktop and on
 * a phone, light and dark. `deno task screenshots [--output FOLDER]`; needs Chromium.
 */

import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { TOKEN } from "../tests/roles/server/managed_scene.ts";
import { DashboardPage } from "../tests/support/dashboard_page.ts";
import { inventedServer } from "../tests/support/invented_server.ts";
import { smallPng } from "./small_png.ts";

const VIEWS = [
  ["desktop-light", 1280, 900, "light"],
  ["desktop-dark", 1280, 900, "dark"],
  ["phone-light", 360, 740, "light"],
  ["phone-dark", 360, 740, "dark"],
] as const;
const WITHIN = 60_000;

const { values } = parseArgs({
  args: Deno.args,
  options: {
    output: { type: "string", default: fileURLToPath(new URL("../docs", import.meta.url)) },
  },
});

await using served = await inventedServer();
await using page = await DashboardPage.open(
  served.url,
  AbortSignal.timeout(WITHIN),
);
await page.signIn(TOKEN);
await page.says("#contact", /^Live$/);
await page.until("the plots", `document.querySelector("svg .line").getAttribute("d").length > 9`);
await page.browser.run("document.activeElement.blur()");
for (const [name, width, height, colour] of VIEWS) {
  await page.as(width, height, colour);
  const file = `${values.output}/dashboard-${name}.png`;
  await Deno.writeFile(file, smallPng(await page.picture()));
  console.log(file);
}
