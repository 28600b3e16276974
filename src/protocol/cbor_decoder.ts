import { fromUtf8 } from "../base/bytes.ts";
import type { CborValue } from "./cbor_value.ts";

/** Deepest nesting of arrays and maps that is accepted. */
export const MAX_CBOR_DEPTH = 8;

/** Major types (RFC 8949, section 3.1). */
const UNSIGNED = 0;
const NEGATIVE = 1;
const BYTES = 2;
const TEXT = 3;
const ARRAY = 4;
const MAP = 5;
const FALSE = 0xf4;
const TRUE = 0xf5;
const NULL = 0xf6;

/** Reads one value strictly; what it refuses is an `Error` that says why. */
export class CborDecoder {
  readonly #data: Uint8Array;
  #at = 0;
  #depth = 0;

  constructor(data: Uint8Array) {
    this.#data = data;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#data.length;
  }

  read(): CborValue {
    const first = this.#byte();
    const major = first >> 5;
    switch (major) {
      case UNSIGNED:
        return this.#argument(first);
      case NEGATIVE:
        return this.#negative(first);
      case BYTES:
        return this.#bytes(first);
      case TEXT:
        return this.#text(first);
      case ARRAY:
        return this.#array(first);
      case MAP:
        return this.#map(first);
    }
    if (first === FALSE || first === TRUE) return first === TRUE;
    if (first === NULL) return null;
    throw new Error("tag, float, or a simple value other than false, true and null");
  }

  #byte(): number {
    const byte = this.#data[this.#at++];
    if (byte === undefined) throw new Error("cut off");
    return byte;
  }

  /** An integer or a length, in as few bytes as it needs (section 3). */
  #argument(first: number): number {
    const minor = first & 0x1f;
    if (minor < 24) return minor;
    if (minor > 27) throw new Error("length is indefinite or reserved");
    const width = 1 << (minor - 24);
    let value = 0;
    for (let i = 0; i < width; i++) value = value * 256 + this.#byte();
    if (value < (minor === 24 ? 24 : 256 ** (width / 2))) throw new Error("more bytes than needed");
    if (value > Number.MAX_SAFE_INTEGER) throw new Error("beyond 2^53 - 1");
    return value;
  }

  #negative(first: number): number {
    const value = -1 - this.#argument(first);
    if (value < Number.MIN_SAFE_INTEGER) throw new Error("beyond 2^53 - 1");
    return value;
  }

  #bytes(first: number): Uint8Array {
    const length = this.#argument(first);
    const start = this.#at;
    if (length > this.#data.length - start) throw new Error("string longer than the input");
    this.#at += length;
    return this.#data.subarray(start, this.#at);
  }

  #text(first: number): string {
    const start = this.#at;
    const length = first & 0x1f;
    // Keys of maps: a decoder of UTF-8 takes longer to be called than they to be read.
    if (length < 24 && start + length <= this.#data.length) {
      const text = asciiOf(this.#data, start, start + length);
      if (text !== undefined) {
        this.#at += length;
        return text;
      }
    }
    return fromUtf8(this.#bytes(first));
  }

  #array(first: number): CborValue[] {
    const length = this.#enter(first, 1);
    const items: CborValue[] = [];
    for (let i = 0; i < length; i++) items.push(this.read());
    this.#depth--;
    return items;
  }

  #map(first: number): Map<number | string, CborValue> {
    const length = this.#enter(first, 2);
    const map = new Map<number | string, CborValue>();
    for (let i = 0; i < length; i++) {
      const key = this.#key();
      map.set(key, this.read());
      if (map.size === i) throw new Error("duplicate map key");
    }
    this.#depth--;
    return map;
  }

  #key(): number | string {
    const first = this.#byte();
    switch (first >> 5) {
      case UNSIGNED:
        return this.#argument(first);
      case NEGATIVE:
        return this.#negative(first);
      case TEXT:
        return this.#text(first);
    }
    throw new Error("map key is neither an integer nor text");
  }

  /** Begins a container; every item takes a byte at least. */
  #enter(first: number, bytesPerItem: number): number {
    const length = this.#argument(first);
    if (length * bytesPerItem > this.#data.length - this.#at) {
      throw new Error("container longer than the input");
    }
    if (++this.#depth > MAX_CBOR_DEPTH) throw new Error("nested too deeply");
    return length;
  }
}

function asciiOf(data: Uint8Array, start: number, end: number): string | undefined {
  let text = "";
  for (let at = start; at < end; at++) {
    const code = data[at]!;
    if (code >= 0x80) return undefined;
    text += String.fromCharCode(code);
  }
  return text;
}
