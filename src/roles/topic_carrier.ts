import { concatBytes, toHex } from "../base/bytes.ts";
import type { TopicAccess } from "./signal_client.ts";
import type { FrameSocket } from "./web_socket.ts";

const ATTEMPT_LENGTH = 16;
const MAX_NOISE_MESSAGE = 16_384;
const FROM_INITIATOR = 0;
const FROM_ACCEPTOR = 1;
const INITIATOR_ENDS = 2;
const ACCEPTOR_ENDS = 3;
const MAX_EARLY_FRAMES = 8;
/** RFC 6455, section 7.4.1. */
const TOO_LARGE = 1009;

/**
 * Carries the Noise messages of one pairing link over `Relay` payloads on a contact topic, for
 * peers that have no address of one another yet: attempt id ‖ direction ‖ Noise message.
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
 * Accepts attempts on a contact topic; each becomes a {@linkcode FrameSocket}. At most `limit` at a
 * time: a stranger can fill them, but each ends with its handshake's deadline.
 */
export function acceptOnTopic(
  client: TopicAccess,
  topic: string,
  accept: (socket: FrameSocket) => void,
  limit = 64,
): () => void {
  const attempts = new Map<string, TopicSocket>();
  const unsubscribe = client.subscribe(topic, (payload) => {
    const frame = parse(payload);
    if (!frame) return;
    let carrier = attempts.get(frame.attempt);
    if (!carrier) {
      if (frame.direction !== FROM_INITIATOR || attempts.size >= limit) return;
      const id = payload.slice(0, ATTEMPT_LENGTH);
      carrier = new TopicSocket(id, FROM_ACCEPTOR, ACCEPTOR_ENDS, (answer) => {
        client.relay(topic, answer);
      });
      carrier.onEnd = () => attempts.delete(frame.attempt);
      attempts.set(frame.attempt, carrier);
      accept(carrier);
    }
    carrier.take(frame.direction, frame.message, FROM_INITIATOR, INITIATOR_ENDS);
  });
  return () => {
    unsubscribe();
    for (const carrier of [...attempts.values()]) carrier.destroy();
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
