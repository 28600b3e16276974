import { readU32, utf8 } from "../../../base/bytes.ts";
import { HmacSha256 } from "../../../protocol/crypto/hmac.ts";
import { bandwidth } from "../../../protocol/turn/allocation.ts";
import type { UserTally } from "../../../protocol/turn/siblings.ts";
import { BucketAt, SharedBuckets } from "./shared_buckets.ts";

const CHAINS = 2 ** 14;
/** What `state` holds: how many rows were ever used, and the first of those that are free again. */
const USED = 0;
const FREE = 1;

/** The users of all threads who have something under way: a row each. Rows count from 1. */
export interface UserMemory {
  readonly state: Int32Array;
  /** The first row of each chain. */
  readonly chains: Int32Array;
  /** Of each row: the next of its chain, or of the free ones. */
  readonly next: Int32Array;
  /** The two halves of what stands for the name. */
  readonly high: Int32Array;
  readonly low: Int32Array;
  readonly holdings: Int32Array;
  readonly toPeers: Int32Array;
  readonly toClients: Int32Array;
}

/** Every user holds something, a port or what is about to get one: there are never more. */
export function userMemory(ports: number, threads: number): UserMemory {
  const rows = ports + threads + 1;
  const integers = (length: number) => new Int32Array(new SharedArrayBuffer(4 * length));
  return {
    state: integers(2),
    chains: integers(CHAINS),
    next: integers(rows),
    high: integers(rows),
    low: integers(rows),
    holdings: integers(rows),
    toPeers: integers(rows),
    toClients: integers(rows),
  };
}

/** A user's name, as 64 bits that nobody can choose. */
export interface UserKey {
  readonly high: number;
  readonly low: number;
}

export interface SharedUsersOptions {
  readonly memory: UserMemory;
  /** Secret, the same for all threads. */
  readonly key: Uint8Array;
  /** Of each user in each direction; 0 for no limit. */
  readonly maxBitsPerSecond: number;
  /** Runs what no two threads may do at a time. */
  readonly alone: <T>(action: () => T) => T;
}

/** What users hold on all threads. What is said to need it is called inside of `alone`. */
export class SharedUsers {
  readonly #memory: UserMemory;
  readonly #hmac: HmacSha256;
  readonly #alone: SharedUsersOptions["alone"];
  readonly #toPeers: SharedBuckets | undefined;
  readonly #toClients: SharedBuckets | undefined;
  /** A request asks for its user's key again and again. */
  #lastName = "";
  #lastKey: UserKey | undefined;

  constructor({ memory, key, maxBitsPerSecond, alone }: SharedUsersOptions) {
    const rate = bandwidth(maxBitsPerSecond);
    this.#memory = memory;
    this.#hmac = new HmacSha256(key);
    this.#alone = alone;
    this.#toPeers = rate && new SharedBuckets(rate, memory.toPeers);
    this.#toClients = rate && new SharedBuckets(rate, memory.toClients);
  }

  keyOf(name: string): UserKey {
    if (name === this.#lastName && this.#lastKey !== undefined) return this.#lastKey;
    const digest = this.#hmac.tag(utf8(name));
    this.#lastName = name;
    return this.#lastKey = { high: readU32(digest, 0) | 0, low: readU32(digest, 4) | 0 };
  }

  /** What a user holds. Needs `alone`. */
  holdings(key: UserKey): number {
    const row = this.#find(key);
    return row === 0 ? 0 : this.#memory.holdings[row]!;
  }

  /** Whether the user of a row is this one. */
  isAt(row: number, { high, low }: UserKey): boolean {
    return this.#memory.high[row] === high && this.#memory.low[row] === low;
  }

  tally(name: string, now: number): UserTally {
    const key = this.keyOf(name);
    let own = 0;
    let row = 0;
    const bucket = (buckets: SharedBuckets | undefined) =>
      buckets && new BucketAt(buckets, () => row);
    return {
      add: (by) => {
        this.#alone(() => {
          row = by > 0 ? this.hold(key, now) : row;
          own += by;
          if (by < 0) this.letGo(row);
          if (own === 0) row = 0;
        });
      },
      toPeers: bucket(this.#toPeers),
      toClients: bucket(this.#toClients),
    };
  }

  /** One holding more; the user's row, which stays while there are any. Needs `alone`. */
  hold(key: UserKey, now: number): number {
    const row = this.#find(key) || this.#add(key, now);
    this.#memory.holdings[row]!++;
    return row;
  }

  /** One holding less. Needs `alone`. */
  letGo(row: number): void {
    const { holdings, chains, next, state } = this.#memory;
    if (--holdings[row]! > 0) return;
    const chain = this.#chainOf(this.#memory.low[row]!);
    let before = 0;
    for (let at = chains[chain]!; at !== row; at = next[at]!) before = at;
    if (before === 0) chains[chain] = next[row]!;
    else next[before] = next[row]!;
    next[row] = state[FREE]!;
    state[FREE] = row;
  }

  #find(key: UserKey): number {
    const { chains, next } = this.#memory;
    let row = chains[this.#chainOf(key.low)]!;
    while (row !== 0 && !this.isAt(row, key)) row = next[row]!;
    return row;
  }

  #add({ high, low }: UserKey, now: number): number {
    const memory = this.#memory;
    const { state, chains, next } = memory;
    let row = state[FREE]!;
    if (row !== 0) state[FREE] = next[row]!;
    else row = ++state[USED]!;
    if (row >= next.length) throw new RangeError("There are more users than ports");
    memory.high[row] = high;
    memory.low[row] = low;
    memory.holdings[row] = 0;
    const chain = this.#chainOf(low);
    next[row] = chains[chain]!;
    chains[chain] = row;
    this.#toPeers?.fill(row, now);
    this.#toClients?.fill(row, now);
    return row;
  }

  #chainOf(low: number): number {
    return low & CHAINS - 1;
  }
}
