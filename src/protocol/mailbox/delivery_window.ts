import type { WaitingMessage } from "./delivery_queue.ts";

/** The most messages sent to a recipient and not purged. */
export const MAX_UNACKNOWLEDGED = 256;

/** What one link has been sent and has not purged yet. */
export class DeliveryWindow<Message extends WaitingMessage> {
  readonly #taken = new Map<string, { message: Message; sent: boolean }>();

  get isFull(): boolean {
    return this.#taken.size >= MAX_UNACKNOWLEDGED;
  }

  has(message: WaitingMessage): boolean {
    return this.#taken.get(message.id)?.message.order === message.order;
  }

  hasId(id: string): boolean {
    return this.#taken.has(id);
  }

  take(message: Message): void {
    this.#taken.set(message.id, { message, sent: false });
  }

  markSent(message: Message): void {
    const entry = this.#taken.get(message.id);
    if (entry?.message === message) entry.sent = true;
  }

  /** The message that `id` means on this link, if it was sent on it. */
  sentAs(id: string): Message | undefined {
    const entry = this.#taken.get(id);
    return entry?.sent ? entry.message : undefined;
  }

  release(message: WaitingMessage): void {
    if (this.has(message)) this.#taken.delete(message.id);
  }

  /** Puts a message back that was taken and not sent. */
  releaseUnsent(message: Message): void {
    if (this.sentAs(message.id) !== message) this.release(message);
  }
}
