import type { Rate } from "../../../base/rate_limit.ts";
import type { Bucket, Buckets } from "../../../protocol/turn/siblings.ts";
import { placeOf } from "../../shared_places.ts";

/** Tokens are reckoned in units of which a full bucket has at most so many. */
const MAX_UNITS = 2 ** 24;

/**
 * Token buckets of all threads, each an integer: up to when, in units of its own clock, the tokens
 * are used up (GCRA). The clock turns over after the time in which a bucket fills 256 times; what
 * stands farther ahead than a bucket can be used up has been left behind by it.
 */
export class SharedBuckets {
  readonly #usedUpTo: Int32Array;
  readonly #burst: number;
  readonly #unitsPerToken: number;
  readonly #unitsPerMs: number;

  constructor({ burst, perSecond }: Rate, usedUpTo: Int32Array) {
    this.#usedUpTo = usedUpTo;
    this.#unitsPerToken = Math.min(1, MAX_UNITS / burst);
    this.#burst = Math.floor(burst * this.#unitsPerToken);
    this.#unitsPerMs = perSecond * this.#unitsPerToken / 1_000;
  }

  /** `nowMs` is of a clock that all threads have in common. */
  take(index: number, nowMs: number, cost: number): boolean {
    const now = this.#clock(nowMs);
    const units = Math.ceil(cost * this.#unitsPerToken);
    for (;;) {
      const before = Atomics.load(this.#usedUpTo, index);
      const ahead = this.#ahead(before, now) + units;
      if (ahead > this.#burst) return false;
      const after = now + ahead | 0;
      if (Atomics.compareExchange(this.#usedUpTo, index, before, after) === before) return true;
    }
  }

  has(index: number, nowMs: number, cost: number): boolean {
    const before = Atomics.load(this.#usedUpTo, index);
    const ahead = this.#ahead(before, this.#clock(nowMs));
    return ahead + Math.ceil(cost * this.#unitsPerToken) <= this.#burst;
  }

  /** Fills a bucket. */
  fill(index: number, nowMs: number): void {
    Atomics.store(this.#usedUpTo, index, this.#clock(nowMs));
  }

  #clock(nowMs: number): number {
    return nowMs * this.#unitsPerMs | 0;
  }

  #ahead(usedUpTo: number, now: number): number {
    const ahead = usedUpTo - now | 0;
    return ahead > 0 && ahead <= this.#burst ? ahead : 0;
  }
}

/** Keys that share a place share a bucket; who does not know the seed cannot choose with whom. */
const PLACES = 2 ** 18;

/** Buckets by key. */
export class KeyedBuckets implements Buckets {
  readonly #buckets: SharedBuckets;
  readonly #seed: number;

  static memory(): Int32Array {
    return new Int32Array(new SharedArrayBuffer(4 * PLACES));
  }

  constructor(rate: Rate, memory: Int32Array, seed: number) {
    this.#buckets = new SharedBuckets(rate, memory);
    this.#seed = seed;
  }

  take(key: string, nowMs: number, cost = 1): boolean {
    return this.#buckets.take(placeOf(key, PLACES, this.#seed), nowMs, cost);
  }

  has(key: string, nowMs: number, cost = 1): boolean {
    return this.#buckets.has(placeOf(key, PLACES, this.#seed), nowMs, cost);
  }
}

/** One bucket, at the place that `index` tells. */
export class BucketAt implements Bucket {
  readonly #buckets: SharedBuckets;
  readonly #index: () => number;

  constructor(buckets: SharedBuckets, index: () => number) {
    this.#buckets = buckets;
    this.#index = index;
  }

  take(nowMs: number, cost = 1): boolean {
    return this.#buckets.take(this.#index(), nowMs, cost);
  }
}
