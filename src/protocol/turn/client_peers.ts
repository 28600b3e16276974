import {
  type AddressPort,
  formatAddressPort,
  formatIp,
  type IpAddress,
} from "../../base/address.ts";
import { equalBytes } from "../../base/bytes.ts";
import { FIRST_CHANNEL, LAST_CHANNEL } from "../stun/channel_data.ts";
import type { TurnClientEffect, TurnPurpose } from "./client_effects.ts";
import { channelRequest, type ClientRequest, permissionRequest } from "./client_requests.ts";

/** Of each kind; servers allow no more either. */
const MAX_PEERS = 256;
/** Milliseconds after which a permission, which lives for 300 s, is renewed. */
const RENEWAL = 240_000;

/** An address whose datagrams are let in. */
interface ClientPermission {
  readonly address: IpAddress;
  /** `Infinity` while a request is under way. */
  renewAt: number;
}

/** A peer with a number of its own, which permits its address too. */
interface ClientChannel {
  readonly peer: AddressPort;
  readonly number: number;
  /** `Infinity` while a request is under way. A channel lives longer than its permission. */
  renewAt: number;
}

/** What a request about a peer was for. */
type PeerPurpose = Extract<TurnPurpose, { kind: "permission" | "channel" }>;

/** The permissions and channels of one allocation, as the client keeps them alive. */
export class ClientPeers {
  /** When {@linkcode advance} has something to do; `Infinity` for never. */
  nextRenewal = Infinity;
  readonly #start: (request: ClientRequest, purpose: PeerPurpose, now: number) => void;
  readonly #permissions = new Map<string, ClientPermission>();
  readonly #channels = new Map<number, ClientChannel>();
  readonly #channelsByPeer = new Map<string, ClientChannel>();
  #lastNumber = LAST_CHANNEL;

  constructor(start: (request: ClientRequest, purpose: PeerPurpose, now: number) => void) {
    this.#start = start;
  }

  /** Asks for a permission, unless it was. @throws {RangeError} beyond 256. */
  permit(address: IpAddress, now: number): void {
    const key = formatIp(address);
    if (this.#permissions.has(key)) return;
    if (this.#permissions.size >= MAX_PEERS) throw new RangeError("Cannot permit more peers");
    const permission = { address: address.slice(), renewAt: Infinity };
    this.#permissions.set(key, permission);
    this.#requestPermission(permission, now);
  }

  /** Asks for a channel, unless it was; returns its number. @throws {RangeError} beyond 256. */
  bindChannel({ address, port }: AddressPort, now: number): number {
    const key = formatAddressPort({ address, port });
    const known = this.#channelsByPeer.get(key);
    if (known !== undefined) return known.number;
    if (this.#channels.size >= MAX_PEERS) throw new RangeError("Cannot bind more channels");
    const peer = { address: address.slice(), port };
    const channel = { peer, number: this.#freeNumber(), renewAt: Infinity };
    this.#channels.set(channel.number, channel);
    this.#channelsByPeer.set(key, channel);
    this.#requestChannel(channel, now);
    return channel.number;
  }

  /** Lets what concerns an address run out; its channels and its permission are not renewed. */
  forget(address: IpAddress): void {
    this.#permissions.delete(formatIp(address));
    for (const { peer, number } of [...this.#channels.values()]) {
      if (!equalBytes(peer.address, address)) continue;
      this.#channels.delete(number);
      this.#channelsByPeer.delete(formatAddressPort(peer));
    }
  }

  /** Whose channel this is. */
  peerOf(number: number): AddressPort | undefined {
    return this.#channels.get(number)?.peer;
  }

  /** Whether the server was asked to let datagrams of this address in. */
  permits(address: IpAddress): boolean {
    if (this.#permissions.has(formatIp(address))) return true;
    for (const { peer } of this.#channels.values()) {
      if (equalBytes(peer.address, address)) return true;
    }
    return false;
  }

  /** The server has granted what was asked for. */
  granted(purpose: PeerPurpose, now: number): TurnClientEffect | undefined {
    const renewed = purpose.kind === "channel"
      ? this.#channels.get(purpose.channel)
      : this.#permissions.get(formatIp(purpose.address));
    if (renewed === undefined) return undefined;
    renewed.renewAt = now + RENEWAL;
    this.nextRenewal = Math.min(this.nextRenewal, renewed.renewAt);
    if (purpose.kind === "permission") return { kind: "permitted", address: purpose.address };
    return { kind: "channel-bound", peer: purpose.peer, channel: purpose.channel };
  }

  /** The server has refused it, or does not answer. */
  refused(purpose: PeerPurpose): void {
    if (purpose.kind === "permission") this.#permissions.delete(formatIp(purpose.address));
    if (purpose.kind === "channel" && this.#channels.delete(purpose.channel)) {
      this.#channelsByPeer.delete(formatAddressPort(purpose.peer));
    }
  }

  /** Asks for what is to be renewed. */
  advance(now: number): void {
    if (this.nextRenewal > now) return;
    for (const permission of this.#permissions.values()) {
      if (permission.renewAt <= now) this.#requestPermission(permission, now);
    }
    for (const channel of this.#channels.values()) {
      if (channel.renewAt <= now) this.#requestChannel(channel, now);
    }
    this.nextRenewal = Infinity;
    for (const { renewAt } of [...this.#permissions.values(), ...this.#channels.values()]) {
      this.nextRenewal = Math.min(this.nextRenewal, renewAt);
    }
  }

  clear(): void {
    this.#permissions.clear();
    this.#channels.clear();
    this.#channelsByPeer.clear();
    this.nextRenewal = Infinity;
  }

  #requestPermission(permission: ClientPermission, now: number): void {
    const { address } = permission;
    permission.renewAt = Infinity;
    this.#start(permissionRequest(address), { kind: "permission", address }, now);
  }

  #requestChannel(channel: ClientChannel, now: number): void {
    const { peer, number } = channel;
    channel.renewAt = Infinity;
    this.#start(channelRequest(peer, number), { kind: "channel", peer, channel: number }, now);
  }

  /** The number used longest ago, so that a channel that was lost is not soon another peer's. */
  #freeNumber(): number {
    do {
      this.#lastNumber = this.#lastNumber === LAST_CHANNEL ? FIRST_CHANNEL : this.#lastNumber + 1;
    } while (this.#channels.has(this.#lastNumber));
    return this.#lastNumber;
  }
}
