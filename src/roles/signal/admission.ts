import type { Server } from "node:http";
import type { Socket } from "node:net";
import { getLogger } from "@logtape/logtape";
import type { Host } from "../../base/host.ts";
import type { UpgradeRequest } from "../upgrade_requests.ts";
import {
  type AddressCounts,
  type ConnectionCounts,
  OwnConnections,
  OwnCounts,
} from "./address_counts.ts";
import { isOneOf, offeredProtocols, presentedToken } from "./bearer_token.ts";
import { addressKey, clientAddress, plainAddress, TrustedProxies } from "./client_address.ts";
import type { SignalLimits, SignalOptions } from "./signal_options.ts";

const log = getLogger(["cairn", "signal"]);

/** The subprotocol of signaling; it is confirmed to who offers it. */
export const SIGNAL_PROTOCOL = "cairn.signal.v1";

export const REFUSAL_REASONS = [
  "token",
  "origin",
  "address rate",
  "address connections",
  "full",
  "draining",
  "address handshakes",
] as const;
export type RefusalReason = typeof REFUSAL_REASONS[number];

/** How a client hears that it is not let in: as HTTP status, or as close code where it is a page. */
export interface Refusal {
  readonly reason: RefusalReason;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly closeCode: number;
  readonly sentence: string;
}

const REFUSALS = {
  token: refusal("token", 401, { "www-authenticate": "Bearer" }, 4401, "token is not valid"),
  origin: refusal("origin", 403, {}, 4403, "origin is not allowed"),
  rate: refusal("address rate", 429, { "retry-after": "30" }, 4429, "too many attempts"),
  many: refusal("address connections", 429, { "retry-after": "30" }, 4429, "too many connections"),
  full: refusal("full", 503, { "retry-after": "30" }, 4429, "the server is full"),
  draining: refusal("draining", 503, { "retry-after": "5" }, 1012, "the server restarts"),
};

function refusal(
  reason: RefusalReason,
  status: number,
  headers: Readonly<Record<string, string>>,
  closeCode: number,
  sentence: string,
): Refusal {
  return { reason, status, headers, closeCode, sentence };
}

type AdmissionOptions =
  & Pick<
    SignalOptions,
    "authTokens" | "allowQueryToken" | "allowedOrigins" | "trustedProxies"
  >
  & {
    readonly limits: SignalLimits;
    readonly host: Host;
    readonly onRefused: (reason: RefusalReason) => void;
    /** Default: this admission's own. */
    readonly counts?: AddressCounts | undefined;
    /** Of TCP connections, from before the handshake on. Default: this admission's own. */
    readonly sockets?: ConnectionCounts | undefined;
  };

/** Decides who is let in. Of a client it keeps what its address is counted for, and nothing else. */
export class Admission {
  /** Set when the server is about to end: from then on nobody is let in. */
  isDraining = false;
  readonly #options: AdmissionOptions;
  readonly #proxies: TrustedProxies;
  readonly #origins: ReadonlySet<string> | undefined;
  readonly #counts: AddressCounts;
  readonly #sockets: ConnectionCounts;
  #connections = 0;
  #saidProxy = false;

  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.#proxies = new TrustedProxies(options.trustedProxies ?? []);
    this.#origins = options.allowedOrigins && new Set(options.allowedOrigins);
    this.#counts = options.counts ?? new OwnCounts(
      options.limits.connectionsPerMinute,
      () => options.host.monotonic(),
    );
    this.#sockets = options.sockets ?? new OwnConnections();
  }

  /** Those that this admission let in, also where it counts them together with others. */
  get connections(): number {
    return this.#connections;
  }

  /** What limits count `request` under. */
  keyOf(request: UpgradeRequest): string {
    const { remoteAddress } = request.socket;
    const forwardedFor = request.headers["x-forwarded-for"];
    const list = typeof forwardedFor === "object" ? forwardedFor.join(",") : forwardedFor;
    if (list !== undefined) this.#noticeProxy(remoteAddress);
    return addressKey(clientAddress(remoteAddress, list, this.#proxies));
  }

  /** Judges a request that comes from `key`; each judgement counts as an attempt. */
  judge(request: UpgradeRequest, key: string): Refusal | undefined {
    const refusal = this.#judge(request, key);
    if (refusal) this.#options.onRefused(refusal.reason);
    return refusal;
  }

  /** Counts a connection of `key` until what it returns is called. */
  admit(key: string): () => void {
    this.#connections++;
    this.#counts.add(key, 1);
    return () => {
      this.#connections--;
      this.#counts.add(key, -1);
    };
  }

  /**
   * Bounds the TCP connections of `server`, so that handshakes which never end cannot pile up: in
   * all and for each address that is no trusted proxy, somewhat above what is let in.
   */
  guard(server: Server): void {
    const { maxConnections, connectionsPerAddress } = this.#options.limits;
    const counts = this.#sockets;
    server.on("connection", (socket: Socket) => {
      const address = plainAddress(socket.remoteAddress ?? "") ?? "unknown";
      const isProxy = this.#proxies.has(address);
      // Connections of a proxy count in all only, each in a place of its own.
      const key = isProxy ? `${address} ${socket.remotePort}` : addressKey(address);
      const most = isProxy ? Infinity : 2 * connectionsPerAddress + 16;
      if (counts.connectionsOf(key) >= most || counts.total >= maxConnections + 1_024) {
        this.#options.onRefused("address handshakes");
        socket.resetAndDestroy();
        return;
      }
      counts.add(key, 1);
      socket.once("close", () => counts.add(key, -1));
    });
  }

  #judge(request: UpgradeRequest, key: string): Refusal | undefined {
    const { limits, authTokens, allowQueryToken = false } = this.#options;
    if (this.isDraining) return REFUSALS.draining;
    if (!this.#counts.attempt(key)) return REFUSALS.rate;
    const { origin } = request.headers;
    if (origin !== undefined && this.#origins?.has(origin.toLowerCase()) === false) {
      return REFUSALS.origin;
    }
    if (authTokens.length > 0) {
      if (!isOneOf(authTokens, presentedToken(request, allowQueryToken))) return REFUSALS.token;
    }
    if (this.#counts.total >= limits.maxConnections) return REFUSALS.full;
    return this.#counts.connectionsOf(key) >= limits.connectionsPerAddress
      ? REFUSALS.many
      : undefined;
  }

  #noticeProxy(remote: string | undefined): void {
    if (this.#saidProxy || this.#proxies.has(plainAddress(remote ?? "") ?? "")) return;
    this.#saidProxy = true;
    log.warn(
      "A request came through a proxy that is not trusted: limits count all its clients as one. " +
        "If the proxy is yours, name its address with --trusted-proxies",
    );
  }
}

/**
 * True for a client that cannot read the status of a refused handshake but can read a close code: a
 * page offers the subprotocol, and cannot send the header.
 */
export function readsCloseCodes(request: UpgradeRequest): boolean {
  return request.headers.authorization === undefined &&
    offeredProtocols(request).includes(SIGNAL_PROTOCOL);
}
