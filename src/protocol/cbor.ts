import {
  decode,
  type DecodeOptions,
  encode,
  type EncodeOptions,
  Token,
  Tokenizer,
  Type,
} from "cborg";
import { fromUtf8, utf8 } from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";
import type { CborValue } from "./cbor_value.ts";

/** Deepest nesting of arrays and maps that is accepted. */
export const MAX_CBOR_DEPTH = 8;

const ENCODE: EncodeOptions = {
  mapSorter: () => 0,
  typeEncoders: {
    number(value: number) {
      if (Number.isSafeInteger(value)) return null;
      throw new RangeError(`Cannot encode the number ${value}: not an integer within 2^53 - 1`);
    },
    string(value: string) {
      if (value.isWellFormed()) return null;
      throw new TypeError("Cannot encode text with a lone surrogate");
    },
  },
};

const DECODE: DecodeOptions = {
  strict: true,
  allowIndefinite: false,
  allowUndefined: false,
  allowBigInt: false,
  useMaps: true,
  rejectDuplicateMapKeys: true,
};

/**
 * Encodes `value` with definite lengths and shortest integers; map entries keep the order in which
 * they were inserted. The array is freshly allocated and exactly sized.
 *
 * @throws {TypeError | RangeError} when `value` holds something that {@linkcode CborValue} has not.
 */
export function encodeCbor(value: CborValue): Uint8Array<ArrayBuffer> {
  // cborg may return a view on a pool that it shares with other encodings.
  return new Uint8Array(encode(value, ENCODE));
}

/**
 * Decodes exactly one value. Byte strings in it are views on `bytes`: copy what is kept beyond the
 * life of the frame.
 *
 * Refused: indefinite lengths, tags, floats, `undefined` and other simple values, integers beyond
 * 2^53 − 1, integers and lengths in more bytes than needed, invalid UTF-8, map keys other than
 * integers and text, duplicate keys, lengths beyond the input, nesting deeper than
 * {@linkcode MAX_CBOR_DEPTH}, and trailing bytes.
 *
 * @throws {ProtocolError} `malformed`.
 */
export function decodeCbor(bytes: Uint8Array): CborValue {
  const input = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  try {
    return decode(input, { ...DECODE, tokenizer: new StrictTokenizer(input) });
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

/** A container that is being read: how many items it still lacks, keys and values counted apart. */
interface OpenContainer {
  readonly isMap: boolean;
  missing: number;
}

/** Adds to cborg's tokenizer what it does not check, and leaves byte strings uncopied. */
class StrictTokenizer extends Tokenizer {
  readonly #open: OpenContainer[] = [];

  constructor(input: Uint8Array) {
    super(input, DECODE);
  }

  override next(): Token {
    const isKey = this.#enterItem();
    const major = (this.data[this._pos] ?? 0) >> 5;
    const isString = major === Type.bytes.major || major === Type.string.major;
    const token = isString ? this.#string(major) : super.next();
    if (isKey && major !== Type.string.major && !isInteger(token)) {
      throw new Error("map key is neither an integer nor text");
    }
    if (token.type === Type.float) throw new Error("floats are not used");
    if (token.type === Type.array) this.#openContainer(false, token.value);
    else if (token.type === Type.map) this.#openContainer(true, token.value);
    return token;
  }

  /** Counts one more item of the innermost open container; true when that item is a map key. */
  #enterItem(): boolean {
    while (this.#open.at(-1)?.missing === 0) this.#open.pop();
    const container = this.#open.at(-1);
    if (!container) return false;
    const isKey = container.isMap && container.missing % 2 === 0;
    container.missing--;
    return isKey;
  }

  #openContainer(isMap: boolean, length: number): void {
    const missing = isMap ? 2 * length : length;
    if (missing > this.data.length - this._pos) throw new Error("container longer than the input");
    this.#open.push({ isMap, missing });
    if (this.#open.length > MAX_CBOR_DEPTH) throw new Error("nested too deeply");
  }

  /** A byte or text string, whose length has the form of an integer of major type 0. */
  #string(major: number): Token {
    const start = this._pos;
    const { length, headLength } = readStringHead(this.data, start);
    const end = start + headLength + length;
    if (end > this.data.length) throw new Error("string longer than the input");
    const content = this.data.subarray(start + headLength, end);
    this._pos = end;
    return major === Type.bytes.major
      ? new Token(Type.bytes, content, end - start)
      : new Token(Type.string, fromUtf8(content), end - start);
  }
}

/** Length of the string whose first byte is at `start`, and of the head that says it. */
function readStringHead(data: Uint8Array, start: number): { length: number; headLength: number } {
  const minor = (data[start] ?? 0) & 0x1f;
  if (minor < 24) return { length: minor, headLength: 1 };
  // 24, 25 and 26 say 1, 2 and 4 bytes; 8 bytes would be a length beyond any frame.
  const width = 1 << (minor - 24);
  if (minor > 26) throw new Error("length is indefinite, reserved or too large");
  let length = 0;
  for (let i = 1; i <= width; i++) length = length * 256 + (data[start + i] ?? NaN);
  const smallest = minor === 24 ? 24 : 256 ** (width / 2);
  if (!(length >= smallest)) throw new Error("length is cut off or in more bytes than necessary");
  return { length, headLength: 1 + width };
}

function isInteger(token: Token): boolean {
  return token.type === Type.uint || token.type === Type.negint;
}
