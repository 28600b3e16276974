import { getLogger } from "@logtape/logtape";
import { ProtocolError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import type { Rate } from "../../base/rate_limit.ts";
import { TokenBucket } from "../../base/token_bucket.ts";
import {
  decodeJsonRequest,
  encodeJsonAnnounced,
  encodeJsonAnswer,
  encodeJsonError,
} from "../../protocol/signal/json_dialect.ts";
import {
  type DatedRecords,
  mergeRecords,
  RecordStore,
} from "../../protocol/signal/record_store.ts";
import {
  decodeCanonicalFrame,
  decodeSignalFrame,
  encodeSignalFrame,
} from "../../protocol/signal/signal_frame.ts";
import { TopicRouter } from "../../protocol/signal/topic_router.ts";
import { EncodedMessage } from "../../protocol/web_socket_frames.ts";
import type { AcceptedWebSocket } from "../accepted_socket.ts";
import type { Backplane } from "./backplane.ts";
import { type Member, WaitingTexts } from "./member.ts";
import type { MessageDrop, SignalMetrics } from "./signal_metrics.ts";
import { BURST_SECONDS, type SignalLimits } from "./signal_options.ts";

const log = getLogger(["cairn", "signal"]);

const POLICY_VIOLATION = 1008;
const TOO_MANY = 4429;
const MINUTE = 60;
/** How often records that nobody asks for are looked at. */
const EXPIRY_INTERVAL = 10_000;

/** Lets messages flow between connections, and keeps the records of the JSON dialects. */
export class Switchboard {
  readonly #limits: SignalLimits;
  readonly #host: Host;
  readonly #metrics: SignalMetrics;
  readonly #backplane: Backplane | undefined;
  readonly #router: TopicRouter<AcceptedWebSocket>;
  readonly #records: RecordStore | undefined;
  readonly #messageRate: Rate;
  readonly #byteRate: Rate;
  readonly #mistakeRate: Rate;
  readonly #expiry: ReturnType<typeof setInterval> | undefined;
  #lastNumber = 0;

  /** With a backplane it also serves topics whose listeners are elsewhere. */
  constructor(limits: SignalLimits, host: Host, metrics: SignalMetrics, backplane?: Backplane) {
    this.#limits = limits;
    this.#backplane = backplane;
    this.#host = host;
    this.#metrics = metrics;
    this.#router = new TopicRouter(
      {
        topicsPerListener: limits.topicsPerConnection,
        listenersPerTopic: limits.connectionsPerTopic,
      },
      backplane && {
        opened: (topic) => backplane.join(topic),
        emptied: (topic) => backplane.leave(topic),
      },
    );
    this.#messageRate = burst(limits.messagesPerSecond, 1);
    this.#byteRate = burst(limits.bytesPerSecond, limits.maxFrameBytes);
    this.#mistakeRate = { burst: limits.errorBudget - 1, perSecond: 1 / MINUTE };
    if (limits.recordTtl === 0) return;
    this.#records = new RecordStore({
      records: limits.maxRecords,
      bytes: limits.maxRecordBytes,
      recordsPerOwner: limits.recordsPerAddress,
      ttl: limits.recordTtl,
    });
    this.#expiry = setInterval(() => this.#records?.expire(host.monotonic()), EXPIRY_INTERVAL);
  }

  get topicCount(): number {
    return this.#router.topicCount;
  }

  get recordCount(): number {
    return this.#records?.size ?? 0;
  }

  get recordBytes(): number {
    return this.#records?.bytes ?? 0;
  }

  /** Serves a connection until it ends, then calls `onEnd`. */
  connect(socket: AcceptedWebSocket, key: string, onEnd: () => void): void {
    const now = this.#host.monotonic();
    const number = ++this.#lastNumber;
    const member: Member = {
      socket,
      key,
      number,
      messages: new TokenBucket(this.#messageRate, now),
      bytes: new TokenBucket(this.#byteRate, now),
      mistakes: undefined,
      isEnding: false,
      textsBehind: undefined,
    };
    log.debug("Connection {number} opened", { number });
    socket.onClose = ({ code }) => {
      member.isEnding = true;
      this.#router.remove(socket);
      onEnd();
      log.debug("Connection {number} closed: {code}", { number, code });
    };
    socket.onPing = () => this.#isWithinRate(member, 0);
    socket.onText = (text) => {
      if (this.#isWithinRate(member, text.length)) this.#answerInOrder(member, text);
    };
    socket.onFrame = (bytes) => {
      if (this.#isWithinRate(member, bytes.length)) this.#route(member, bytes);
    };
  }

  /** Takes what was said elsewhere: a frame in its one right form, which nobody may change. */
  receive(topic: string, frame: Uint8Array): void {
    this.#deliver(undefined, topic, EncodedMessage.binary(frame));
  }

  /** What this server keeps of a topic. */
  recordsOf(topic: string): DatedRecords {
    return this.#records?.dated(topic, this.#host.monotonic()) ?? { payload: undefined, peers: [] };
  }

  close(): void {
    clearInterval(this.#expiry);
  }

  #isWithinRate(member: Member, length: number): boolean {
    if (member.isEnding) {
      this.#metrics.dropped("connection ended");
      return false;
    }
    const now = this.#host.monotonic();
    if (member.messages.take(now) && member.bytes.take(now, length)) return true;
    this.#endTooMany(member);
    return false;
  }

  #route(member: Member, bytes: Uint8Array): void {
    const canonical = decodeCanonicalFrame(bytes);
    let frame;
    try {
      frame = canonical ?? decodeSignalFrame(bytes);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      return this.#mistake(member, "malformed");
    }
    this.#metrics.understood(frame.kind);
    const { socket } = member;
    switch (frame.kind) {
      case "Subscribe":
        return this.#subscribe(member, frame.topic);
      case "Unsubscribe":
        return this.#router.unsubscribe(socket, frame.topic);
      case "Relay":
        // One copy for all: a view would keep the whole chunk it was read in from being freed.
        return this.#relay(
          member,
          frame.topic,
          EncodedMessage.binary(canonical ? bytes : encodeSignalFrame(frame)),
          frame.payload.length,
        );
    }
  }

  /** Relays a frame, which ends with its payload; who asks for the topic in JSON later gets that. */
  #relay(member: Member, topic: string, message: EncodedMessage, payloadLength: number): void {
    this.#spread(member.socket, topic, message);
    const payload = message.payload.subarray(message.payload.length - payloadLength);
    this.#records?.publish(member.key, topic, payload, this.#host.monotonic());
  }

  #subscribe(member: Member, topic: string): void {
    const outcome = this.#router.subscribe(member.socket, topic);
    if (outcome === "too-many-topics") this.#mistake(member, "too many topics");
    // Whether others listen to a topic is nobody's business: a full one answers like any other.
    else if (outcome === "topic-full") this.#metrics.dropped("topic full");
  }

  #spread(sender: AcceptedWebSocket, topic: string, message: EncodedMessage): void {
    this.#deliver(sender, topic, message);
    this.#backplane?.publish(topic, message.payload);
  }

  #deliver(
    sender: AcceptedWebSocket | undefined,
    topic: string,
    message: EncodedMessage,
  ): void {
    let listeners = 0;
    for (const listener of this.#router.relay(sender, topic)) {
      listener.sendEncoded(message);
      listeners++;
    }
    this.#metrics.delivered(listeners);
  }

  #answer(member: Member, text: string): void {
    const { socket, key } = member;
    let request;
    try {
      request = decodeJsonRequest(text);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      socket.sendText(encodeJsonError(error.message));
      return this.#mistake(member, "malformed JSON");
    }
    this.#metrics.understood(request.kind);
    const now = this.#host.monotonic();
    const { kind, topic } = request;
    if (kind === "query") {
      if (this.#records && this.#backplane?.ask) return void this.#gather(member, topic);
      return socket.sendText(encodeJsonAnswer(topic, mergeRecords([this.recordsOf(topic)])));
    }
    if (kind === "publish") {
      const { payload } = request;
      const frame = encodeSignalFrame({ kind: "Relay", topic, payload });
      this.#spread(socket, topic, EncodedMessage.binary(frame));
    }
    if (!this.#records) {
      this.#metrics.dropped("records off");
      return socket.sendText(encodeJsonError("this server keeps no records"));
    }
    const isKept = kind === "publish"
      ? this.#records.publish(key, topic, request.payload, now)
      : this.#records.announce(key, topic, request.announcement, now);
    if (!isKept) {
      this.#metrics.dropped("records full");
      socket.sendText(encodeJsonError("there is no room for this record"));
    } else if (kind === "announce") {
      socket.sendText(encodeJsonAnnounced(topic));
    }
  }

  /** Answers a query with what is kept here and elsewhere, then what came behind it. */
  async #gather(member: Member, topic: string): Promise<void> {
    const behind = member.textsBehind = new WaitingTexts(this.#limits.maxBufferedBytes);
    const elsewhere = await this.#backplane?.ask?.(topic) ?? [];
    member.textsBehind = undefined;
    const found = mergeRecords([this.recordsOf(topic), ...elsewhere]);
    member.socket.sendText(encodeJsonAnswer(topic, found));
    for (const text of behind.texts) this.#answerInOrder(member, text);
  }

  #answerInOrder(member: Member, text: string): void {
    if (member.isEnding) return;
    if (!member.textsBehind) return this.#answer(member, text);
    if (!member.textsBehind.push(text)) this.#endTooMany(member);
  }

  #mistake(member: Member, what: MessageDrop): void {
    this.#metrics.dropped(what);
    log.debug("Connection {number}: {what}", { number: member.number, what });
    const now = this.#host.monotonic();
    if (this.#mistakeRate.burst > 0) {
      member.mistakes ??= new TokenBucket(this.#mistakeRate, now);
      if (member.mistakes.take(now)) return;
    }
    this.#end(member, POLICY_VIOLATION, "too many errors");
  }

  #endTooMany(member: Member): void {
    this.#metrics.dropped("too many messages");
    this.#end(member, TOO_MANY, "too many messages");
  }

  #end(member: Member, code: number, reason: string): void {
    member.isEnding = true;
    this.#router.remove(member.socket);
    member.socket.close(code, reason);
  }
}

/** A rate of which {@linkcode BURST_SECONDS} seconds' worth, and at least `atLeast`, may be had at once. */
function burst(perSecond: number, atLeast: number): Rate {
  return { burst: Math.max(perSecond * BURST_SECONDS, atLeast), perSecond };
}
