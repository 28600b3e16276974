import { getLogger } from "@logtape/logtape";
import {
  credsAuthenticator,
  type NatsConnection,
  PermissionViolationError,
} from "@nats-io/nats-core";
import { backoffDelay } from "../../base/backoff.ts";
import type { Host } from "../../base/host.ts";
import { type BusAccess, readBusCredentials } from "./bus_access.ts";
import { type CancellableOptions, connectNats } from "./nats_connection.ts";

const log = getLogger(["cairn", "signal"]);

const CONNECT_TIMEOUT = 10_000;
const PING_INTERVAL = 5_000;
const UNANSWERED_PINGS = 2;
/** Attempts after which the time between them grows no more: up to four seconds. */
const LONGEST_WAIT = 3;
/** Milliseconds after which a connection was a good one, and the next attempt is a first one. */
const STEADY = 30_000;
/** Milliseconds after which a bus that refused something is joined anew: it may have been mended. */
const REFUSED_REST = 60_000;
/** Milliseconds that what was sent last may take when this server ends. */
const CLOSE_GRACE = 500;
/** Characters of what a bus says of itself. */
const LONGEST_REASON = 200;
/** Reasons that it may give until it is joined again: they are the bus's own words. */
const MOST_REASONS = 16;

export interface BusKeeperOptions {
  readonly access: BusAccess;
  readonly host: Host;
  /** Under which subjects the account has to have rights, for a sentence. */
  readonly subjects: string;
  readonly onJoined: (connection: NatsConnection) => void;
  /** The bus goes on, but did not do what it was asked for. */
  readonly onRefused: () => void;
  readonly onLost: () => void;
  /** Default one minute. */
  readonly refusedRest?: number | undefined;
}

/** Looks for the bus until this server ends, and again whenever it is lost. */
export class BusKeeper implements AsyncDisposable {
  readonly #options: BusKeeperOptions;
  readonly #ending = new AbortController();
  #isEnding = false;
  #connection: NatsConnection | undefined;
  #life: Promise<void> | undefined;
  /** Reasons that were told of, since the bus was joined. */
  readonly #told = new Set<string>();
  /** Ends the connection that refused something. */
  #retry: ReturnType<typeof setTimeout> | undefined;

  /** @throws {CairnError} `invalid-option` when the file of credentials cannot be read. */
  constructor(options: BusKeeperOptions) {
    this.#options = options;
    const { credentialsPath } = options.access;
    if (credentialsPath !== undefined) readBusCredentials(credentialsPath);
  }

  start(): void {
    this.#life ??= this.#keepJoined();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isEnding = true;
    const connection = this.#connection;
    if (connection) {
      const timer = setTimeout(() => void connection.close(), CLOSE_GRACE);
      await Promise.race([connection.flush().catch(() => {}), connection.closed()]);
      clearTimeout(timer);
      await connection.close();
    }
    this.#ending.abort();
    await this.#life;
  }

  async #keepJoined(): Promise<void> {
    const { host, onLost } = this.#options;
    for (let attempt = 0; !this.#isEnding; attempt++) {
      let reason: string | undefined;
      try {
        const connection = await connectNats(this.#connectionOptions());
        if (this.#isEnding) return await connection.close();
        const since = host.monotonic();
        reason = await this.#stay(connection);
        if (host.monotonic() - since >= STEADY) attempt = 0;
      } catch (error) {
        reason = error instanceof Error ? error.message : String(error);
      }
      onLost();
      if (this.#isEnding) return;
      if (reason !== undefined) {
        this.#tell("The bus fails; clients of this server alone still meet: {reason}", reason);
      }
      await rest(
        backoffDelay(Math.min(attempt, LONGEST_WAIT), this.#chance()),
        this.#ending.signal,
      );
    }
  }

  /** Resolves when the connection has ended: why, unless it was given up as it refused something. */
  async #stay(connection: NatsConnection): Promise<string | undefined> {
    log.info("Joined the bus");
    this.#told.clear();
    this.#connection = connection;
    try {
      void this.#hear(connection);
      this.#options.onJoined(connection);
      const error = await connection.closed();
      return error?.message ?? (this.#retry === undefined ? "the connection ended" : undefined);
    } finally {
      this.#connection = undefined;
      clearTimeout(this.#retry);
      this.#retry = undefined;
    }
  }

  /** The bus answers nothing of what it does; what it refuses it tells of, to whoever listens. */
  async #hear(connection: NatsConnection): Promise<void> {
    const { subjects, onRefused, refusedRest = REFUSED_REST } = this.#options;
    for await (const status of connection.status()) {
      if (status.type !== "error") continue;
      // What is told of last is heard of when the connection has ended.
      if (this.#connection !== connection) return;
      onRefused();
      this.#retry ??= setTimeout(() => void connection.close(), refusedRest);
      this.#tell(
        "The bus refuses what this server asks for; clients of several servers do not all meet: {reason}",
        status.error instanceof PermissionViolationError
          ? `its account has not the right to ${
            status.error.operation === "publish" ? "publish" : "subscribe"
          } on ${subjects}`
          : status.error.message,
      );
    }
  }

  #connectionOptions(): CancellableOptions {
    const { servers, isTls, login, credentialsPath } = this.#options.access;
    return {
      servers: [...servers],
      name: "cairn signal",
      noEcho: true,
      // One way to come to the bus, and to come back to it: #keepJoined.
      reconnect: false,
      timeout: CONNECT_TIMEOUT,
      signal: this.#ending.signal,
      pingInterval: PING_INTERVAL,
      maxPingOut: UNANSWERED_PINGS,
      ...(isTls && { tls: {} }),
      ...(login && ("token" in login ? login : { user: login.user, pass: login.password })),
      ...(credentialsPath !== undefined && {
        authenticator: credsAuthenticator(readBusCredentials(credentialsPath)),
      }),
    };
  }

  /** Says what is wrong with the bus, once for each reason until it is joined again. */
  #tell(sentence: string, reason: string): void {
    const short = reason.slice(0, LONGEST_REASON);
    if (this.#told.has(short) || this.#told.size >= MOST_REASONS) return;
    this.#told.add(short);
    log.warn(sentence, { reason: short });
  }

  #chance(): number {
    return (this.#options.host.random(1)[0] ?? 0) / 256;
  }
}

/** Resolves after `time` milliseconds, or when `signal` is aborted. */
function rest(time: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, time);
    signal.addEventListener("abort", end);
  });
}
