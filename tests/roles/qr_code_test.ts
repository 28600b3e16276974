import { deepStrictEqual, match, strictEqual, throws } from "node:assert/strict";
import { qrPng, qrSvg, qrTerminal } from "../../src/roles/qr_code.ts";
import { bytesFor } from "../support/identities.ts";
import { readQr, readQrPng } from "../support/qr_reader.ts";

const payload = Uint8Array.from({ length: 256 }, (_, i) => i);

for (const [what, data] of [["every byte", payload], ["a link", bytesFor("link")]] as const) {
  Deno.test(`qrPng() is read by other programs: ${what}`, () => {
    deepStrictEqual(readQrPng(qrPng(data)), data);
  });

  Deno.test(`qrTerminal() is read by other programs: ${what}`, () => {
    const lines = qrTerminal(data).split("\n").map((line) => [...line]);
    const width = lines[0]?.length ?? 0;
    // A letter is two modules, one above the other; what is drawn is light.
    const light = (x: number, y: number) => {
      const letter = lines[y >> 1]?.[x] ?? "█";
      return letter === "█" || letter === (y % 2 === 0 ? "▀" : "▄");
    };
    deepStrictEqual(readQr(width * 8, (x, y) => light(x >> 3, y >> 3)), data);
  });
}

Deno.test("qrSvg() is one image without script or reference", () => {
  const svg = qrSvg(payload);
  match(svg, /^<svg [^>]*viewBox="0 0 \d+ \d+"/);
  strictEqual(/<script|href|<image/.test(svg), false);
});

Deno.test("qrPng() refuses what no code can hold", () => {
  throws(() => qrPng(new Uint8Array(2_332)), RangeError);
});
