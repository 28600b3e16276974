import assert from "node:assert/strict";
import { optionsDocument } from "../../tasks/options_doc.ts";

Deno.test("docs/options.md says what the table of options says", async () => {
  const written = await Deno.readTextFile(new URL("../../docs/options.md", import.meta.url));
  assert.equal(written, optionsDocument(), "run: deno task options-doc");
});
