/**
 * What the servers of one relay have in common that run beside one another, each in a thread of its
 * own: addresses, ports, users and the patience with sources. Packets pass none of it, but for the
 * bandwidth of users who have a bound.
 */

import type { IpAddress } from "../../base/address.ts";
import type { AddressFamily } from "../../base/endpoint.ts";
import type { PortWish } from "./port_pool.ts";

/** One token bucket; `nowMs` is the monotonic time of all siblings. */
export interface Bucket {
  take(nowMs: number, cost?: number): boolean;
}

/** Token buckets by key. */
export interface Buckets {
  take(key: string, nowMs: number, cost?: number): boolean;
  /** Whether {@linkcode take} would succeed; takes nothing. */
  has(key: string, nowMs: number, cost?: number): boolean;
}

/** The free relay ports of one family. */
export interface PortSupply {
  readonly freeCount: number;
  /** Takes a port, and for a pair the one above it; `undefined` when none is free. */
  take(wish: PortWish): number | undefined;
  release(port: number): void;
}

/** What one user has under way on all siblings. */
export interface UserTally {
  /** One holding of this server more or less. */
  add(by: 1 | -1): void;
  /** Payload bytes per second in each direction; `undefined` without a limit. */
  readonly toPeers: Bucket | undefined;
  readonly toClients: Bucket | undefined;
}

/** A port that is reserved, by whichever sibling. */
export interface Offer {
  readonly family: AddressFamily;
  readonly port: number;
  /** Whether it counts against this user's quota. */
  isOf(userName: string): boolean;
}

export interface Siblings {
  /** 32 random bytes: a nonce of one is taken by all. */
  readonly nonceKey: Uint8Array;
  readonly asked: Buckets;
  readonly bindings: Buckets;
  readonly failed: Buckets;
  readonly failedUsers: Buckets;
  /** Allocations of all, those being opened included. */
  readonly allocationCount: number;
  countAllocation(by: 1 | -1): void;
  /** Allocations and reserved ports of a user. */
  holdingsOf(userName: string): number;
  /** A tally without holdings of this server. */
  tally(userName: string, now: number): UserTally;
  supply(family: AddressFamily): PortSupply;
  /** The address that the relay sockets of this family are bound to. */
  bound(family: AddressFamily): IpAddress | undefined;
  /** Whether another server holds the port. */
  isElsewhere(family: AddressFamily, port: number): boolean;
  /** Lets whichever server hears the token take over a port of this one; the user pays meanwhile. */
  offer(family: AddressFamily, port: number, token: Uint8Array, userName: string): void;
  /** The port that waits for this token. */
  offered(token: Uint8Array): Offer | undefined;
  /** Takes it over, or back; false when another was faster. */
  claim(token: Uint8Array): boolean;
}
