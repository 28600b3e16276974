/**
 * A TURN client (RFC 8656) without sockets: one allocation over one 5-tuple. Bytes go in, effects
 * come out; times are monotonic milliseconds. Datagrams of peers stay in the caller's buffers.
 */

import type { AddressPort, IpAddress } from "../../base/address.ts";
import { readU16 } from "../../base/bytes.ts";
import type { AddressFamily } from "../../base/endpoint.ts";
import { AttributeType } from "../stun/attributes.ts";
import {
  CHANNEL_HEADER_LENGTH,
  channelDataLength,
  padChannelData,
  writeChannelHeader,
} from "../stun/channel_data.ts";
import {
  decodeStunMessage,
  MessageClass,
  Method,
  type StunMessage,
  TRANSACTION_ID_LENGTH,
} from "../stun/message.ts";
import { ClientAuthentication } from "./client_authentication.ts";
import type { TurnClientEffect, TurnPurpose, TurnRefusal } from "./client_effects.ts";
import { ClientPeers } from "./client_peers.ts";
import {
  allocateRequest,
  BINDING,
  grantedLifetime,
  MALFORMED,
  refreshRequest,
  refusalOf,
  sendIndication,
  xorAddress,
} from "./client_requests.ts";
import { ClientTransactions, type Transaction } from "./client_transactions.ts";

/** The part of an allocation's lifetime after which it is renewed. */
const LIFETIME_SHARE = 4 / 5;
/** Challenges answered for one request: one for the realm, and some for nonces that expire. */
const MAX_CHALLENGES = 4;

export interface TurnClientSettings {
  readonly username: string;
  readonly password: string;
  /** Over TCP and TLS nothing is sent twice, and ChannelData is padded. */
  readonly transport: "datagram" | "stream";
  /** Of the relayed address; without it the server chooses, which means IPv4. */
  readonly family?: AddressFamily;
  /** Cryptographically random bytes. */
  readonly random: (length: number) => Uint8Array;
}

export class TurnClient {
  /** What {@linkcode receive} found: the peer, and where in the buffer its datagram lies. */
  peer: AddressPort | undefined;
  dataOffset = 0;
  dataLength = 0;
  readonly #settings: TurnClientSettings;
  readonly #authentication: ClientAuthentication;
  readonly #transactions: ClientTransactions<TurnPurpose>;
  readonly #peers: ClientPeers;
  #state: "idle" | "allocating" | "allocated" | "ended" = "idle";
  #refreshAt = Infinity;
  #effects: TurnClientEffect[] = [];

  constructor(settings: TurnClientSettings) {
    this.#settings = settings;
    const { username, password, transport, random } = settings;
    this.#authentication = new ClientAuthentication(username, password);
    this.#transactions = new ClientTransactions({
      authentication: this.#authentication,
      isStream: transport === "stream",
      random,
      send: (bytes) => this.#effects.push({ kind: "send", bytes }),
    });
    this.#peers = new ClientPeers((...request) => this.#transactions.start(...request));
  }

  /** As the server said it. */
  get realm(): string | undefined {
    return this.#authentication.realm;
  }

  /** Asks which address the server sees (a Binding request). */
  bind(now: number): void {
    this.#transactions.start(BINDING, { kind: "binding" }, now);
  }

  /** Asks for the allocation. @throws {TypeError} when it was asked for before. */
  allocate(now: number): void {
    if (this.#state !== "idle") throw new TypeError("Cannot allocate twice with one client");
    this.#state = "allocating";
    const request = allocateRequest(this.#settings.family);
    this.#transactions.start(request, { kind: "allocation" }, now);
  }

  /**
   * Lets datagrams from `address` in, and renews that as long as the allocation lives.
   * @throws {TypeError} without an allocation. @throws {RangeError} beyond 256 addresses.
   */
  permit(address: IpAddress, now: number): void {
    this.#requireAllocation();
    this.#peers.permit(address, now);
  }

  /**
   * Binds a channel to `peer`, which permits its address too, and renews both as long as the
   * allocation lives. Returns the channel's number, for {@linkcode wrap} once it is bound.
   * @throws {TypeError} without an allocation. @throws {RangeError} beyond 256 peers.
   */
  bindChannel(peer: AddressPort, now: number): number {
    this.#requireAllocation();
    return this.#peers.bindChannel(peer, now);
  }

  /** Renews the allocation before its time, which also shows whether it is still there. */
  refresh(now: number): void {
    this.#requireAllocation();
    this.#refreshAt = Infinity;
    this.#transactions.start(refreshRequest(), { kind: "refresh" }, now);
  }

  /** Lets the permission and the channels of an address run out. */
  forget(address: IpAddress): void {
    this.#peers.forget(address);
  }

  /**
   * Makes the datagram of `length` bytes at `offset` one to send to the server on `channel`: writes
   * into the 4 bytes in front of it and, over a stream, into up to 3 behind it. Returns the length
   * from `offset - 4` on.
   */
  wrap(channel: number, buffer: Uint8Array, offset: number, length: number): number {
    const start = offset - CHANNEL_HEADER_LENGTH;
    writeChannelHeader(buffer, start, channel, length);
    const total = CHANNEL_HEADER_LENGTH + length;
    return this.#settings.transport === "stream" ? padChannelData(buffer, start, total) : total;
  }

  /** A Send indication: for a datagram to a permitted peer that has no channel. */
  indication(peer: AddressPort, data: Uint8Array): Uint8Array {
    return sendIndication(peer, data, this.#settings.random(TRANSACTION_ID_LENGTH));
  }

  /** Gives the allocation up. Nothing is renewed from here on. */
  release(now: number): void {
    if (this.#state !== "allocated") return this.#end();
    this.#stop();
    this.#transactions.start(refreshRequest(0), { kind: "release" }, now);
  }

  /**
   * Takes a datagram, or a frame of a stream, from the server. Returns whether it brought a datagram
   * of a peer, see {@linkcode peer}; everything else becomes effects or is ignored.
   */
  receive(buffer: Uint8Array, offset: number, length: number, now: number): boolean {
    if (length < CHANNEL_HEADER_LENGTH) return false;
    if (buffer[offset]! >= 0x40) return this.#receiveChannelData(buffer, offset, length);
    const message = decodeStunMessage(buffer.subarray(offset, offset + length));
    if (message === undefined) return false;
    if (message.messageClass === MessageClass.Indication) {
      return message.method === Method.Data && this.#receiveIndication(message, buffer);
    }
    if (message.messageClass !== MessageClass.Request) this.#receiveResponse(message, now);
    return false;
  }

  /** When {@linkcode advance} has something to do; `Infinity` for never. */
  nextDeadline(): number {
    return Math.min(this.#refreshAt, this.#peers.nextRenewal, this.#transactions.nextDeadline());
  }

  advance(now: number): void {
    for (const { purpose } of this.#transactions.advance(now)) {
      this.#refuse(purpose, { code: "timeout", reason: "" });
    }
    if (this.#refreshAt <= now) this.refresh(now);
    this.#peers.advance(now);
  }

  takeEffects(): TurnClientEffect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  #receiveChannelData(buffer: Uint8Array, offset: number, length: number): boolean {
    const peer = this.#peers.peerOf(readU16(buffer, offset));
    const dataLength = channelDataLength(buffer, offset, length);
    if (peer === undefined || dataLength < 0) return false;
    this.peer = peer;
    this.dataOffset = offset + CHANNEL_HEADER_LENGTH;
    this.dataLength = dataLength;
    return true;
  }

  #receiveIndication(message: StunMessage, buffer: Uint8Array): boolean {
    const peer = xorAddress(message, AttributeType.XorPeerAddress);
    const data = message.get(AttributeType.Data);
    if (peer === undefined || data === undefined || !this.#peers.permits(peer.address)) {
      return false;
    }
    this.peer = peer;
    this.dataOffset = data.byteOffset - buffer.byteOffset;
    this.dataLength = data.length;
    return true;
  }

  #receiveResponse(message: StunMessage, now: number): void {
    const transaction = this.#transactions.find(message);
    if (transaction === undefined) return;
    const { purpose, isSigned } = transaction;
    const error = refusalOf(message);
    const isChallenge = error?.code === 401 || error?.code === 438;
    // A server that cannot tell who asked has no key to sign such answers with.
    const mayBeUnsigned = !isSigned || isChallenge || error?.code === 400;
    if (!mayBeUnsigned && !this.#authentication.hasSigned(message)) return;
    this.#transactions.settle(message);
    if (isChallenge) this.#takeChallenge(message, transaction, error, now);
    else if (error !== undefined) this.#refuse(purpose, error);
    else this.#succeed(message, purpose, now);
  }

  #takeChallenge(
    message: StunMessage,
    { purpose, request, challenges, isSigned }: Transaction<TurnPurpose>,
    error: TurnRefusal,
    now: number,
  ): void {
    const isWrongPassword = error.code === 401 && isSigned;
    if (isWrongPassword || challenges >= MAX_CHALLENGES) return this.#refuse(purpose, error);
    if (!this.#authentication.takeChallenge(message)) {
      return this.#refuse(purpose, { ...error, code: "unusable-challenge" });
    }
    this.#transactions.start(request, purpose, now, challenges + 1);
  }

  #succeed(message: StunMessage, purpose: TurnPurpose, now: number): void {
    switch (purpose.kind) {
      case "binding": {
        const address = xorAddress(message, AttributeType.XorMappedAddress);
        if (address === undefined) return this.#refuse(purpose, MALFORMED);
        return void this.#effects.push({ kind: "mapped", address });
      }
      case "allocation":
        return this.#allocated(message, now);
      case "refresh":
        this.#refreshAt = now + (grantedLifetime(message) ?? 0) * 1000 * LIFETIME_SHARE;
        return;
      case "release":
        return this.#end();
      case "permission":
      case "channel": {
        const effect = this.#peers.granted(purpose, now);
        if (effect !== undefined) this.#effects.push(effect);
      }
    }
  }

  #allocated(message: StunMessage, now: number): void {
    const relayed = xorAddress(message, AttributeType.XorRelayedAddress);
    const lifetime = grantedLifetime(message);
    if (relayed === undefined || !lifetime) return this.#refuse({ kind: "allocation" }, MALFORMED);
    this.#state = "allocated";
    this.#refreshAt = now + lifetime * 1000 * LIFETIME_SHARE;
    const mapped = xorAddress(message, AttributeType.XorMappedAddress);
    this.#effects.push({ kind: "allocated", relayed, mapped, lifetime });
  }

  #refuse(purpose: TurnPurpose, refusal: TurnRefusal): void {
    // What cannot be released is not there any more, or will not be for long.
    if (purpose.kind === "release") return this.#end();
    this.#effects.push({ kind: "refused", purpose, refusal });
    switch (purpose.kind) {
      case "allocation":
      case "refresh":
        return this.#end();
      case "permission":
      case "channel":
        return this.#peers.refused(purpose);
    }
  }

  #requireAllocation(): void {
    if (this.#state !== "allocated") throw new TypeError("Cannot name peers before the allocation");
  }

  #stop(): void {
    this.#state = "ended";
    this.#refreshAt = Infinity;
    this.#peers.clear();
    this.#transactions.clear();
  }

  #end(): void {
    this.#stop();
    this.#effects.push({ kind: "ended" });
  }
}
