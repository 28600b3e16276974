/** QR codes of bytes, as images and on a terminal. */

import { crc32, deflateSync } from "node:zlib";
import { encode, type QrCodeGenerateOptions, renderSVG, renderUnicodeCompact } from "uqr";
import { concatBytes, u32, utf8 } from "../base/bytes.ts";

/** Error correction M, and the quiet zone that ISO/IEC 18004 asks for. */
const OPTIONS: QrCodeGenerateOptions = { ecc: "M", boostEcc: false, border: 4 };
const PIXELS_PER_MODULE = 8;
const PNG_SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);

/** A PNG image, black on white. @throws {RangeError} beyond 2,331 bytes. */
export function qrPng(data: Uint8Array): Uint8Array<ArrayBuffer> {
  const { size, data: modules } = encode([...data], OPTIONS);
  const side = size * PIXELS_PER_MODULE;
  const rowLength = 1 + Math.ceil(side / 8);
  const pixels = new Uint8Array(side * rowLength);
  for (let y = 0; y < side; y++) {
    const row = modules[Math.floor(y / PIXELS_PER_MODULE)];
    // One bit a pixel and eight pixels a module: a module is a byte. The first byte names no filter.
    for (const [x, dark] of row?.entries() ?? []) pixels[y * rowLength + 1 + x] = dark ? 0 : 0xff;
  }
  return concatBytes(
    PNG_SIGNATURE,
    // Bit depth 1, greyscale, and the only methods there are (PNG, section 11.2.1).
    chunk("IHDR", concatBytes(u32(side), u32(side), Uint8Array.of(1, 0, 0, 0, 0))),
    chunk("IDAT", deflateSync(pixels)),
    chunk("IEND", new Uint8Array(0)),
  );
}

/** An SVG image, black on white. @throws {RangeError} beyond 2,331 bytes. */
export function qrSvg(data: Uint8Array): string {
  return renderSVG([...data], { ...OPTIONS, pixelSize: PIXELS_PER_MODULE });
}

/** Lines of half blocks for a terminal with light letters on dark ground. */
export function qrTerminal(data: Uint8Array): string {
  return renderUnicodeCompact([...data], OPTIONS);
}

function chunk(type: string, content: Uint8Array): Uint8Array {
  const checked = concatBytes(utf8(type), content);
  return concatBytes(u32(content.length), checked, u32(crc32(checked)));
}
