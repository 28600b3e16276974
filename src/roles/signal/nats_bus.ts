import { createHash } from "node:crypto";
import { getLogger } from "@logtape/logtape";
import {
  type ConnectionOptions,
  credsAuthenticator,
  type NatsConnection,
  type Subscription,
} from "@nats-io/nats-core";
import { backoffDelay } from "../../base/backoff.ts";
import { concatBytes, readU32, toHex } from "../../base/bytes.ts";
import type { Host } from "../../base/host.ts";
import {
  decodeBusMessage,
  encodeBusMessage,
  GapCount,
  ORIGIN_LENGTH,
  TopicNumbers,
} from "../../protocol/signal/bus_message.ts";
import { decodeCanonicalFrame } from "../../protocol/signal/signal_frame.ts";
import type { MetricsRegistry } from "../metrics.ts";
import type { Backplane } from "./backplane.ts";
import { type BusAccess, readBusCredentials } from "./bus_access.ts";
import { BusMetrics } from "./bus_metrics.ts";
import { connectNats } from "./nats_connection.ts";

const log = getLogger(["cairn", "signal"]);

/** In front of a topic's hash. Who changes what is said under it chooses another number. */
const SUBJECT = "cairn.signal.1.";
/** Topics that this server counts its messages about, and servers that it counts those of. */
const NUMBERED_TOPICS = 65_536;
const ORIGINS_PER_TOPIC = 64;
/** Bytes that were sent and of which the bus has not said that it took them. */
const MOST_UNCONFIRMED = 8_388_608;
const CONNECT_TIMEOUT = 10_000;
const PING_INTERVAL = 5_000;
const UNANSWERED_PINGS = 2;
/** Attempts after which the time between them grows no more: up to four seconds. */
const LONGEST_WAIT = 3;
/** Milliseconds that what was sent last may take when this server ends. */
const CLOSE_GRACE = 500;

export interface NatsBusOptions {
  readonly access: BusAccess;
  readonly maxFrameBytes: number;
  readonly host: Host;
  readonly registry: MetricsRegistry;
  /** The thread that has this bus, where there are several: they meet without it. */
  readonly thread?: BusThread | undefined;
}

/** One of the threads of a server that are on the bus. */
export interface BusThread {
  /** What all of them have in common, and no other server: one byte less than an origin. */
  readonly server: Uint8Array;
  readonly number: number;
}

/** A topic that somebody here listens to. */
interface Joined {
  /** `undefined` while the bus is lost. */
  subscription: Subscription | undefined;
  /** `undefined` until something came. */
  gaps: GapCount | undefined;
}

/** A connection, and what it has still to confirm. */
interface Way {
  readonly connection: NatsConnection;
  unconfirmed: number;
  isAsking: boolean;
}

/**
 * Joins signaling servers over NATS: a subject for each topic, which this server subscribes to while
 * somebody here listens. While the bus is lost nothing is kept for it; it is looked for until the
 * server ends.
 */
export class NatsBus implements Backplane, AsyncDisposable {
  readonly #options: NatsBusOptions;
  readonly #metrics: BusMetrics;
  readonly #origin: Uint8Array;
  /** How the origins of the other threads begin. */
  readonly #siblings: string | undefined;
  readonly #numbers: TopicNumbers;
  readonly #joined = new Map<string, Joined>();
  readonly #closing = new AbortController();
  #onRelay: (topic: string, frame: Uint8Array) => void = () => {};
  #way: Way | undefined;
  #life: Promise<void> | undefined;
  #told: string | undefined;

  /** @throws {CairnError} `invalid-option` when the file of credentials cannot be read. */
  constructor(options: NatsBusOptions) {
    this.#options = options;
    const { credentialsPath } = options.access;
    if (credentialsPath !== undefined) readBusCredentials(credentialsPath);
    const { thread, host } = options;
    this.#numbers = new TopicNumbers(NUMBERED_TOPICS, () => readU32(host.random(4), 0));
    this.#origin = thread
      ? concatBytes(thread.server, Uint8Array.of(thread.number))
      : host.random(ORIGIN_LENGTH);
    this.#siblings = thread && toHex(thread.server);
    this.#metrics = new BusMetrics(options.registry, () => this.isConnected, this.#joined);
  }

  get isConnected(): boolean {
    return this.#way !== undefined;
  }

  /** Begins to look for the bus; `onRelay` gets what others tell about topics that are joined. */
  start(onRelay: (topic: string, frame: Uint8Array) => void): void {
    this.#onRelay = onRelay;
    this.#life ??= this.#keepConnected();
  }

  join(topic: string): void {
    const joined: Joined = { subscription: undefined, gaps: undefined };
    this.#joined.set(topic, joined);
    if (this.#way) this.#subscribe(this.#way.connection, topic, joined);
  }

  leave(topic: string): void {
    this.#joined.get(topic)?.subscription?.unsubscribe();
    this.#joined.delete(topic);
  }

  publish(topic: string, frame: Uint8Array): void {
    // Also what does not get there is counted, so that the others see that something is missing.
    const number = this.#numbers.take(topic);
    const way = this.#way;
    if (!way) return this.#metrics.dropped("bus lost");
    const message = encodeBusMessage(this.#origin, number, frame);
    if (way.unconfirmed + message.length > MOST_UNCONFIRMED) {
      return this.#metrics.dropped("bus slow");
    }
    if (message.length > (way.connection.info?.max_payload ?? Infinity)) {
      return this.#metrics.dropped("too large");
    }
    way.connection.publish(subjectOf(topic), message);
    way.unconfirmed += message.length;
    this.#metrics.published();
    if (!way.isAsking) void this.#confirm(way);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    const connection = this.#way?.connection;
    if (connection) {
      const timer = setTimeout(() => void connection.close(), CLOSE_GRACE);
      await Promise.race([connection.flush().catch(() => {}), connection.closed()]);
      clearTimeout(timer);
      await connection.close();
    }
    await this.#life;
  }

  async #keepConnected(): Promise<void> {
    const { signal } = this.#closing;
    for (let attempt = 0; !signal.aborted; attempt++) {
      let reason = "the connection ended";
      try {
        const connection = await connectNats(this.#connectionOptions());
        if (signal.aborted) return await connection.close();
        this.#enter(connection);
        attempt = 0;
        const error = await connection.closed();
        if (error) reason = error.message;
      } catch (error) {
        reason = error instanceof Error ? error.message : String(error);
      }
      this.#leaveAll();
      if (signal.aborted) return;
      this.#tell(reason);
      const wait = backoffDelay(Math.min(attempt, LONGEST_WAIT), this.#chance());
      await rest(wait, signal);
    }
  }

  #connectionOptions(): ConnectionOptions {
    const { servers, isTls, login, credentialsPath } = this.#options.access;
    return {
      servers: [...servers],
      name: "cairn signal",
      noEcho: true,
      // One way to come to the bus, and to come back to it: #keepConnected.
      reconnect: false,
      timeout: CONNECT_TIMEOUT,
      pingInterval: PING_INTERVAL,
      maxPingOut: UNANSWERED_PINGS,
      ...(isTls && { tls: {} }),
      ...(login && ("token" in login ? login : { user: login.user, pass: login.password })),
      ...(credentialsPath !== undefined && {
        authenticator: credsAuthenticator(readBusCredentials(credentialsPath)),
      }),
    };
  }

  #enter(connection: NatsConnection): void {
    this.#way = { connection, unconfirmed: 0, isAsking: false };
    for (const [topic, joined] of this.#joined) this.#subscribe(connection, topic, joined);
    this.#told = undefined;
    log.info("Joined the bus");
  }

  #leaveAll(): void {
    this.#way = undefined;
    for (const joined of this.#joined.values()) joined.subscription = undefined;
  }

  #subscribe(connection: NatsConnection, topic: string, joined: Joined): void {
    joined.subscription = connection.subscribe(subjectOf(topic), {
      callback: (error, message) => {
        if (error) this.#tell(error.message);
        else this.#receive(topic, joined, message.data);
      },
    });
  }

  #receive(topic: string, joined: Joined, data: Uint8Array): void {
    const message = decodeBusMessage(data);
    const frame = message && decodeCanonicalFrame(message.frame);
    const isRight = frame?.kind === "Relay" && frame.topic === topic &&
      message!.frame.length <= this.#options.maxFrameBytes;
    if (!message || !isRight) return this.#metrics.dropped("malformed");
    if (this.#siblings !== undefined && message.origin.startsWith(this.#siblings)) return;
    joined.gaps ??= new GapCount(ORIGINS_PER_TOPIC);
    const missing = joined.gaps.missing(message.origin, message.number);
    if (missing === undefined) return this.#metrics.dropped("repeated");
    this.#metrics.received(missing);
    this.#onRelay(topic, message.frame);
  }

  /** Asks the bus whether it has taken what was sent, as long as there is something to ask for. */
  async #confirm(way: Way): Promise<void> {
    way.isAsking = true;
    try {
      while (way.unconfirmed > 0) {
        const sent = way.unconfirmed;
        await way.connection.flush();
        way.unconfirmed -= sent;
      }
    } catch {
      // The connection has ended, and #keepConnected knows.
    } finally {
      way.isAsking = false;
    }
  }

  /** Says what is wrong with the bus, once for each reason. */
  #tell(reason: string): void {
    if (this.#told === reason) return;
    this.#told = reason;
    log.warn("The bus fails; clients of this server alone still meet: {reason}", { reason });
  }

  #chance(): number {
    return (this.#options.host.random(1)[0] ?? 0) / 256;
  }
}

/**
 * A topic may hold what no subject may, and be too long. The hash is no secret: the frame under it
 * says the topic, which tells nobody anything who does not know what it was made of.
 */
function subjectOf(topic: string): string {
  return SUBJECT + createHash("sha256").update(topic).digest("base64url");
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
