/*
 * CBOR (RFC 8949) whose form is known before: messages that make up nearly all traffic are maps of
 * the same keys in the same order. Reading those by comparing and writing them by copying takes a
 * fifth of the time of the codec in `cbor.ts`, which stays what everything else goes through, and
 * what decides about bytes in any other form.
 */

const UINT = 0;
const BYTES = 2;
const MAX_UINT = 0xffff_ffff;
/** The longest head that is written or read here. */
const MAX_HEAD = 5;

/** Reads items one after another as long as they are what is expected. */
export class FixedReader {
  readonly #data: Uint8Array;
  #position = 0;
  #isAsExpected = true;

  constructor(data: Uint8Array) {
    // A node Buffer would make more of itself of every part.
    this.#data = new Uint8Array(data.buffer, data.byteOffset, data.length);
  }

  /** Whether all was as expected, up to the very end. */
  get isWhole(): boolean {
    return this.#isAsExpected && this.#position === this.#data.length;
  }

  /** Passes over bytes that are always the same. */
  constant(expected: Uint8Array): void {
    const start = this.#position;
    this.#position += expected.length;
    for (let i = 0; i < expected.length; i++) {
      if (this.#data[start + i] !== expected[i]) this.#isAsExpected = false;
    }
  }

  /** A byte string, a view; of exactly `length` bytes if that is given. */
  bytes(length?: number): Uint8Array {
    const found = this.#head(BYTES);
    const start = this.#position;
    this.#position += found;
    if (this.#position > this.#data.length) this.#isAsExpected = false;
    if (length !== undefined && found !== length) this.#isAsExpected = false;
    return this.#data.subarray(start, this.#position);
  }

  /** An unsigned integer below 2^32; larger ones are not expected. */
  uint(): number {
    return this.#head(UINT);
  }

  /** The argument of an item's head in its shortest form, 0 for what is not expected. */
  #head(major: number): number {
    const first = this.#data[this.#position++] ?? 0xff;
    const minor = first & 0x1f;
    if (first >> 5 !== major || minor > 26) return this.#unexpected();
    if (minor < 24) return minor;
    const width = 1 << (minor - 24);
    let argument = 0;
    for (let i = 0; i < width; i++) {
      argument = argument * 256 + (this.#data[this.#position++] ?? NaN);
    }
    const smallest = width === 1 ? 24 : 256 ** (width / 2);
    return argument >= smallest ? argument : this.#unexpected();
  }

  #unexpected(): number {
    this.#isAsExpected = false;
    return 0;
  }
}

/** Writes items one after another into one array. */
export class FixedWriter {
  readonly #target: Uint8Array<ArrayBuffer>;
  #position = 0;

  /** @param length of all constants and byte strings; `heads` items beside them have a head. */
  constructor(length: number, heads: number) {
    this.#target = new Uint8Array(length + heads * MAX_HEAD);
  }

  /** Bytes that are always the same. */
  constant(bytes: Uint8Array): this {
    this.#target.set(bytes, this.#position);
    this.#position += bytes.length;
    return this;
  }

  bytes(content: Uint8Array): this {
    this.#head(BYTES, content.length);
    return this.constant(content);
  }

  /** @throws {RangeError} for an integer of more than 32 bits. */
  uint(value: number): this {
    this.#head(UINT, value);
    return this;
  }

  /** What was written. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#target.subarray(0, this.#position);
  }

  #head(major: number, argument: number): void {
    if (!isFixedUint(argument)) throw new RangeError(`Cannot write the number ${argument}`);
    const width = argument < 24 ? 0 : argument < 0x100 ? 1 : argument < 0x1_0000 ? 2 : 4;
    const minor = width === 0 ? argument : 24 + (width >> 1);
    this.#target[this.#position++] = major << 5 | minor;
    for (let shift = 8 * (width - 1); shift >= 0; shift -= 8) {
      this.#target[this.#position++] = argument >>> shift & 0xff;
    }
  }
}

/** Whether a number can be written by {@linkcode FixedWriter}. */
export function isFixedUint(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= MAX_UINT;
}
