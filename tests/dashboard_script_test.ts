import { equal } from "node:assert/strict";
import { dashboardScript } from "../tasks/dashboard.ts";

const SCRIPT = new URL("../src/roles/server/dashboard/page.js", import.meta.url);

Deno.test("The dashboard's script is made of the modules beside it", async () => {
  equal(await Deno.readTextFile(SCRIPT), await dashboardScript(), "run: deno task dashboard");
});
