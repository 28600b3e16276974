import { Allocation, type EndReason, ownTally, User } from "./allocation.ts";
import type { Client } from "./client.ts";
import type { Counters } from "./counters.ts";
import { Deadlines } from "./deadlines.ts";
import type { RelayPort } from "./relay_port.ts";
import type { RelayPorts } from "./relay_ports.ts";
import type { Siblings } from "./siblings.ts";
import type { TurnSettings } from "./settings.ts";
import type { TurnEffect } from "./turn_effect.ts";

/** Every allocation and its user, from the request to the end. */
export class Allocations {
  readonly #settings: TurnSettings;
  readonly #ports: RelayPorts;
  readonly #counters: Counters;
  readonly #emit: (effect: TurnEffect) => void;
  readonly #siblings: Siblings | undefined;
  readonly #all = new Set<Allocation>();
  readonly #users = new Map<string, User>();
  readonly #deadlines = new Deadlines<RelayPort>();

  constructor(
    settings: TurnSettings,
    ports: RelayPorts,
    counters: Counters,
    emit: (effect: TurnEffect) => void,
    siblings?: Siblings,
  ) {
    this.#settings = settings;
    this.#ports = ports;
    this.#counters = counters;
    this.#emit = emit;
    this.#siblings = siblings;
  }

  get count(): number {
    return this.#all.size;
  }

  [Symbol.iterator](): SetIterator<Allocation> {
    return this.#all.values();
  }

  /** Which bound, if any, keeps the user from holding `more` allocations and reserved ports. */
  boundFor(user: string, more: number): "user" | "server" | undefined {
    const siblings = this.#siblings;
    const held = siblings?.holdingsOf(user) ?? this.#users.get(user)?.holdings ?? 0;
    if (held + more > this.#settings.maxAllocationsPerUser) return "user";
    const count = siblings?.allocationCount ?? this.#all.size;
    return count >= this.#settings.maxAllocations ? "server" : undefined;
  }

  /** An allocation without ports, which {@linkcode end} takes back. */
  begin(client: Client, userName: string, transactionId: Uint8Array, now: number): Allocation {
    const user = this.#users.get(userName) ?? this.#meet(userName, now);
    user.add(1);
    this.#siblings?.countAllocation(1);
    this.#users.set(userName, user);
    const allocation = new Allocation(client, user, transactionId, now);
    client.allocation = allocation;
    this.#all.add(allocation);
    return allocation;
  }

  /** The ports are open: from here on there is an allocation for everybody. */
  grant(allocation: Allocation): void {
    allocation.isOpen = true;
    this.#counters.allocations++;
  }

  /** Takes a reserved port out of its reservation; false when it is not there any more. */
  claim(port: RelayPort): boolean {
    const user = port.reservation?.user;
    const isClaimed = this.#ports.claim(port);
    if (user !== undefined) this.#forgetIdle(user);
    return isClaimed;
  }

  /** Lets a relayed address or a reservation end at `expiresAt`. */
  schedule(port: RelayPort, expiresAt: number): void {
    this.#deadlines.schedule(port, expiresAt);
  }

  nextDeadline(): number {
    return this.#deadlines.next();
  }

  advance(now: number): void {
    for (;;) {
      const port = this.#deadlines.takeDue(now);
      if (port === undefined) return;
      this.closePort(port, "expired", now);
    }
  }

  /** Closes a port and gives it back; its allocation ends with its last port. */
  closePort(port: RelayPort, reason: EndReason, now: number): void {
    const { allocation, reservation } = port;
    this.#deadlines.cancel(port);
    // A reserved port may have been taken over by a sibling, with its socket.
    if (this.#ports.release(port)) this.#emit({ kind: "close-relay-port", port });
    port.allocation = undefined;
    port.opening = undefined;
    if (reservation?.user !== undefined) this.#forgetIdle(reservation.user);
    if (allocation === undefined) return;
    for (const channel of allocation.channels.values()) {
      if (channel.port === port) allocation.channels.delete(channel.number);
    }
    allocation.setPort(port.family, undefined);
    if (allocation.ports.length === 0) this.end(allocation, reason, now);
  }

  /** Ends an allocation with all its ports. One that was never open leaves no session behind. */
  end(allocation: Allocation, reason: EndReason, now: number): void {
    const ports = allocation.ports;
    if (ports.length > 0) {
      for (const port of ports) this.closePort(port, reason, now);
      return;
    }
    if (!this.#all.delete(allocation)) return;
    const { client, user } = allocation;
    client.allocation = undefined;
    user.add(-1);
    this.#siblings?.countAllocation(-1);
    this.#forgetIdle(user);
    if (!allocation.isOpen) return;
    this.#emit({ kind: "session-ended", session: allocation.record(reason, now) });
  }

  #meet(name: string, now: number): User {
    const tally = this.#siblings?.tally(name, now) ??
      ownTally(this.#settings.maxBitsPerSecond, now);
    return new User(name, tally);
  }

  #forgetIdle(user: User): void {
    if (user.holdings === 0) this.#users.delete(user.name);
  }
}
