import { ProtocolError } from "../../base/errors.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import { MessageType } from "../../protocol/message_types.ts";
import {
  encodeTransientAck,
  encodeTransientData,
  type TransientAck,
  type TransientData,
} from "../../protocol/transient_messages.ts";
import type { LinkConnection } from "../link_connection.ts";
import type { TransientMessage } from "./node_api.ts";
import { SendWindow } from "./send_window.ts";

/** What a link declares whose end takes such messages. */
export const TRANSIENT = "transient";
/** Messages, and bytes of data, that a sender may have without an answer. */
const WINDOW = { requests: 64, bytes: 4 * 1_048_576 };
/** What a receiver holds of it, with a message that was let through alone. */
const MAX_WAITING_BYTES = 8 * 1_048_576;

/** What an exchange stands on. */
export interface TransientExchangeParts {
  readonly link: LinkConnection;
  /** Whether messages of this peer are wanted. */
  readonly accepts: (peer: PeerId) => boolean;
  /** Shows a message to the application; resolves to whether it took it. */
  readonly onTransient: (message: TransientMessage) => Promise<boolean>;
  /** An answer could not be sent. */
  readonly fail: (error: unknown) => void;
}

/**
 * Messages that are kept nowhere, on a link to the peer that they are for: each is answered when its
 * reader has dealt with it, one after another. They have no place in the order of other messages.
 */
export class TransientExchange {
  readonly #parts: TransientExchangeParts;
  readonly #window = new SendWindow(WINDOW);
  readonly #unanswered = new Map<number, (taken: boolean) => void>();
  #last = 0;
  #work: Promise<void> = Promise.resolve();
  #waiting = 0;
  #waitingBytes = 0;
  #paused = false;
  #closed = false;

  constructor(parts: TransientExchangeParts) {
    this.#parts = parts;
  }

  /** Whether such messages are sent here, and the other end takes them. */
  get serves(): boolean {
    return !this.#closed && !this.#paused && this.#parts.link.capabilities.has(TRANSIENT);
  }

  /** Whether nothing that was sent awaits its answer. */
  get idle(): boolean {
    return this.#unanswered.size === 0;
  }

  /** Resolves to whether the reader took it; false, too, when the link ends before the answer. */
  async send(channel: string, data: Uint8Array): Promise<boolean> {
    await this.#window.enter(data.length);
    if (!this.serves) {
      this.#window.leave(data.length);
      return false;
    }
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const number = ++this.#last;
    this.#unanswered.set(number, resolve);
    this.#parts.link.send(
      MessageType.TransientData,
      encodeTransientData({ number, channel, data }),
    );
    return await promise.finally(() => this.#window.leave(data.length));
  }

  /** @throws {ProtocolError} `too-large` when more waits than the other end may send. */
  onData({ number, channel, data }: TransientData): void {
    const { length } = data;
    this.#waitingBytes += length;
    if (++this.#waiting > WINDOW.requests || this.#waitingBytes > MAX_WAITING_BYTES) {
      throw new ProtocolError("too-large", "More transient messages at once than a peer may send");
    }
    const { link, accepts, onTransient, fail } = this.#parts;
    this.#work = this.#work.then(async () => {
      if (this.#closed) return;
      const from = link.remote;
      const taken = accepts(from) && await onTransient({ from, channel, data });
      this.#waiting--;
      this.#waitingBytes -= length;
      link.send(MessageType.TransientAck, encodeTransientAck({ number, taken }));
    }).catch(fail);
  }

  onAck({ number, taken }: TransientAck): void {
    this.#unanswered.get(number)?.(taken);
    this.#unanswered.delete(number);
  }

  /** Sends nothing more before `resume`; both ends still answer. */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
  }

  /** The link has ended: nobody is answered any more. */
  close(): void {
    this.#closed = true;
    for (const resolve of this.#unanswered.values()) resolve(false);
    this.#unanswered.clear();
    this.#window.close();
  }
}
