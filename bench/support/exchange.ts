import { type ClientEvents, Message, type SignalingClient } from "./signaling_dialects.ts";
import type { RunningServer } from "./signaling_servers.ts";

/** Of a WebRTC data channel: an SDP and an ICE candidate, as a client would send them. */
const DESCRIPTION_LENGTH = 1_024;
const CANDIDATE_LENGTH = 192;
const CANDIDATES_EACH = 4;

const HELLO = "H".charCodeAt(0);
const OFFER = "O".charCodeAt(0);
const ANSWER = "A".charCodeAt(0);
const INITIATOR = "i";
const ACCEPTOR = "a";

let exchangeCount = 0;

/** A new loopback address for each client: limits by address see what they would see outside. */
export function nextSource(): number {
  // 127.16.0.0 to 127.255.255.255.
  return 0x7f100000 + (sourceCount++ % 0xefffff);
}
let sourceCount = 0;

/**
 * Two fresh clients from connecting to having exchanged offer, answer and eight candidates, four
 * each. Where the server routes by topic, each says hello when it is there, and the initiator's
 * offer follows the acceptor's hello; where it routes by client, the offer goes out at once.
 */
export class Exchange {
  /** Milliseconds from connecting to the last message; 0 until then. */
  duration = 0;
  failure: string | undefined;
  readonly #start = performance.now();
  readonly #clients: readonly SignalingClient[];
  readonly #targets: readonly string[];
  readonly #candidates = [0, 0];
  readonly #described = [false, false];
  readonly #onDone: (exchange: Exchange) => void;
  #offered = false;

  constructor({ kind, port }: RunningServer, onDone: (exchange: Exchange) => void) {
    this.#onDone = onDone;
    const number = (exchangeCount++).toString(16).padStart(15, "0");
    const topic = `${number}0`.repeat(4);
    this.#targets = kind.addressesClients
      ? [`${number}${ACCEPTOR}`, `${number}${INITIATOR}`]
      : [topic, topic];
    this.#clients = [INITIATOR, ACCEPTOR].map((role, side) => {
      const client: SignalingClient = kind.dialect(
        { port, source: nextSource(), id: `${number}${role}` },
        {
          onReady: () => {
            if (kind.addressesClients) return side === 0 ? this.#offer() : undefined;
            client.subscribe(topic);
            client.publish(topic, MESSAGES.hello[side]!);
          },
          onDelivery: (kind, from, length) => this.#receive(side, kind, from, length),
          onEnd: (why) => this.#fail(why),
        } satisfies ClientEvents,
      );
      return client;
    });
  }

  get isGone(): boolean {
    return this.#clients.every(({ socket }) => socket.isGone);
  }

  destroy(): void {
    for (const { socket } of this.#clients) socket.destroy();
  }

  #publish(side: number, message: Message): void {
    this.#clients[side]!.publish(this.#targets[side]!, message);
  }

  #offer(): void {
    if (this.#offered) return;
    this.#offered = true;
    this.#describe(0, MESSAGES.offer);
  }

  #describe(side: number, description: Message): void {
    this.#publish(side, description);
    for (let i = 0; i < CANDIDATES_EACH; i++) this.#publish(side, MESSAGES.candidate[side]!);
  }

  #receive(side: number, kind: number, from: number, length: number): void {
    if (from !== (side === 0 ? ACCEPTOR : INITIATOR).charCodeAt(0)) {
      return this.#fail("a message came from the wrong side");
    }
    if (kind === HELLO) {
      if (side === 0) this.#offer();
      else if (!this.#described[1]) this.#publish(1, MESSAGES.hello[1]!);
      return;
    }
    const isDescription = kind === OFFER || kind === ANSWER;
    if (length !== (isDescription ? DESCRIPTION_LENGTH : CANDIDATE_LENGTH)) {
      return this.#fail("a message was cut");
    }
    if (isDescription) this.#described[side] = true;
    else this.#candidates[side]!++;
    if (kind === OFFER) this.#describe(1, MESSAGES.answer);
    const isDone = this.#described.every((one) => one) &&
      this.#candidates.every((count) => count === CANDIDATES_EACH);
    if (!isDone) return;
    this.duration = performance.now() - this.#start;
    for (const { socket } of this.#clients) socket.close();
    this.#onDone(this);
  }

  #fail(why: string): void {
    if (this.failure !== undefined || this.duration > 0) return;
    this.failure = why;
    this.destroy();
    this.#onDone(this);
  }
}

function message(kind: string, role: string, length: number): Message {
  return new Message((kind + role).padEnd(length, "x"));
}

const MESSAGES = {
  hello: [message("H", INITIATOR, 16), message("H", ACCEPTOR, 16)],
  offer: message("O", INITIATOR, DESCRIPTION_LENGTH),
  answer: message("A", ACCEPTOR, DESCRIPTION_LENGTH),
  candidate: [
    message("C", INITIATOR, CANDIDATE_LENGTH),
    message("C", ACCEPTOR, CANDIDATE_LENGTH),
  ],
} as const;
