import { readU32 } from "../../base/bytes.ts";

/** What is needed: any port, an even one, or an even one together with the next. */
export type PortWish = "any" | "even" | "pair";

const NONE = 0xffff;

/**
 * The free ports of a range. Each is as likely as any other, so that nobody can tell which comes
 * next (RFC 6056); a freed port is free at once.
 */
export class PortPool {
  readonly #min: number;
  readonly #random: (length: number) => Uint8Array;
  /** The free ports in no order, as distances from `min`. */
  readonly #free: Uint16Array;
  /** Where in `#free` a port stands; NONE for one that is taken. */
  readonly #places: Uint16Array;
  #count: number;

  /** `min` to `max`, both included, 1 to 65,535. @throws {RangeError} on another range. */
  constructor(
    { min, max }: { readonly min: number; readonly max: number },
    random: (length: number) => Uint8Array,
  ) {
    if (!(min >= 1 && min <= max && max <= 0xffff)) {
      throw new RangeError(`Cannot relay on the ports ${min} to ${max}`);
    }
    this.#min = min;
    this.#random = random;
    this.#count = max - min + 1;
    this.#free = Uint16Array.from({ length: this.#count }, (_, i) => i);
    this.#places = this.#free.slice();
  }

  get freeCount(): number {
    return this.#count;
  }

  /** Takes a port out of the pool (for a pair, the next one too); `undefined` without a fit. */
  take(wish: PortWish): number | undefined {
    const start = this.#below(this.#count);
    for (let i = 0; i < this.#count; i++) {
      const index = this.#free[(start + i) % this.#count]!;
      const port = this.#min + index;
      const isEven = port % 2 === 0;
      if (wish !== "any" && !isEven) continue;
      if (wish === "pair" && !this.#isFree(index + 1)) continue;
      this.#remove(index);
      if (wish === "pair") this.#remove(index + 1);
      return port;
    }
    return undefined;
  }

  /** Puts a port back. Nothing happens when it is free or of no range of this pool. */
  release(port: number): void {
    const index = port - this.#min;
    if (index < 0 || index >= this.#places.length || this.#isFree(index)) return;
    this.#places[index] = this.#count;
    this.#free[this.#count++] = index;
  }

  #isFree(index: number): boolean {
    const place = this.#places[index];
    return place !== undefined && place !== NONE;
  }

  #remove(index: number): void {
    const place = this.#places[index]!;
    const last = this.#free[--this.#count]!;
    this.#free[place] = last;
    this.#places[last] = place;
    this.#places[index] = NONE;
  }

  /** Uniform in [0, limit): what would make some numbers likelier is drawn again. */
  #below(limit: number): number {
    if (limit <= 1) return 0;
    const fair = 2 ** 32 - 2 ** 32 % limit;
    let drawn = readU32(this.#random(4), 0);
    while (drawn >= fair) drawn = readU32(this.#random(4), 0);
    return drawn % limit;
  }
}
