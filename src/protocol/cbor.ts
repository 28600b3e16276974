import { utf8 } from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";
import { CborDecoder } from "./cbor_decoder.ts";
import { encode } from "./cbor_encoder.ts";
import type { CborValue } from "./cbor_value.ts";

/**
 * Encodes `value` with definite lengths and shortest integers; map entries keep the order in which
 * they were inserted. The array is freshly allocated and exactly sized.
 *
 * @throws {TypeError | RangeError} when `value` holds something that {@linkcode CborValue} has not.
 */
export function encodeCbor(value: CborValue): Uint8Array<ArrayBuffer> {
  return encode(value);
}

/**
 * Decodes exactly one value. Byte strings in it are views on `bytes`: copy what is kept beyond the
 * life of the frame.
 *
 * Refused: indefinite lengths, tags, floats, `undefined` and other simple values, integers beyond
 * 2^53 − 1, integers and lengths in more bytes than needed, invalid UTF-8, map keys other than
 * integers and text, duplicate keys, lengths beyond the input, nesting deeper than
 * `MAX_CBOR_DEPTH`, and trailing bytes.
 *
 * @throws {ProtocolError} `malformed`.
 */
export function decodeCbor(bytes: Uint8Array): CborValue {
  // A plain view: what is read from a Buffer would be Buffers.
  const decoder = new CborDecoder(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length));
  try {
    const value = decoder.read();
    if (!decoder.isAtEnd) throw new Error("trailing bytes");
    return value;
  } catch (error) {
    throw new ProtocolError("malformed", "Not a CBOR value as the protocol writes it", {
      cause: error,
    });
  }
}

/** Like {@linkcode decodeCbor}, and the value must be a map. @throws {ProtocolError} `malformed`. */
export function decodeCborMap(bytes: Uint8Array): CborMap {
  const value = decodeCbor(bytes);
  if (!(value instanceof Map)) throw new ProtocolError("malformed", "CBOR value is not a map");
  return new CborMap(value);
}

/**
 * Reads a decoded map field by field. Unknown keys are ignored. Each getter throws
 * {@linkcode ProtocolError} `malformed` when its field is missing, of another type or out of
 * bounds. Byte strings are views on the decoded frame.
 */
export class CborMap {
  readonly #fields: ReadonlyMap<number | string, CborValue>;

  constructor(fields: ReadonlyMap<number | string, CborValue>) {
    this.#fields = fields;
  }

  get size(): number {
    return this.#fields.size;
  }

  keys(): (number | string)[] {
    return [...this.#fields.keys()];
  }

  /** True when the field is present and not null. */
  has(key: number | string): boolean {
    const value = this.#fields.get(key);
    return value !== undefined && value !== null;
  }

  /** A byte string, of exactly `length` bytes if that is given. */
  bytes(key: number | string, length?: number): Uint8Array {
    const value = this.#fields.get(key);
    if (!(value instanceof Uint8Array)) throw malformed(key, "a byte string");
    if (length !== undefined && value.length !== length) throw malformed(key, `${length} bytes`);
    return value;
  }

  /** A byte string of at most `max` bytes. */
  bytesUpTo(key: number | string, max: number): Uint8Array {
    const value = this.bytes(key);
    if (value.length > max) throw malformed(key, `at most ${max} bytes`);
    return value;
  }

  /** An unsigned integer of at most `max`. */
  uint(key: number | string, max: number = Number.MAX_SAFE_INTEGER): number {
    const value = this.#fields.get(key);
    if (typeof value !== "number" || value < 0) throw malformed(key, "an unsigned integer");
    if (value > max) throw malformed(key, `at most ${max}`);
    return value;
  }

  /** Text of at most `maxBytes` bytes of UTF-8. */
  text(key: number | string, maxBytes: number): string {
    const value = this.#fields.get(key);
    if (typeof value !== "string") throw malformed(key, "text");
    if (value.length > maxBytes || utf8(value).length > maxBytes) {
      throw malformed(key, `at most ${maxBytes} bytes of text`);
    }
    return value;
  }

  boolean(key: number | string): boolean {
    const value = this.#fields.get(key);
    if (typeof value !== "boolean") throw malformed(key, "a boolean");
    return value;
  }

  /** An array of at most `maxItems` items of any kind. */
  array(key: number | string, maxItems: number): CborValue[] {
    const value = this.#fields.get(key);
    if (!Array.isArray(value)) throw malformed(key, "an array");
    if (value.length > maxItems) throw malformed(key, `at most ${maxItems} items`);
    return value;
  }

  /** An array of at most `maxItems` byte strings of exactly `length` bytes each. */
  bytesArray(key: number | string, length: number, maxItems: number): Uint8Array[] {
    const items = indexed(this.array(key, maxItems));
    return items.keys().map((index) => items.bytes(index, length));
  }

  /** An array of at most `maxItems` unsigned integers of at most `max` each. */
  uintArray(key: number | string, max: number, maxItems: number): number[] {
    const items = indexed(this.array(key, maxItems));
    return items.keys().map((index) => items.uint(index, max));
  }

  /** An array of exactly `columns` items, read by the same getters with the index as key. */
  row(key: number | string, columns: number): CborMap {
    const items = this.array(key, columns);
    if (items.length !== columns) throw malformed(key, `${columns} items`);
    return indexed(items);
  }

  /** An array of at most `maxItems` arrays of exactly `columns` items each. */
  rows(key: number | string, columns: number, maxItems: number): CborMap[] {
    const items = indexed(this.array(key, maxItems));
    return items.keys().map((index) => items.row(index, columns));
  }

  /** A nested map. */
  map(key: number | string): CborMap {
    const value = this.#fields.get(key);
    if (!(value instanceof Map)) throw malformed(key, "a map");
    return new CborMap(value);
  }
}

function indexed(items: readonly CborValue[]): CborMap {
  return new CborMap(new Map(items.entries()));
}

function malformed(key: number | string, expected: string): ProtocolError {
  return new ProtocolError("malformed", `CBOR field ${key} is not ${expected}`);
}
