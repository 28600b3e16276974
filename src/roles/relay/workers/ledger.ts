/** What the threads of one relay have in common, in memory that they share. */

import type { IpAddress } from "../../../base/address.ts";
import { readU32 } from "../../../base/bytes.ts";
import type { AddressFamily } from "../../../base/endpoint.ts";
import type { Host } from "../../../base/host.ts";
import type { TurnSettings } from "../../../protocol/turn/settings.ts";
import type {
  Buckets,
  Offer,
  PortSupply,
  Siblings,
  UserTally,
} from "../../../protocol/turn/siblings.ts";
import { ThreadLock } from "../../thread_lock.ts";
import type { RelayAddresses } from "../relay_addresses.ts";
import { KeyedBuckets } from "./shared_buckets.ts";
import { type PortMemory, portMemory, SharedPorts } from "./shared_ports.ts";
import { SharedUsers, type UserMemory, userMemory } from "./shared_users.ts";

const RATES = ["asked", "bindings", "failed", "failedUsers"] as const;

/** All of it, as every thread is given it. */
export interface LedgerMemory {
  readonly lock: Int32Array;
  readonly allocations: Int32Array;
  readonly v4: PortMemory;
  readonly v6: PortMemory;
  readonly users: UserMemory;
  readonly rates: Readonly<Record<typeof RATES[number], Int32Array>>;
  /** Secrets of the process. */
  readonly nonceKey: Uint8Array;
  readonly userKey: Uint8Array;
  readonly seed: number;
}

export function ledgerMemory(
  { relayPorts }: Pick<TurnSettings, "relayPorts">,
  threads: number,
  host: Pick<Host, "random">,
): LedgerMemory {
  const word = () => new Int32Array(new SharedArrayBuffer(4));
  const ports = relayPorts.max - relayPorts.min + 1;
  return {
    lock: word(),
    allocations: word(),
    v4: portMemory(relayPorts),
    v6: portMemory(relayPorts),
    users: userMemory(2 * ports, threads),
    rates: {
      asked: KeyedBuckets.memory(),
      bindings: KeyedBuckets.memory(),
      failed: KeyedBuckets.memory(),
      failedUsers: KeyedBuckets.memory(),
    },
    nonceKey: host.random(32),
    userKey: host.random(32),
    seed: readU32(host.random(4), 0) | 0,
  };
}

export interface LedgerOptions {
  readonly memory: LedgerMemory;
  /** This thread's number, from 0. */
  readonly self: number;
  readonly settings: TurnSettings;
  readonly bound: RelayAddresses["bound"];
  readonly host: Pick<Host, "random" | "monotonic">;
}

/** The siblings of one thread. */
export class Ledger implements Siblings {
  readonly nonceKey: Uint8Array;
  readonly asked: Buckets;
  readonly bindings: Buckets;
  readonly failed: Buckets;
  readonly failedUsers: Buckets;
  readonly #lock: ThreadLock;
  readonly #allocations: Int32Array;
  readonly #users: SharedUsers;
  readonly #v4: SharedPorts;
  readonly #v6: SharedPorts;
  readonly #bound: RelayAddresses["bound"];
  readonly #now: () => number;

  constructor({ memory, self, settings, bound, host }: LedgerOptions) {
    const { rates, seed } = memory;
    const lock = new ThreadLock(memory.lock);
    const alone = <T>(action: () => T) => lock.hold(action);
    const ports = (memory: PortMemory) =>
      new SharedPorts({
        range: settings.relayPorts,
        memory,
        self: self + 1,
        random: host.random,
        alone,
      });
    this.nonceKey = memory.nonceKey;
    this.asked = new KeyedBuckets(settings.challengeRate, rates.asked, seed);
    this.bindings = new KeyedBuckets(settings.bindingRate, rates.bindings, seed);
    this.failed = new KeyedBuckets(settings.failureRate, rates.failed, seed);
    this.failedUsers = new KeyedBuckets(settings.failureRate, rates.failedUsers, seed);
    this.#lock = lock;
    this.#allocations = memory.allocations;
    this.#users = new SharedUsers({
      memory: memory.users,
      key: memory.userKey,
      maxBitsPerSecond: settings.maxBitsPerSecond,
      alone,
    });
    this.#v4 = ports(memory.v4);
    this.#v6 = ports(memory.v6);
    this.#bound = bound;
    this.#now = () => Math.floor(host.monotonic());
  }

  get allocationCount(): number {
    return Atomics.load(this.#allocations, 0);
  }

  countAllocation(by: 1 | -1): void {
    Atomics.add(this.#allocations, 0, by);
  }

  holdingsOf(userName: string): number {
    const key = this.#users.keyOf(userName);
    return this.#lock.hold(() => this.#users.holdings(key));
  }

  tally(userName: string, now: number): UserTally {
    return this.#users.tally(userName, now);
  }

  supply(family: AddressFamily): PortSupply {
    return this.ports(family);
  }

  ports(family: AddressFamily): SharedPorts {
    return family === 4 ? this.#v4 : this.#v6;
  }

  bound(family: AddressFamily): IpAddress | undefined {
    return this.#bound[family];
  }

  isElsewhere(family: AddressFamily, port: number): boolean {
    return this.ports(family).isElsewhere(port);
  }

  offer(family: AddressFamily, port: number, token: Uint8Array, userName: string): void {
    const key = this.#users.keyOf(userName);
    const [high, low] = wordsOf(token);
    this.#lock.hold(() => {
      const row = this.#users.hold(key, this.#now());
      this.ports(family).offer(port, high, low, row);
    });
  }

  offered(token: Uint8Array): Offer | undefined {
    return this.#lock.hold(() => {
      const found = this.#find(token);
      return found && {
        family: found.family,
        port: found.port,
        isOf: (userName) => this.#users.isAt(found.user, this.#users.keyOf(userName)),
      };
    });
  }

  claim(token: Uint8Array): boolean {
    return this.#lock.hold(() => {
      const found = this.#find(token);
      if (found === undefined) return false;
      this.ports(found.family).takeOver(found.port);
      this.#users.letGo(found.user);
      return true;
    });
  }

  #find(token: Uint8Array) {
    const [high, low] = wordsOf(token);
    for (const family of [4, 6] as const) {
      const found = this.ports(family).offered(high, low);
      if (found !== undefined) return { family, ...found };
    }
    return undefined;
  }
}

function wordsOf(token: Uint8Array): [high: number, low: number] {
  return [readU32(token, 0) | 0, readU32(token, 4) | 0];
}
