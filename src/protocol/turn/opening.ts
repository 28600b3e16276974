/** Allocate from the quota to the answer: the ports are opened by the shell in between. */

import { formatAddressPort } from "../../base/address.ts";
import type { AddressFamily } from "../../base/endpoint.ts";
import { equalBytes } from "../../base/bytes.ts";
import { AttributeType, encodeLifetime, encodeXorAddress } from "../stun/attributes.ts";
import type { Integrity } from "../stun/integrity.ts";
import type { Attribute } from "../stun/message.ts";
import { addressError, type AllocateWish, readAllocate } from "./allocate.ts";
import type { Allocation } from "./allocation.ts";
import type { Allocations } from "./allocations.ts";
import { type Asked, grant, type Granted, keptAsked, type Refusal, refuse } from "./answer.ts";
import type { Client, RelaySocket } from "./client.ts";
import type { PortWish } from "./port_pool.ts";
import type { RelayPort } from "./relay_port.ts";
import type { RelayPorts } from "./relay_ports.ts";
import type { AuthenticRequest } from "./request.ts";
import type { TurnEffect } from "./turn_effect.ts";

/** How long a port stays reserved, milliseconds (RFC 8656 section 7.2: 30 s at least). */
export const RESERVATION_LIFETIME = 30_000;

/** Other programs may hold ports of the range: how many are tried for one relayed address. */
const MAX_ATTEMPTS = 8;

/** An allocation whose ports are being opened. */
export interface Opening {
  readonly allocation: Allocation;
  readonly asked: Asked;
  readonly integrity: Integrity;
  readonly lifetime: number;
  readonly lanes: Lane[];
  /** RESERVATION-TOKEN and ADDRESS-ERROR-CODE of the answer. */
  readonly extras: Attribute[];
  /** Not to be tried again for this allocation, so not given back before it is decided. */
  readonly failed: RelayPort[];
}

/** One relayed address to be, with the port above it when that is to be reserved. */
interface Lane {
  readonly family: AddressFamily;
  readonly wish: PortWish;
  ports: readonly RelayPort[];
  attempts: number;
}

type Answer = (asked: Asked, answer: Granted | Refusal, integrity: Integrity) => void;

export class AllocationOpener {
  readonly #ports: RelayPorts;
  readonly #allocations: Allocations;
  readonly #emit: (effect: TurnEffect) => void;
  readonly #answer: Answer;
  /** Set from when the server drains: nothing is granted. */
  isDraining = false;

  constructor(
    ports: RelayPorts,
    allocations: Allocations,
    emit: (effect: TurnEffect) => void,
    answer: Answer,
  ) {
    this.#ports = ports;
    this.#allocations = allocations;
    this.#emit = emit;
    this.#answer = answer;
  }

  /** `undefined` while ports are opened; the answer goes out by itself then. */
  allocate(request: AuthenticRequest, now: number): Granted | Refusal | undefined {
    const { client, asked, account, message } = request;
    const existing = client.allocation;
    if (existing !== undefined) {
      const isSame = equalBytes(existing.transactionId, asked.transactionId) &&
        existing.user.name === account.user;
      if (!isSame) return refuse(437, "This 5-tuple has an allocation: use another port");
      return existing.isOpen ? success(existing, now) : undefined;
    }
    const wish = readAllocate(message, this.#ports);
    if (wish.kind === "refused") return wish;
    // What is reserved counts already, against the quota of whoever reserved it.
    const holdings = wish.lanes.some((lane) => lane.wish === "pair") ? 2 : 1;
    const isReservedByUser = wish.reserved?.reservation?.isOf(account.user) === true;
    const bound = this.#allocations.boundFor(account.user, isReservedByUser ? 0 : holdings);
    if (bound === "user") return refuse(486, "Too many allocations of this user: close some");
    if (bound === "server" || this.isDraining) return refuse(508, "This relay takes no more");
    return this.#open(wish, request, now);
  }

  /** A port has its socket. */
  opened(port: RelayPort, socket: RelaySocket, now: number): void {
    port.socket = socket;
    const { opening } = port;
    if (opening !== undefined && isComplete(opening)) this.#finish(opening, now);
  }

  /** A port cannot be bound: another is tried for the same relayed address. */
  failed(port: RelayPort, now: number): void {
    const { opening } = port;
    const lane = opening?.lanes.find(({ ports }) => ports.includes(port));
    if (opening === undefined || lane === undefined) return;
    for (const tried of lane.ports) {
      tried.opening = undefined;
      if (tried !== port) this.#emit({ kind: "close-relay-port", port: tried });
    }
    opening.failed.push(...lane.ports);
    lane.ports = lane.attempts < MAX_ATTEMPTS ? this.#take(lane, opening) : [];
    this.#goOn(opening, now);
  }

  /** Gives up what is being opened, when the client has gone. */
  abandon(allocation: Allocation): void {
    const opening = allocation.opening;
    if (opening === undefined) return;
    for (const port of opening.lanes.flatMap(({ ports }) => ports)) {
      port.opening = undefined;
      this.#emit({ kind: "close-relay-port", port });
      this.#ports.release(port);
    }
    this.#settle(opening);
  }

  #open(
    { lanes, reserved, addressErrors, lifetime }: AllocateWish,
    { client, account, asked, integrity }: AuthenticRequest,
    now: number,
  ): Granted | Refusal | undefined {
    const kept = keptAsked(asked);
    const allocation = this.#allocations.begin(client, account.user, kept.transactionId, now);
    const opening: Opening = {
      allocation,
      asked: kept,
      integrity,
      lifetime,
      lanes: [],
      extras: [...addressErrors],
      failed: [],
    };
    allocation.opening = opening;
    if (reserved !== undefined) {
      const ports = this.#allocations.claim(reserved) ? [reserved] : [];
      opening.lanes.push({ family: reserved.family, wish: "any", ports, attempts: MAX_ATTEMPTS });
      for (const port of ports) {
        port.opening = opening;
        if (port.socket === undefined) this.#emit({ kind: "open-relay-port", port });
      }
    }
    for (const { family, wish } of lanes) {
      const lane: Lane = { family, wish, ports: [], attempts: 0 };
      opening.lanes.push(lane);
      lane.ports = this.#take(lane, opening);
    }
    this.#goOn(opening, now);
    return undefined;
  }

  #take(lane: Lane, opening: Opening): readonly RelayPort[] {
    lane.attempts++;
    const ports = this.#ports.take(lane.family, lane.wish) ?? [];
    for (const port of ports) {
      port.opening = opening;
      this.#emit({ kind: "open-relay-port", port });
    }
    return ports;
  }

  /** Leaves lanes behind that have no port, and answers once all others have theirs. */
  #goOn(opening: Opening, now: number): void {
    const { lanes, extras } = opening;
    const lost = lanes.filter(({ ports }) => ports.length === 0);
    if (lost.length === lanes.length) {
      this.#settle(opening);
      this.#allocations.end(opening.allocation, "port-lost", now);
      const refusal = refuse(508, "No relay port is free");
      this.#answer(opening.asked, refusal, opening.integrity);
      return;
    }
    for (const lane of lost) {
      lanes.splice(lanes.indexOf(lane), 1);
      extras.push(addressError(lane.family, 508));
    }
    if (isComplete(opening)) this.#finish(opening, now);
  }

  #finish(opening: Opening, now: number): void {
    const { allocation, lanes, extras, lifetime } = opening;
    for (const { ports: [port, next], family } of lanes) {
      if (port === undefined) continue;
      port.opening = undefined;
      port.allocation = allocation;
      allocation.setPort(family, port);
      this.#allocations.schedule(port, now + lifetime * 1000);
      if (next === undefined) continue;
      next.opening = undefined;
      const token = this.#ports.reserve(next, allocation.user);
      extras.push([AttributeType.ReservationToken, token]);
      this.#allocations.schedule(next, now + RESERVATION_LIFETIME);
      if (this.#ports.isShared) this.#emit({ kind: "set-relay-port-aside", port: next });
    }
    this.#settle(opening);
    this.#allocations.grant(allocation);
    allocation.extras = extras;
    allocation.relayed = allocation.ports.map(({ endpoint }) => formatAddressPort(endpoint));
    this.#answer(opening.asked, success(allocation, now), opening.integrity);
  }

  #settle({ allocation, failed }: Opening): void {
    allocation.opening = undefined;
    for (const port of failed) this.#ports.release(port);
  }
}

function isComplete({ lanes }: Opening): boolean {
  return lanes.every(({ ports }) => ports.every(({ socket }) => socket !== undefined));
}

/** The answer to an Allocate, the first time and when the request comes again. */
function success(allocation: Allocation, now: number): Granted {
  const { client, ports, extras, transactionId } = allocation;
  const left = Math.max(...ports.map(({ expiresAt }) => expiresAt)) - now;
  return grant(
    ...ports.map(({ endpoint }): Attribute => [
      AttributeType.XorRelayedAddress,
      encodeXorAddress(endpoint, transactionId),
    ]),
    [AttributeType.Lifetime, encodeLifetime(Math.ceil(left / 1000))],
    ...extras,
    mappedAddress(client, transactionId),
  );
}

/** The client's address as the server sees it. */
export function mappedAddress({ endpoint }: Client, transactionId: Uint8Array): Attribute {
  return [AttributeType.XorMappedAddress, encodeXorAddress(endpoint, transactionId)];
}
