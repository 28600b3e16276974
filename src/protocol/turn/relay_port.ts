import type { AddressFamily, AddressWords, Endpoint } from "../../base/endpoint.ts";
import { AddressTable } from "./address_table.ts";
import type { Allocation, User } from "./allocation.ts";
import type { RelaySocket } from "./client.ts";
import type { Timed } from "./deadlines.ts";
import type { Opening } from "./opening.ts";

/** Lifetime of a permission, milliseconds (RFC 8656 section 9). */
export const PERMISSION_LIFETIME = 300_000;
/** Lifetime of a channel binding, milliseconds (RFC 8656 section 12). */
export const CHANNEL_LIFETIME = 600_000;

/** Peers without a channel that Send indications went to and that are kept at hand. */
const MAX_MET_PEERS = 256;

/** That datagrams from an IP address, whatever their port, may reach the client. */
export interface Permission {
  /** The port is the one that the client named; it has been judged and means nothing else. */
  readonly endpoint: Endpoint;
  /** Monotonic milliseconds, like every time here. */
  expiresAt: number;
}

/** A peer's transport address that the client sends to. */
export interface Peer {
  readonly endpoint: Endpoint;
  readonly permission: Permission;
  /** Whether it is a relayed transport address of this server. */
  readonly isOwn: boolean;
  channel: Channel | undefined;
}

/** A channel binding (RFC 8656 section 12). */
export interface Channel {
  readonly number: number;
  readonly peer: Peer;
  readonly port: RelayPort;
  expiresAt: number;
}

/** A port that is held for whoever brings the token (RFC 8656 section 7.2). */
export interface Reservation {
  /** 8 random bytes. */
  readonly token: Uint8Array;
  /** Against whose quota it counts; `undefined` where siblings reckon. */
  readonly user: User | undefined;
  isOf(userName: string): boolean;
}

/** A relayed transport address (RFC 8656 section 2): its socket, permissions and peers. */
export class RelayPort implements Timed {
  readonly family: AddressFamily;
  /** As peers are told: the server's external address and this port. */
  readonly endpoint: Endpoint;
  /** Whose it is: `undefined` while it is opened or reserved (EVEN-PORT), and once it is closed. */
  allocation: Allocation | undefined;
  /** Set until its allocation has been answered. */
  opening: Opening | undefined;
  /** Set while it waits for who has its RESERVATION-TOKEN. */
  reservation: Reservation | undefined;
  /** `undefined` until the shell has opened it. */
  socket: RelaySocket | undefined;
  /** Of the relayed address or of the reservation. */
  expiresAt = Infinity;
  place = -1;
  readonly #permissions = new AddressTable<Permission>("address");
  readonly #peers = new AddressTable<Peer>("address and port");
  /** With so many, those without a channel are forgotten. */
  #maxPeers = MAX_MET_PEERS;

  constructor(family: AddressFamily, endpoint: Endpoint) {
    this.family = family;
    this.endpoint = endpoint;
  }

  /** The peer that is known under this address and port. */
  peer(address: AddressWords): Peer | undefined {
    return this.#peers.find(address);
  }

  /** The permission for this IP address; it may have lapsed. */
  permission(address: AddressWords): Permission | undefined {
    return this.#permissions.find(address);
  }

  /** How many permissions there are that have not lapsed or still belong to a channel. */
  countPermissions(now: number): number {
    this.#forgetLapsed(now);
    return this.#permissions.size;
  }

  /** Installs or refreshes the permission for the IP address of `endpoint`. */
  permit(endpoint: Endpoint, now: number): Permission {
    let permission = this.#permissions.find(endpoint);
    if (permission === undefined) {
      permission = { endpoint, expiresAt: 0 };
      this.#permissions.set(permission);
    }
    permission.expiresAt = now + PERMISSION_LIFETIME;
    return permission;
  }

  /** Remembers a peer whose IP address has `permission`. */
  remember(endpoint: Endpoint, permission: Permission, isOwn: boolean): Peer {
    if (this.#peers.size >= this.#maxPeers) {
      this.#peers.retain(({ channel }) => channel !== undefined);
      this.#maxPeers = this.#peers.size + MAX_MET_PEERS;
    }
    const peer = { endpoint, permission, isOwn, channel: undefined };
    this.#peers.set(peer);
    return peer;
  }

  /** Takes away what `allows` does not grant any more; lists the channels among it. */
  review(allows: (endpoint: Endpoint) => boolean): Channel[] {
    const closed = this.#peers.entries()
      .flatMap(({ endpoint, channel }) => channel && !allows(endpoint) ? [channel] : []);
    this.#permissions.retain(({ endpoint }) => allows(endpoint));
    this.#peers.retain(({ endpoint, permission }) =>
      allows(endpoint) && this.#permissions.find(permission.endpoint) === permission
    );
    return closed;
  }

  /** A lapsed permission stays while a channel needs it for when the client renews it. */
  #forgetLapsed(now: number): void {
    const bound = new Set<Permission>();
    for (const { channel, permission } of this.#peers.entries()) {
      if (channel !== undefined) bound.add(permission);
    }
    const isKept = (permission: Permission) => permission.expiresAt > now || bound.has(permission);
    this.#permissions.retain(isKept);
    this.#peers.retain(({ permission }) => isKept(permission));
  }
}
