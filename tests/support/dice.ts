import { concatBytes } from "../../src/base/bytes.ts";

/** Numbers that look random and are the same each time (xorshift32). */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  below(bound: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % bound;
  }

  bytes(length: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length }, () => this.below(256));
  }
}

/** One of `seeds` with a few bytes changed, taken out, doubled or put in, or none of it at all. */
export function mutated(dice: Dice, seeds: readonly Uint8Array[]): Uint8Array {
  if (dice.below(8) === 0) return dice.bytes(dice.below(300));
  let bytes = seeds[dice.below(seeds.length)]!.slice();
  for (let changes = 1 + dice.below(4); changes > 0; changes--) {
    const at = dice.below(bytes.length + 1);
    const to = at + dice.below(bytes.length - at + 1);
    const insertions = [
      dice.bytes(1),
      dice.bytes(dice.below(9)),
      concatBytes(bytes.subarray(at, to), bytes.subarray(at, to)),
      new Uint8Array(0),
    ];
    const insertion = insertions[dice.below(insertions.length)]!;
    bytes = concatBytes(bytes.subarray(0, at), insertion, bytes.subarray(Math.min(to, at + 1)));
  }
  return bytes;
}
