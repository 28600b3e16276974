import { readU32 } from "../../base/bytes.ts";
import type { PortSupply } from "./siblings.ts";

/** What is needed: any port, an even one, or an even one together with the next. */
export type PortWish = "any" | "even" | "pair";

const NONE = 0xffff;

/** Ports, both included. */
export interface PortRange {
  readonly min: number;
  readonly max: number;
}

/** What a pool keeps, in memory that several threads may share. */
export interface PortPoolMemory {
  /** The free ports in no order, as distances from the first of the range. */
  readonly free: Uint16Array;
  /** Where in `free` a port stands; 0xFFFF for one that is taken. */
  readonly places: Uint16Array;
  /** How many are free. */
  readonly count: Int32Array;
}

/** Memory in which all ports are free; `allocate` makes a buffer of so many bytes. */
export function portPoolMemory(
  { min, max }: PortRange,
  allocate: (length: number) => ArrayBufferLike = (length) => new ArrayBuffer(length),
): PortPoolMemory {
  const length = max - min + 1;
  const free = new Uint16Array(allocate(2 * length));
  const places = new Uint16Array(allocate(2 * length));
  const count = new Int32Array(allocate(4));
  for (let i = 0; i < length; i++) free[i] = places[i] = i;
  count[0] = length;
  return { free, places, count };
}

/**
 * The free ports of a range. Each is as likely as any other, so that nobody can tell which comes
 * next (RFC 6056); a freed port is free at once.
 */
export class PortPool implements PortSupply {
  readonly #min: number;
  readonly #random: (length: number) => Uint8Array;
  readonly #free: Uint16Array;
  readonly #places: Uint16Array;
  readonly #count: Int32Array;

  /**
   * `min` to `max`, both included, 1 to 65,535; of several pools in one memory only one may be used
   * at a time. @throws {RangeError} on another range.
   */
  constructor(
    { min, max }: PortRange,
    random: (length: number) => Uint8Array,
    memory?: PortPoolMemory,
  ) {
    if (!(min >= 1 && min <= max && max <= 0xffff)) {
      throw new RangeError(`Cannot relay on the ports ${min} to ${max}`);
    }
    this.#min = min;
    this.#random = random;
    const { free, places, count } = memory ?? portPoolMemory({ min, max });
    this.#free = free;
    this.#places = places;
    this.#count = count;
  }

  get freeCount(): number {
    return this.#count[0]!;
  }

  /** Takes a port out of the pool (for a pair, the next one too); `undefined` without a fit. */
  take(wish: PortWish): number | undefined {
    const count = this.freeCount;
    const start = this.#below(count);
    for (let i = 0; i < count; i++) {
      const index = this.#free[(start + i) % count]!;
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
    const count = this.#count[0]!++;
    this.#places[index] = count;
    this.#free[count] = index;
  }

  #isFree(index: number): boolean {
    const place = this.#places[index];
    return place !== undefined && place !== NONE;
  }

  #remove(index: number): void {
    const place = this.#places[index]!;
    const last = this.#free[--this.#count[0]!]!;
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
