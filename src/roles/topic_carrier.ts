import { concatBytes, fromHex, toHex } from "../base/bytes.ts";
import type { TopicAccess } from "./signal_client.ts";
import type { FrameSocket } from "./web_socket.ts";

const ATTEMPT_LENGTH = 16;
const MAX_NOISE_MESSAGE = 16_384;
const FROM_INITIATOR = 0;
const FROM_ACCEPTOR = 1;
const INITIATOR_ENDS = 2;
const ACCEPTOR_ENDS = 3;
const CALL = 4;
const HERE = 5;
const MAX_EARLY_FRAMES = 8;
const MAX_ATTEMPTS = 256;
const MAX_ANNOUNCED = 64;
/** RFC 6455, section 7.4.1. */
const TOO_LARGE = 1009;

/**
 * Carries the Noise messages of one pairing link over `Relay` payloads on a topic, for peers that have no address of one another yet: attempt id ‖ direction ‖ Noise message.
 */
export function initiateOnTopic(
  client: TopicAccess,
  topic: string,
  attempt: Uint8Array,
): FrameSocket {
  const carrier = new TopicSocket(attempt, FROM_INITIATOR, INITIATOR_ENDS, (payload) => {
    client.relay(topic, payload);
  });
  const unsubscribe = client.subscribe(topic, (payload) => {
    const frame = parse(payload);
    if (frame && frame.attempt === toHex(attempt)) {
      carrier.take(frame.direction, frame.message, FROM_ACCEPTOR, ACCEPTOR_ENDS);
    }
  });
  carrier.onEnd = unsubscribe;
  return carrier;
}

/**
 * Asks on a topic that several acceptors may share, or strangers pose on, who is there. Each that
 * answers names an attempt id of its own for {@linkcode initiateOnTopic}, so that one cannot answer
 * in the place of another. Returns what asks again, and what ends it.
 */
export function callOnTopic(
  client: TopicAccess,
  topic: string,
  call: Uint8Array,
  onAcceptor: (attempt: Uint8Array) => void,
): { readonly again: () => void; readonly end: () => void } {
  const heard = new Set<string>();
  const end = client.subscribe(topic, (payload) => {
    const frame = parse(payload);
    if (frame?.direction !== HERE || frame.attempt !== toHex(call)) return;
    const attempt = toHex(frame.message);
    if (frame.message.length !== ATTEMPT_LENGTH || heard.size >= MAX_ANNOUNCED) return;
    if (heard.has(attempt)) return;
    heard.add(attempt);
    onAcceptor(frame.message);
  });
  const again = () => client.relay(topic, concatBytes(call, Uint8Array.of(CALL)));
  again();
  return { again, end };
}

/** Ends the acceptance of attempts on a topic. */
export interface TopicListener {
  /** Accepts no more; attempts under way go on to their end. */
  drain(): void;
  /** Ends those as well. */
  close(): void;
}

/**
 * Accepts attempts on a topic; each becomes a {@linkcode FrameSocket}. Those beyond `limit` at a
 * time are not heard. With `announce`, which gives 16 random bytes, it answers calls, and accepts
 * only the attempts that it named itself.
 */
export function acceptOnTopic(
  client: TopicAccess,
  topic: string,
  accept: (socket: FrameSocket) => void,
  options: { readonly limit?: number; readonly announce?: () => Uint8Array } = {},
): TopicListener {
  const { limit = MAX_ATTEMPTS, announce } = options;
  const attempts = new Map<string, TopicSocket>();
  let isDraining = false;
  /** Attempt ids that were named, and to which call. */
  const announced = new Map<string, string>();
  const answer = (call: Uint8Array, announce: () => Uint8Array) => {
    // A call that is repeated gets the same answer.
    let named = [...announced].find(([, answered]) => answered === toHex(call))?.[0];
    if (named === undefined) {
      named = toHex(announce());
      announced.set(named, toHex(call));
      const [oldest] = announced.keys();
      if (announced.size > MAX_ANNOUNCED && oldest !== undefined) announced.delete(oldest);
    }
    client.relay(topic, concatBytes(call, Uint8Array.of(HERE), fromHex(named)));
  };
  const unsubscribe = client.subscribe(topic, (payload) => {
    const frame = parse(payload);
    if (!frame) return;
    const id = payload.slice(0, ATTEMPT_LENGTH);
    if (frame.direction === CALL) {
      if (announce && !isDraining) answer(id, announce);
      return;
    }
    let carrier = attempts.get(frame.attempt);
    if (!carrier) {
      if (frame.direction !== FROM_INITIATOR || attempts.size >= limit || isDraining) return;
      if (announce && !announced.delete(frame.attempt)) return;
      carrier = new TopicSocket(id, FROM_ACCEPTOR, ACCEPTOR_ENDS, (answer) => {
        client.relay(topic, answer);
      });
      carrier.onEnd = () => {
        attempts.delete(frame.attempt);
        unsubscribeWhenDone();
      };
      attempts.set(frame.attempt, carrier);
      accept(carrier);
    }
    carrier.take(frame.direction, frame.message, FROM_INITIATOR, INITIATOR_ENDS);
  });
  const unsubscribeWhenDone = () => {
    if (isDraining && attempts.size === 0) unsubscribe();
  };
  return {
    drain() {
      isDraining = true;
      unsubscribeWhenDone();
    },
    close() {
      isDraining = true;
      for (const carrier of [...attempts.values()]) carrier.destroy();
      unsubscribe();
    },
  };
}

function parse(payload: Uint8Array) {
  if (payload.length <= ATTEMPT_LENGTH) return undefined;
  if (payload.length > ATTEMPT_LENGTH + 1 + MAX_NOISE_MESSAGE) return undefined;
  return {
    attempt: toHex(payload.subarray(0, ATTEMPT_LENGTH)),
    direction: payload[ATTEMPT_LENGTH],
    message: payload.slice(ATTEMPT_LENGTH + 1),
  };
}

class TopicSocket implements FrameSocket {
  readonly bufferedBytes = 0;
  onEnd: () => void = () => {};
  onClose: (info: { code: number; reason: string }) => void = () => {};
  #onFrame: ((frame: Uint8Array) => void) | undefined;
  #early: Uint8Array[] = [];
  #open = true;

  constructor(
    private readonly attempt: Uint8Array,
    private readonly direction: number,
    private readonly end: number,
    private readonly relay: (payload: Uint8Array) => void,
  ) {}

  set onFrame(handler: (frame: Uint8Array) => void) {
    this.#onFrame = handler;
    // The handler may put another one in its place, which then takes the rest.
    for (let frame = this.#early.shift(); frame; frame = this.#early.shift()) this.#onFrame(frame);
  }

  /** Ends the attempt when a frame is too long for it: what was encrypted cannot be left out. */
  send(frame: Uint8Array): void {
    if (!this.#open) return;
    if (frame.length > MAX_NOISE_MESSAGE) {
      this.close();
      return this.onClose({ code: TOO_LARGE, reason: "too-large" });
    }
    this.relay(concatBytes(this.attempt, Uint8Array.of(this.direction), frame));
  }

  take(
    direction: number | undefined,
    message: Uint8Array,
    expected: number,
    expectedEnd: number,
  ): void {
    if (!this.#open) return;
    if (direction === expectedEnd) {
      this.#ended();
      this.onClose({ code: 1000, reason: "" });
    } else if (direction === expected) {
      if (this.#onFrame) this.#onFrame(message);
      else if (this.#early.length < MAX_EARLY_FRAMES) this.#early.push(message);
    }
  }

  close(): void {
    if (!this.#open) return;
    this.relay(concatBytes(this.attempt, Uint8Array.of(this.end)));
    this.#ended();
  }

  destroy(): void {
    this.close();
  }

  #ended(): void {
    this.#open = false;
    this.onEnd();
  }
}
