import type { AddressPrefix, IpAddress } from "../../base/address.ts";
import type { StaticUser } from "../../protocol/turn/credentials.ts";
import type { TurnSettings } from "../../protocol/turn/settings.ts";

/** Bounds of one relay's sockets; those of the protocol are the machine's. */
export interface RelayLimits {
  /** TCP and TLS connections at a time, and those of one client address. */
  readonly maxConnections: number;
  readonly connectionsPerAddress: number;
  /** Milliseconds that a connection without an allocation may say nothing. */
  readonly idleTimeout: number;
  /** Milliseconds that a client may leave a full queue unread before its connection is reset. */
  readonly stallTimeout: number;
  /** Bytes that may wait for a client that reads slowly; what comes beyond is dropped. */
  readonly maxQueuedBytes: number;
}

export const RELAY_LIMITS: RelayLimits = {
  maxConnections: 16_384,
  connectionsPerAddress: 64,
  idleTimeout: 30_000,
  stallTimeout: 30_000,
  maxQueuedBytes: 65_536,
};

/** What the operator may change while the relay runs: SIGHUP reads it again. */
export interface RelayPolicyOptions {
  readonly users: readonly StaticUser[];
  /** Secrets of time-limited credentials; any one validates. */
  readonly restSecrets: readonly string[];
  /** Bearer token of `/credentials`. Default the first secret. */
  readonly apiToken?: string;
  /** Prefixes of peers that are let through though they are not global. */
  readonly allowPeers: readonly AddressPrefix[];
  /** Prefixes of peers that are refused. */
  readonly denyPeers: readonly AddressPrefix[];
}

export interface RelayOptions extends RelayPolicyOptions {
  /**
   * `host:port` of UDP, with an IPv6 address in brackets. `0.0.0.0` stands for every IPv4 address
   * of the machine, `[::]` for every address.
   */
  readonly listenAddr: string;
  /** The same for TCP. Default as {@linkcode listenAddr}. */
  readonly tcpAddr?: string;
  /** The same for TLS, served when {@linkcode tls} is given. */
  readonly tlsAddr?: string;
  /** Paths of PEM files. */
  readonly tls?: { readonly certPath: string; readonly keyPath: string };
  /** Where `/credentials` is served, when there is a secret. Default nowhere. */
  readonly apiAddr?: string;
  /** Where `/metrics` is served. Default nowhere. */
  readonly metricsAddr?: string;
  /** Default `cairn`. */
  readonly realm?: string;
  /** URIs in the answer of `/credentials`. Default made from the addresses. */
  readonly turnUris?: readonly string[];
  /** Addresses, at most one of each family, that relayed addresses are advertised with. */
  readonly externalIps?: readonly IpAddress[];
  /** Addresses, at most one of each family, that relayed ports are opened on. */
  readonly relayIps?: readonly IpAddress[];
  /** Ports of relayed addresses, both included. Default 49152 to 65535. */
  readonly relayPorts?: { readonly min: number; readonly max: number };
  /** Allocations of one user at a time. */
  readonly userQuota?: number;
  /** Bits a second of one user in each direction; 0, the default, for no bound. */
  readonly maxBitsPerSecond?: number;
  /** Also takes channel numbers 0x5000 to 0x7FFF of RFC 5766. Default false. */
  readonly legacyChannels?: boolean;
  /** Time-limited credentials must be valid at each Refresh too. Default false. */
  readonly strictExpiry?: boolean;
  /** Milliseconds that an ending relay waits for its allocations. Default 0. */
  readonly drainTimeout?: number;
  readonly limits?: Partial<RelayLimits>;
  /** Other bounds of the protocol than the usual ones, for tests and measurements. */
  readonly rates?: Partial<
    Pick<TurnSettings, "challengeRate" | "bindingRate" | "failureRate" | "maxAllocations">
  >;
  /** Reads anew what may change. Default what was given. */
  readonly reread?: () => RelayPolicyOptions;
}
