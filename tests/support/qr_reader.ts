import { decode as decodePng } from "fast-png";
import decodeQr from "qr/decode.js";

/** Reads a square QR code, whose modules and pixels `isLight` knows, with a foreign decoder. */
export function readQr(size: number, isLight: (x: number, y: number) => boolean): Uint8Array {
  const data = new Uint8Array(size * size * 4);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      data.fill(isLight(x, y) ? 255 : 0, (y * size + x) * 4, (y * size + x) * 4 + 3);
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

/** Reads the code in an image of one bit a pixel with foreign decoders. */
export function readQrPng(png: Uint8Array): Uint8Array {
  const { width, height, data: bits, depth, channels } = decodePng(png);
  if (depth !== 1 || channels !== 1 || width !== height) {
    throw new Error("Not a square image in black and white");
  }
  const rowLength = Math.ceil(width / 8);
  return readQr(width, (x, y) => {
    return ((bits[y * rowLength + (x >> 3)] ?? 0) >> (7 - x % 8) & 1) === 1;
  });
}
