import type { BusAccess } from "./bus_access.ts";

/** Bounds of one signaling server. */
export interface SignalLimits {
  /** Longest message; a longer one closes its connection with 1009. */
  readonly maxFrameBytes: number;
  readonly topicsPerConnection: number;
  readonly connectionsPerTopic: number;
  /** Of one client address: an IPv4 address or an IPv6 /64. */
  readonly connectionsPerAddress: number;
  /** New connections of one client address, refused ones included. */
  readonly connectionsPerMinute: number;
  readonly maxConnections: number;
  /** Of one connection; {@linkcode BURST_SECONDS} seconds' worth may come at once. */
  readonly messagesPerSecond: number;
  readonly bytesPerSecond: number;
  /** Bytes that may wait for a slow reader; beyond, its connection is closed. */
  readonly maxBufferedBytes: number;
  /** Milliseconds between pings; two that go unanswered end the connection. */
  readonly pingInterval: number;
  /** Milliseconds for the TLS handshake, and again for the request. */
  readonly handshakeTimeout: number;
  /** Mistakes after which a connection is closed; one is forgiven each minute. */
  readonly errorBudget: number;
  /** Records of the JSON dialects at a time. */
  readonly maxRecords: number;
  readonly maxRecordBytes: number;
  /** Of one client address, which may fill the same share of the bytes. */
  readonly recordsPerAddress: number;
  /** Milliseconds that a record lives; 0 keeps none. */
  readonly recordTtl: number;
}

export const SIGNAL_LIMITS: SignalLimits = {
  maxFrameBytes: 65_536,
  topicsPerConnection: 1_024,
  connectionsPerTopic: 256,
  connectionsPerAddress: 128,
  connectionsPerMinute: 120,
  maxConnections: 16_384,
  messagesPerSecond: 100,
  bytesPerSecond: 131_072,
  maxBufferedBytes: 262_144,
  pingInterval: 25_000,
  handshakeTimeout: 10_000,
  errorBudget: 16,
  maxRecords: 10_000,
  maxRecordBytes: 16_777_216,
  recordsPerAddress: 1_000,
  recordTtl: 300_000,
};

/** Seconds' worth of messages and bytes that a connection may send at once. */
export const BURST_SECONDS = 20;

export interface SignalOptions {
  /** `host:port`, with an IPv6 address in brackets. */
  readonly listenAddr: string;
  /** File descriptor of a socket that listens already, in place of the address. */
  readonly listenFd?: number | undefined;
  /** Paths of PEM files; without them the server speaks plaintext. */
  readonly tls?: { readonly certPath: string; readonly keyPath: string };
  /** Any one of these must come as bearer token; with none, everybody is let in. */
  readonly authTokens: readonly string[];
  /** Takes the token also from the URL, where proxies and their logs see it. Default false. */
  readonly allowQueryToken?: boolean;
  /** Origins of pages that may connect; without, any. What sends no `Origin` is no page. */
  readonly allowedOrigins?: readonly string[];
  /** Addresses and ranges of proxies whose `X-Forwarded-For` is believed. Default none. */
  readonly trustedProxies?: readonly string[];
  /** Where `/metrics` is served, as {@linkcode listenAddr} is written. Default nowhere. */
  readonly metricsAddr?: string;
  /** Milliseconds over which an ending server spreads the closing of connections. Default 5,000. */
  readonly drainTime?: number;
  /** The bus that joins this server with others; without, it is one by itself. */
  readonly bus?: BusAccess;
  readonly limits?: Partial<SignalLimits>;
}
