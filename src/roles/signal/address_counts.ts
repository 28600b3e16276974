import { RateLimit } from "../../base/rate_limit.ts";
import { placeOf } from "../shared_places.ts";

/** Connections that are open, by the key that stands for their client's address. */
export interface ConnectionCounts {
  readonly total: number;
  connectionsOf(key: string): number;
  /** A connection has come or gone. */
  add(key: string, by: 1 | -1): void;
}

/** What is counted of client addresses. */
export interface AddressCounts extends ConnectionCounts {
  /** Counts an attempt to connect; false when there were too many. */
  attempt(key: string): boolean;
}

/** Exact counts of one thread, of those addresses only that are connected. */
export class OwnConnections implements ConnectionCounts {
  total = 0;
  readonly #connections = new Map<string, number>();

  connectionsOf(key: string): number {
    return this.#connections.get(key) ?? 0;
  }

  add(key: string, by: 1 | -1): void {
    this.total += by;
    const left = this.connectionsOf(key) + by;
    if (left > 0) this.#connections.set(key, left);
    else this.#connections.delete(key);
  }
}

/** The same, and when they came. */
export class OwnCounts extends OwnConnections implements AddressCounts {
  readonly #rate: RateLimit;
  readonly #monotonic: () => number;

  /** `monotonic` tells milliseconds. */
  constructor(attemptsPerMinute: number, monotonic: () => number) {
    super();
    this.#monotonic = monotonic;
    this.#rate = new RateLimit({ burst: attemptsPerMinute, perSecond: attemptsPerMinute / 60 });
  }

  attempt(key: string): boolean {
    return this.#rate.take(key, this.#monotonic());
  }
}

/** Addresses that share a place are counted as one; at 16,384 connections few do. */
const PLACES = 2 ** 18;
const TOTAL = 0;
const FIRST_CONNECTIONS = 1;
const ATTEMPTS_OFFSET = 4 * (PLACES + 2);
const MINUTE = 60_000n;
/** Attempts are reckoned in these parts of a millisecond, so that a fast rate has whole steps. */
const PARTS = 1_000n;

/** Counts of all threads of a process, in memory of a fixed size that they share. */
export class SharedCounts implements AddressCounts {
  readonly #counts: Int32Array;
  /** For each place the time up to which its attempts are used up (GCRA). */
  readonly #usedUpTo: BigInt64Array;
  readonly #step: bigint;
  readonly #seed: number;
  readonly #now: () => number;

  static memory(): SharedArrayBuffer {
    return new SharedArrayBuffer(ATTEMPTS_OFFSET + 8 * PLACES);
  }

  /** All threads are given the same; nobody else knows `seed`. */
  constructor(options: {
    readonly memory: SharedArrayBuffer;
    readonly attemptsPerMinute: number;
    readonly seed: number;
    /** Milliseconds of a clock that all threads have in common; it may jump. */
    readonly now: () => number;
  }) {
    const { memory, attemptsPerMinute, seed, now } = options;
    this.#counts = new Int32Array(memory, 0, PLACES + 1);
    this.#usedUpTo = new BigInt64Array(memory, ATTEMPTS_OFFSET, PLACES);
    this.#step = MINUTE * PARTS / BigInt(attemptsPerMinute);
    this.#seed = seed;
    this.#now = now;
  }

  get total(): number {
    return Atomics.load(this.#counts, TOTAL);
  }

  connectionsOf(key: string): number {
    return Atomics.load(this.#counts, FIRST_CONNECTIONS + placeOf(key, PLACES, this.#seed));
  }

  add(key: string, by: 1 | -1): void {
    Atomics.add(this.#counts, TOTAL, by);
    Atomics.add(this.#counts, FIRST_CONNECTIONS + placeOf(key, PLACES, this.#seed), by);
  }

  attempt(key: string): boolean {
    const place = placeOf(key, PLACES, this.#seed);
    const time = BigInt(Math.round(this.#now())) * PARTS;
    const longest = MINUTE * PARTS;
    for (;;) {
      const before = Atomics.load(this.#usedUpTo, place);
      // What lies farther ahead than can be used up was written before the clock jumped back.
      const start = before > time && before <= time + longest ? before : time;
      const after = start + this.#step;
      if (after > time + longest) return false;
      if (Atomics.compareExchange(this.#usedUpTo, place, before, after) === before) return true;
    }
  }
}
