import { utf8 } from "../base/bytes.ts";
import type { CborValue } from "./cbor_value.ts";

/** Major types in place (RFC 8949, section 3.1). */
const UNSIGNED = 0x00;
const NEGATIVE = 0x20;
const BYTES = 0x40;
const TEXT = 0x60;
const ARRAY = 0x80;
const MAP = 0xa0;
const FALSE = 0xf4;
const TRUE = 0xf5;
const NULL = 0xf6;

/**
 * The encoding of `value` in an array of its own.
 *
 * @throws {TypeError | RangeError} when it holds something that {@linkcode CborValue} has not.
 */
export function encode(value: CborValue): Uint8Array<ArrayBuffer> {
  const encoded = new Uint8Array(lengthOf(value));
  write(encoded, 0, value);
  return encoded;
}

function lengthOf(value: CborValue): number {
  if (typeof value === "string") return lengthOfText(value);
  if (typeof value === "number") {
    if (!Number.isSafeInteger(value)) {
      throw new RangeError(`Cannot encode the number ${value}: not an integer within 2^53 - 1`);
    }
    return headLength(value < 0 ? -1 - value : value);
  }
  if (typeof value === "boolean" || value === null) return 1;
  if (value instanceof Uint8Array) return headLength(value.length) + value.length;
  if (Array.isArray(value)) {
    return value.reduce<number>((sum, item) => sum + lengthOf(item), headLength(value.length));
  }
  if (!(value instanceof Map)) throw new TypeError(`Cannot encode a value of type ${typeof value}`);
  let length = headLength(value.size);
  for (const [key, item] of value) length += lengthOf(key) + lengthOf(item);
  return length;
}

function lengthOfText(text: string): number {
  if (!text.isWellFormed()) throw new TypeError("Cannot encode text with a lone surrogate");
  const length = isAscii(text) ? text.length : utf8(text).length;
  return headLength(length) + length;
}

/** Writes at `at`; returns where that ends. */
function write(to: Uint8Array, at: number, value: CborValue): number {
  if (typeof value === "number") {
    return value < 0 ? writeHead(to, at, NEGATIVE, -1 - value) : writeHead(to, at, UNSIGNED, value);
  }
  if (typeof value === "string") return writeText(to, at, value);
  if (value instanceof Uint8Array) {
    const start = writeHead(to, at, BYTES, value.length);
    to.set(value, start);
    return start + value.length;
  }
  if (value instanceof Map) {
    let end = writeHead(to, at, MAP, value.size);
    for (const [key, item] of value) end = write(to, write(to, end, key), item);
    return end;
  }
  if (Array.isArray(value)) {
    let end = writeHead(to, at, ARRAY, value.length);
    for (const item of value) end = write(to, end, item);
    return end;
  }
  to[at] = value === null ? NULL : value ? TRUE : FALSE;
  return at + 1;
}

function writeText(to: Uint8Array, at: number, text: string): number {
  if (!isAscii(text)) {
    const bytes = utf8(text);
    const start = writeHead(to, at, TEXT, bytes.length);
    to.set(bytes, start);
    return start + bytes.length;
  }
  const start = writeHead(to, at, TEXT, text.length);
  for (let i = 0; i < text.length; i++) to[start + i] = text.charCodeAt(i);
  return start + text.length;
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) >= 0x80) return false;
  return true;
}

/** Bytes of the head that says an integer or a length (section 3). */
function headLength(value: number): number {
  if (value < 24) return 1;
  if (value < 2 ** 8) return 2;
  if (value < 2 ** 16) return 3;
  return value < 2 ** 32 ? 5 : 9;
}

function writeHead(to: Uint8Array, at: number, major: number, value: number): number {
  const length = headLength(value);
  if (length === 1) {
    to[at] = major | value;
    return at + 1;
  }
  to[at] = major | (length === 2 ? 24 : length === 3 ? 25 : length === 5 ? 26 : 27);
  let rest = value;
  for (let i = length - 1; i > 0; i--) {
    to[at + i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return at + length;
}
