import assert from "node:assert/strict";
import { opaqueString } from "../../../src/protocol/turn/opaque_string.ts";

/** RFC 8265 section 4.3 and what lies beside it. */
const PREPARED: [text: string, prepared: string, why: string][] = [
  ["correct horse battery staple", "correct horse battery staple", "spaces are allowed"],
  ["Correct Horse Battery Staple", "Correct Horse Battery Staple", "case counts"],
  ["πßå", "πßå", "letters outside ASCII are"],
  ["Jack of ♦s", "Jack of ♦s", "symbols are"],
  ["foo\u1680bar", "foo bar", "another space becomes U+0020"],
  ["e\u0301", "\u00e9", "composed"],
  ["\u00aa", "\u00aa", "compatibility characters stay, unlike in SASLprep"],
  ["The\u00adM\u00aatr\u2168", "TheMatrIX", "the password of RFC 8489 B.1, by SASLprep"],
  ["マトリックス", "マトリックス", "the user of RFC 8489 B.1"],
  ["l\u00b7l", "l\u00b7l", "what depends on context stays as it is"],
];

for (const [text, prepared, why] of PREPARED) {
  Deno.test(`2-AU-55 opaqueString(${JSON.stringify(text)}): ${why}`, () => {
    assert.equal(opaqueString(text), prepared);
  });
}

Deno.test("2-AU-55 opaqueString() refuses nothing, controls, lone surrogates and unassigned characters", () => {
  for (const text of ["", "\u00ad", "a\tb", "a\u0000", "\ud800", "\u2028", "\ue000", "\u{1fffe}"]) {
    assert.equal(opaqueString(text), undefined, JSON.stringify(text));
  }
});
