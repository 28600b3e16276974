import { deepStrictEqual, match, strictEqual, throws } from "node:assert/strict";
import { decode as decodePng } from "fast-png";
import decodeQr from "qr/decode.js";
import { qrPng, qrSvg, qrTerminal } from "../../src/roles/qr_code.ts";
import { bytesFor } from "../support/identities.ts";

const payload = Uint8Array.from({ length: 256 }, (_, i) => i);

for (const [what, data] of [["every byte", payload], ["a link", bytesFor("link")]] as const) {
  Deno.test(`qrPng() is read by other programs: ${what}`, () => {
    const { width, height, data: bits, depth, channels } = decodePng(qrPng(data));
    deepStrictEqual([depth, channels, width === height], [1, 1, true]);
    const rowLength = Math.ceil(width / 8);
    const light = (x: number, y: number) => {
      return ((bits[y * rowLength + (x >> 3)] ?? 0) >> (7 - x % 8) & 1) === 1;
    };
    deepStrictEqual(readQr(width, light), data);
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

function readQr(size: number, light: (x: number, y: number) => boolean): Uint8Array {
  const data = new Uint8Array(size * size * 4);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      data.fill(light(x, y) ? 255 : 0, (y * size + x) * 4, (y * size + x) * 4 + 3);
      data[(y * size + x) * 4 + 3] = 255;
    }
  }
  let read: Uint8Array | undefined;
  decodeQr({ width: size, height: size, data }, {
    textDecoder: (bytes) => {
      read = Uint8Array.from(bytes);
      return "";
    },
  });
  if (read === undefined) throw new Error("The code holds nothing");
  return read;
}
