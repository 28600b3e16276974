import type { AddressFamily } from "../../base/endpoint.ts";
import type { Rate } from "../../base/rate_limit.ts";
import { TokenBucket } from "../../base/token_bucket.ts";
import type { Attribute } from "../stun/message.ts";
import type { Client } from "./client.ts";
import type { Opening } from "./opening.ts";
import type { Channel, RelayPort } from "./relay_port.ts";
import type { Bucket, UserTally } from "./siblings.ts";

/** What one user has under way; it lives as long as the user's allocations. */
export class User {
  readonly name: string;
  /** Payload bytes per second in each direction; `undefined` without a limit. */
  readonly toPeers: Bucket | undefined;
  readonly toClients: Bucket | undefined;
  readonly #tally: UserTally;
  #holdings = 0;

  constructor(name: string, tally: UserTally) {
    this.name = name;
    this.#tally = tally;
    this.toPeers = tally.toPeers;
    this.toClients = tally.toClients;
  }

  /** Allocations and reserved ports of this server: what the quota counts. */
  get holdings(): number {
    return this.#holdings;
  }

  add(by: 1 | -1): void {
    this.#holdings += by;
    this.#tally.add(by);
  }
}

/** Bytes of a user in one direction; `undefined` for no limit, which 0 means. */
export function bandwidth(maxBitsPerSecond: number): Rate | undefined {
  if (maxBitsPerSecond === 0) return undefined;
  const perSecond = maxBitsPerSecond / 8;
  return { perSecond, burst: Math.max(perSecond, 0x10000) };
}

/** The tally of a user of one server that has no siblings. */
export function ownTally(maxBitsPerSecond: number, now: number): UserTally {
  const rate = bandwidth(maxBitsPerSecond);
  return {
    add() {},
    toPeers: rate && new TokenBucket(rate, now),
    toClients: rate && new TokenBucket(rate, now),
  };
}

/** Why an allocation ended. */
export type EndReason = "expired" | "deleted" | "disconnected" | "closed" | "port-lost";

/** What is known of an allocation that ended, for the log. */
export interface SessionRecord {
  readonly client: Client;
  readonly user: string;
  readonly reason: EndReason;
  readonly milliseconds: number;
  readonly relayed: readonly string[];
  readonly packetsToPeers: number;
  readonly bytesToPeers: number;
  readonly packetsToClient: number;
  readonly bytesToClient: number;
}

/** An allocation (RFC 8656 section 2). */
export class Allocation {
  readonly client: Client;
  readonly user: User;
  readonly startedAt: number;
  /** The 12 bytes of the Allocate request, which may come again. */
  readonly transactionId: Uint8Array;
  /** Its relayed transport addresses, at most one of each family. None once it has ended. */
  v4: RelayPort | undefined;
  v6: RelayPort | undefined;
  /** False until the shell has opened the ports: nothing is relayed, nothing answered. */
  isOpen = false;
  /** Set until its ports are open. */
  opening: Opening | undefined;
  /** RESERVATION-TOKEN and ADDRESS-ERROR-CODE, for when the answer must be given again. */
  extras: readonly Attribute[] = [];
  /** Its relayed transport addresses as text, those that have ended included. */
  relayed: readonly string[] = [];
  readonly channels = new Map<number, Channel>();
  packetsToPeers = 0;
  bytesToPeers = 0;
  packetsToClient = 0;
  bytesToClient = 0;

  constructor(client: Client, user: User, transactionId: Uint8Array, startedAt: number) {
    this.client = client;
    this.user = user;
    this.transactionId = transactionId;
    this.startedAt = startedAt;
  }

  port(family: AddressFamily): RelayPort | undefined {
    return family === 4 ? this.v4 : this.v6;
  }

  setPort(family: AddressFamily, port: RelayPort | undefined): void {
    if (family === 4) this.v4 = port;
    else this.v6 = port;
  }

  get ports(): RelayPort[] {
    return [this.v4, this.v6].filter((port) => port !== undefined);
  }

  record(reason: EndReason, now: number): SessionRecord {
    const { client, relayed, packetsToPeers, bytesToPeers, packetsToClient, bytesToClient } = this;
    return {
      client,
      user: this.user.name,
      reason,
      milliseconds: now - this.startedAt,
      relayed,
      packetsToPeers,
      bytesToPeers,
      packetsToClient,
      bytesToClient,
    };
  }
}
