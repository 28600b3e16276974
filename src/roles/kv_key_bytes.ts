import { concatBytes, utf8 } from "../base/bytes.ts";

const BYTES = 1;
const TEXT = 2;
const NUMBER = 0x21;

/**
 * A key as Deno KV writes it into its store: FoundationDB's tuple layer.
 * @throws {TypeError} for a part that is neither bytes, text nor a number; cairn has no others.
 */
export function keyBytes(key: Deno.KvKey): Uint8Array<ArrayBuffer> {
  return concatBytes(...key.map((part) => {
    if (part instanceof Uint8Array) return terminated(BYTES, part);
    if (typeof part === "string") return terminated(TEXT, utf8(part));
    if (typeof part === "number") return numberBytes(part);
    throw new TypeError(`A key has no part of type ${typeof part}`);
  }));
}

/** The bytes, in which a zero is followed by 255, and a zero that is not. */
function terminated(type: number, bytes: Uint8Array): Uint8Array {
  const parts: number[] = [type];
  for (const byte of bytes) {
    parts.push(byte);
    if (byte === 0) parts.push(0xff);
  }
  return Uint8Array.from([...parts, 0]);
}

/** A double whose bytes sort as numbers do. */
function numberBytes(number: number): Uint8Array {
  const bytes = new Uint8Array(9);
  new DataView(bytes.buffer).setFloat64(1, number);
  const isNegative = ((bytes[1] ?? 0) & 0x80) !== 0;
  for (let i = 1; i < 9; i++) {
    bytes[i] = (bytes[i] ?? 0) ^ (isNegative ? 0xff : i === 1 ? 0x80 : 0);
  }
  bytes[0] = NUMBER;
  return bytes;
}
