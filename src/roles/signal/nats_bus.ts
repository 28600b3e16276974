import { createHash } from "node:crypto";
import { setImmediate } from "node:timers";
import type { NatsConnection, Subscription } from "@nats-io/nats-core";
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
import type { BusAccess } from "./bus_access.ts";
import { BusKeeper } from "./bus_keeper.ts";
import { BusMetrics } from "./bus_metrics.ts";
import type { BusStanding } from "./bus_standing.ts";

/** In front of a topic's hash. Who changes what is said under it chooses another number. */
const SUBJECT = "cairn.signal.1.";
/** Topics that this server counts its messages about, and servers that it counts those of. */
const NUMBERED_TOPICS = 65_536;
const ORIGINS_PER_TOPIC = 64;
/** Bytes that were sent and of which the bus has not said that it took them. */
const MOST_UNCONFIRMED = 8_388_608;
/** Topics that are asked for at a time when the bus is joined; each takes some 60 µs. */
const TOPICS_PER_TURN = 128;

export interface NatsBusOptions {
  readonly access: BusAccess;
  readonly maxFrameBytes: number;
  readonly host: Host;
  readonly registry: MetricsRegistry;
  /** Where it is said how this server stands with the bus. */
  readonly standing: BusStanding;
  /** See {@linkcode BusKeeper}. */
  readonly refusedRest?: number;
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
  readonly #keeper: BusKeeper;
  #onRelay: (topic: string, frame: Uint8Array) => void = () => {};
  #way: Way | undefined;

  /** @throws {CairnError} `invalid-option` when the file of credentials cannot be read. */
  constructor(options: NatsBusOptions) {
    this.#options = options;
    const { thread, host, registry, standing } = options;
    this.#keeper = new BusKeeper({
      ...options,
      subjects: `${SUBJECT}*`,
      onJoined: (connection) => void this.#enter(connection),
      onRefused: () => this.#refused(),
      onLost: () => this.#leaveAll(),
    });
    this.#numbers = new TopicNumbers(NUMBERED_TOPICS, () => readU32(host.random(4), 0));
    this.#origin = thread
      ? concatBytes(thread.server, Uint8Array.of(thread.number))
      : host.random(ORIGIN_LENGTH);
    this.#siblings = thread && toHex(thread.server);
    this.#metrics = new BusMetrics(registry, () => standing.own !== "lost", this.#joined);
  }

  /** Begins to look for the bus; `onRelay` gets what others tell about topics that are joined. */
  start(onRelay: (topic: string, frame: Uint8Array) => void): void {
    this.#onRelay = onRelay;
    this.#keeper.start();
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
    await this.#keeper[Symbol.asyncDispose]();
  }

  /** Asks for all topics, some at a time: clients of this server do not wait for that. */
  async #enter(connection: NatsConnection): Promise<void> {
    const way: Way = { connection, unconfirmed: 0, isAsking: false };
    this.#way = way;
    let left = TOPICS_PER_TURN;
    for (const topic of [...this.#joined.keys()]) {
      if (left-- === 0) {
        left = TOPICS_PER_TURN;
        await new Promise<void>((resolve) => setImmediate(resolve));
      }
      if (this.#way !== way || connection.isClosed()) return;
      const joined = this.#joined.get(topic);
      if (joined && !joined.subscription) this.#subscribe(connection, topic, joined);
    }
    const { standing } = this.#options;
    if (standing.own === "lost") standing.own = "joined";
  }

  #refused(): void {
    this.#metrics.refused();
    this.#options.standing.own = "refusing";
  }

  #leaveAll(): void {
    this.#way = undefined;
    this.#options.standing.own = "lost";
    for (const joined of this.#joined.values()) joined.subscription = undefined;
  }

  #subscribe(connection: NatsConnection, topic: string, joined: Joined): void {
    joined.subscription = connection.subscribe(subjectOf(topic), {
      callback: (error, message) => {
        // What is refused the keeper hears of.
        if (!error) this.#receive(topic, joined, message.data);
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
      // The connection has ended, and the keeper knows.
    } finally {
      way.isAsking = false;
    }
  }
}

/**
 * A topic may hold what no subject may, and be too long. The hash is no secret: the frame under it
 * says the topic, which tells nobody anything who does not know what it was made of.
 */
function subjectOf(topic: string): string {
  return SUBJECT + createHash("sha256").update(topic).digest("base64url");
}
