/**
 * The TURN server of RFC 8656 without sockets: facts go in as method calls with the time, effects
 * come out. Times are monotonic milliseconds; whole numbers keep the packet path free of boxes.
 *
 * A datagram is handed over where it lies in the shell's buffer, with `HEADROOM` bytes before it
 * and `TAILROOM` behind it that the machine may overwrite.
 */

import type { AddressWords } from "../../base/endpoint.ts";
import type { Host } from "../../base/host.ts";
import { readU16, utf8 } from "../../base/bytes.ts";
import { AttributeType } from "../stun/attributes.ts";
import { FIRST_CHANNEL, LAST_CHANNEL, LAST_LEGACY_CHANNEL } from "../stun/channel_data.ts";
import type { Integrity } from "../stun/integrity.ts";
import {
  type Attribute,
  decodeStunMessage,
  MessageClass,
  messageType,
  Method,
  type StunMessage,
} from "../stun/message.ts";
import { Allocations } from "./allocations.ts";
import {
  type Asked,
  askedBy,
  encodeAnswer,
  grant,
  type Granted,
  type Refusal,
  refuseUnknown,
} from "./answer.ts";
import { Authenticator, type Credentials } from "./authentication.ts";
import { channelBind, createPermission, reviewPeers } from "./bind.ts";
import type { Client, RelaySocket } from "./client.ts";
import { Counters } from "./counters.ts";
import { Nonces } from "./nonces.ts";
import { AllocationOpener, mappedAddress } from "./opening.ts";
import type { PeerPolicy } from "./peer_policy.ts";
import { refresh } from "./refresh.ts";
import { DataRelay, type Delivery } from "./relay_data.ts";
import type { RelayPort } from "./relay_port.ts";
import { RelayPorts } from "./relay_ports.ts";
import { type AuthenticRequest, ownAllocation } from "./request.ts";
import type { TurnSettings } from "./settings.ts";
import type { Siblings } from "./siblings.ts";
import { SourceLimits } from "./source_limits.ts";
import type { TurnEffect } from "./turn_effect.ts";

/** What a server is made of. */
export interface TurnServerOptions {
  readonly settings: TurnSettings;
  /** Without them the server answers Binding requests and nothing else. */
  readonly credentials: Credentials | undefined;
  readonly policy: Pick<PeerPolicy, "judge">;
  /** Randomness, and the wall clock for credentials that expire. */
  readonly host: Pick<Host, "now" | "random">;
  /** Default: there are none. */
  readonly siblings?: Siblings | undefined;
}

const SEND_INDICATION = messageType(Method.Send, MessageClass.Indication);

/** Methods whose requests must authenticate. */
const TURN_METHODS: ReadonlySet<number> = new Set([
  Method.Allocate,
  Method.Refresh,
  Method.CreatePermission,
  Method.ChannelBind,
]);

export class TurnServer {
  readonly counters = new Counters();
  readonly #settings: TurnSettings;
  readonly #host: Pick<Host, "now" | "random">;
  readonly #ports: RelayPorts;
  readonly #allocations: Allocations;
  readonly #opener: AllocationOpener;
  readonly #data: DataRelay;
  readonly #limits: SourceLimits;
  readonly #nonces: Nonces;
  readonly #software: readonly Attribute[];
  readonly #lastChannelByte: number;
  #authenticator: Authenticator | undefined;
  #policy: Pick<PeerPolicy, "judge">;
  #effects: TurnEffect[] = [];

  /** @throws {RangeError} on a port range that is none, or on a rate of zero. */
  constructor({ settings, credentials, policy, host, siblings }: TurnServerOptions) {
    const emit = (effect: TurnEffect) => void this.#effects.push(effect);
    const answer = (asked: Asked, to: Granted | Refusal, integrity: Integrity) =>
      this.#answer(asked, to, integrity);
    this.#settings = settings;
    this.#host = host;
    this.#policy = policy;
    this.#ports = new RelayPorts(settings, (length) => host.random(length), siblings);
    this.#allocations = new Allocations(settings, this.#ports, this.counters, emit, siblings);
    this.#opener = new AllocationOpener(this.#ports, this.#allocations, emit, answer);
    this.#data = new DataRelay(this.#ports, this.counters, policy, host.random(8));
    this.#limits = new SourceLimits(settings, this.counters, siblings);
    this.#nonces = new Nonces(siblings?.nonceKey ?? host.random(32));
    this.#software = settings.software === ""
      ? []
      : [[AttributeType.Software, utf8(settings.software)]];
    this.#lastChannelByte = (settings.legacyChannels ? LAST_LEGACY_CHANNEL : LAST_CHANNEL) >>> 8;
    this.setCredentials(credentials);
  }

  /** Allocations of this server, those being opened included. */
  get allocationCount(): number {
    return this.#allocations.count;
  }

  /** Relay ports that are neither used nor reserved, both families together. */
  get freePorts(): number {
    return this.#ports.freeCount;
  }

  /**
   * Takes a datagram or a frame of a stream. Returns what to send at once, in the same buffer and
   * valid until the next call; answers to requests are effects.
   */
  receiveFromClient(
    client: Client,
    buffer: Uint8Array,
    offset: number,
    length: number,
    now: number,
  ): Delivery | undefined {
    const first = length === 0 ? 0xff : buffer[offset]!;
    if (first >= FIRST_CHANNEL >>> 8 && first <= this.#lastChannelByte) {
      return this.#data.fromChannel(client, buffer, offset, length, now);
    }
    if (length >= 2 && readU16(buffer, offset) === SEND_INDICATION) {
      return this.#data.fromSend(client, buffer, offset, length, now);
    }
    const message = decodeStunMessage(buffer.subarray(offset, offset + length));
    if (message === undefined) this.counters.droppedMalformed++;
    else this.#receiveMessage(message, client, now);
    return undefined;
  }

  /** Takes a datagram that came to a relayed address; `from` may be one reused object. */
  receiveFromPeer(
    port: RelayPort,
    buffer: Uint8Array,
    offset: number,
    length: number,
    from: AddressWords,
    now: number,
  ): Delivery | undefined {
    const source = this.#ports.asTold(port.family, from);
    return this.#data.fromPeer(port, buffer, offset, length, source, now);
  }

  /** The shell has bound a port and hands its socket over. */
  relayPortOpened(port: RelayPort, socket: RelaySocket, now: number): void {
    this.#opener.opened(port, socket, now);
  }

  /** A port cannot be bound, or its socket failed for good and is closed. */
  relayPortFailed(port: RelayPort, now: number): void {
    if (port.opening !== undefined) this.#opener.failed(port, now);
    else if (port.place >= 0) this.#allocations.closePort(port, "port-lost", now);
  }

  /** The client's connection has ended, and with it its allocation. */
  clientGone(client: Client, now: number): void {
    if (client.allocation === undefined) return;
    this.#opener.abandon(client.allocation);
    this.#allocations.end(client.allocation, "disconnected", now);
  }

  /** Puts other users and secrets into force, also for the next request of a running allocation. */
  setCredentials(credentials: Credentials | undefined): void {
    this.#authenticator = credentials && new Authenticator({
      credentials,
      settings: this.#settings,
      limits: this.#limits,
      nonces: this.#nonces,
      host: this.#host,
      counters: this.counters,
    });
  }

  /** Puts another policy into force: permissions and channels that it forbids end. */
  setPolicy(policy: Pick<PeerPolicy, "judge">): void {
    this.#policy = policy;
    this.#data.policy = policy;
    for (const allocation of this.#allocations) reviewPeers(allocation, policy);
  }

  /** From here on no allocation is granted; those that exist go on. */
  drain(): void {
    this.#opener.isDraining = true;
  }

  /** Ends every allocation and reservation. */
  close(now: number): void {
    this.drain();
    for (const allocation of this.#allocations) {
      this.#opener.abandon(allocation);
      this.#allocations.end(allocation, "closed", now);
    }
    this.#allocations.advance(Infinity);
  }

  /** When {@linkcode advance} has something to do; `Infinity` for never. */
  nextDeadline(): number {
    return this.#allocations.nextDeadline();
  }

  /** Ends what has run out. */
  advance(now: number): void {
    this.#allocations.advance(now);
  }

  /** Whether {@linkcode takeEffects} would return any. */
  get hasEffects(): boolean {
    return this.#effects.length > 0;
  }

  takeEffects(): TurnEffect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  /** Only requests are answered: two servers must not keep one another busy. */
  #receiveMessage(message: StunMessage, client: Client, now: number): void {
    const isRequest = message.messageClass === MessageClass.Request;
    if (isRequest && message.method === Method.Binding) this.#bind(message, client, now);
    else if (isRequest && this.#authenticator && TURN_METHODS.has(message.method)) {
      this.#authenticate(this.#authenticator, message, client, now);
    } else if (message.method !== Method.Binding) this.counters.droppedUnexpected++;
  }

  #bind(message: StunMessage, client: Client, now: number): void {
    if (!this.#limits.bind(client, now)) return;
    this.counters.bindings++;
    const asked = askedBy(client, message);
    const answer = refuseUnknown(message) ?? grant(mappedAddress(client, asked.transactionId));
    this.#answer(asked, answer, undefined);
  }

  #authenticate(
    authenticator: Authenticator,
    message: StunMessage,
    client: Client,
    now: number,
  ): void {
    const outcome = authenticator.check(message, client, now);
    if (outcome === undefined) return;
    const asked = askedBy(client, message);
    if (outcome.kind === "refused") {
      this.#answer(asked, outcome, undefined);
      return;
    }
    const { account, integrity } = outcome;
    const request = { message, client, account, asked, integrity };
    const answer = refuseUnknown(message) ?? this.#carryOut(request, now);
    if (answer !== undefined) this.#answer(asked, answer, integrity);
  }

  /** `undefined` when the answer comes later, or came and the request is a repetition. */
  #carryOut(request: AuthenticRequest, now: number): Granted | Refusal | undefined {
    const { message } = request;
    if (message.method === Method.Allocate) return this.#opener.allocate(request, now);
    const allocation = ownAllocation(request);
    if ("kind" in allocation) return allocation;
    switch (message.method) {
      case Method.Refresh:
        return refresh(message, allocation, this.#allocations, now);
      case Method.CreatePermission:
        return createPermission(message, allocation, this.#policy, this.#settings, now);
      case Method.ChannelBind:
        return channelBind(message, allocation, this.#policy, this.#settings, now);
      default:
        throw new TypeError(`Cannot carry out method ${message.method}`);
    }
  }

  #answer(asked: Asked, answer: Granted | Refusal, integrity: Integrity | undefined): void {
    if (answer.kind === "refused") this.counters.countError(answer.code);
    // What strangers are told stays short: it may have been asked for in somebody else's name.
    const software = integrity === undefined ? [] : this.#software;
    const complete = { ...answer, attributes: [...answer.attributes, ...software] };
    const bytes = encodeAnswer(asked, complete, integrity);
    this.#effects.push({ kind: "send", client: asked.client, bytes });
  }
}
