/** PINs as the reference project publishes them, read where `crypto_vectors_test.ts` reads its own. */

import { equal } from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { fromHex } from "../../src/base/bytes.ts";
import { formatPin, makePin, parsePin } from "../../src/protocol/pairing/pin.ts";

const folder = Deno.env.get("CAIRN_VECTORS") ??
  new URL("../../../shared/vectors", import.meta.url).pathname;
const vectorsFile = `${folder}/pairing/pin_code_vectors.json`;

/** The fields that the checks read; each vector has some of them. */
interface PinVector {
  readonly id: string;
  readonly input: { readonly "entropy_hex"?: string; readonly "pin_raw"?: string };
  readonly "expected_output": {
    readonly "pin_formatted"?: string;
    readonly normalized?: string;
    readonly valid?: boolean;
  };
}

Deno.test({
  name: "PINs are those of the reference's published vectors",
  ignore: !existsSync(vectorsFile),
  fn() {
    const { vectors }: { vectors: PinVector[] } = JSON.parse(readFileSync(vectorsFile, "utf8"));
    equal(vectors.length > 8, true);
    for (const { id, input, expected_output: expected } of vectors) {
      const { entropy_hex: entropy, pin_raw: raw } = input;
      if (entropy !== undefined) {
        equal(formatPin(makePin(fromHex(entropy))), expected.pin_formatted, id);
      } else {
        const pin = parsePin(raw ?? "");
        equal(
          pin && formatPin(pin),
          expected.valid === false ? undefined : expected.normalized,
          id,
        );
      }
    }
  },
});
