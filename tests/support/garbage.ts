/** Bytes that no honest program sends, always the same ones for the same seed. */

import { concatBytes, u32, utf8 } from "../../src/base/bytes.ts";

export class Garbage {
  #state: number;

  constructor(readonly seed: string) {
    this.#state = [...utf8(seed)].reduce((hash, byte) => Math.imul(hash ^ byte, 16_777_619), 0);
  }

  /** Uniform in [0, below). */
  below(below: number): number {
    return this.#next() % below;
  }

  bytes(length: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length }, () => this.#next() >>> 24);
  }

  one<T>(choices: readonly T[]): T {
    const choice = choices[this.below(choices.length)];
    if (choice === undefined) throw new RangeError("Nothing to choose from");
    return choice;
  }

  /** `bytes` with a few bits flipped, cut off, continued, or with a piece of it replaced. */
  mangled(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
    const copy = bytes.slice();
    switch (this.below(5)) {
      case 0:
        return copy.slice(0, this.below(copy.length + 1));
      case 1:
        return concatBytes(copy, this.bytes(1 + this.below(16)));
      case 2: {
        const at = this.below(copy.length + 1);
        copy.set(this.bytes(Math.min(4, copy.length - at)), at);
        return copy;
      }
      default:
        for (let flips = 1 + this.below(3); flips > 0 && copy.length > 0; flips--) {
          const at = this.below(copy.length);
          copy[at] = copy[at]! ^ 1 << this.below(8);
        }
        return copy;
    }
  }

  /** Mulberry32. */
  #next(): number {
    this.#state = this.#state + 0x6d2b79f5 | 0;
    let t = Math.imul(this.#state ^ this.#state >>> 15, 1 | this.#state);
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t;
    return (t ^ t >>> 14) >>> 0;
  }
}

/** What a decoder of CBOR might stumble over: lengths that lie, depth, and what we never write. */
export function brokenCbor(garbage: Garbage): Uint8Array[] {
  const hex = [
    "", // nothing
    "5b7fffffffffffffff", // 2^63 - 1 bytes are to follow
    "7b00000000ffffffff61", // 2^32 - 1 bytes of text
    "9bffffffffffffffff", // 2^64 - 1 items
    "9a7fffffff00", // 2^31 - 1 items
    "bb0000000100000000", // 2^32 entries
    "bf0102ff", // a map of indefinite length
    "5f41ff41ffff", // bytes in pieces
    "a2010101ff", // a break where a value belongs
    "a2000000", // a map cut off
    "a200010002", // the same key twice
    "a1c101", // a tag as a value's start
    "a1fb3ff000000000000000", // a float as a key
    "a100fb7ff8000000000000", // not a number
    "a161ff00", // text that is not UTF-8
    "a10038ff", // a negative integer
    "a11b7fffffffffffffff00", // a key beyond 2^53
    "a1001800", // an integer in more bytes than necessary
    "a00000", // bytes behind the end
    "f7",
    "ff",
    "1c",
    "d9d9f7a0",
  ];
  return [
    ...hex.map((text) => Uint8Array.fromHex(text)),
    new Uint8Array(1_000).fill(0x81), // a thousand arrays in one another
    new Uint8Array(1_000).fill(0xa1),
    concatBytes(Uint8Array.of(0x9a), u32(3_000), new Uint8Array(3_000)), // more items than allowed
    ...[1, 16, 34, 300].map((length) => garbage.bytes(length)),
  ];
}
