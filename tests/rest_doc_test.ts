import { equal } from "node:assert/strict";
import { restDocument } from "../tasks/rest_doc.ts";

Deno.test("docs/rest.md says what the routes of the management API say", async () => {
  const written = await Deno.readTextFile(new URL("../docs/rest.md", import.meta.url));
  equal(written, await restDocument(), "run: deno task rest-doc");
});
