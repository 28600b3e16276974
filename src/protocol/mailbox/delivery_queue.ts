/** A message that waits for its recipient, as far as memory needs to know it. */
export interface WaitingMessage {
  /** Place in the order of acceptance; unique in the mailbox. */
  readonly order: number;
  /** The message id, hexadecimal. Only the pair of sender and recipient makes it unique. */
  readonly id: string;
  /** Key of the sender. */
  readonly sender: string;
  readonly size: number;
  /** Wall clock at acceptance, milliseconds. */
  acceptedAt: number;
  /** Set from when its end (purge, expiry) is on its way to the disk. */
  ending: boolean;
}

/** The most messages sent to a recipient and not purged. */
export const MAX_UNACKNOWLEDGED = 256;

/** What one link has been sent and has not purged yet. */
export class DeliveryWindow<Message extends WaitingMessage> {
  readonly #taken = new Map<string, { message: Message; sent: boolean }>();

  get isFull(): boolean {
    return this.#taken.size >= MAX_UNACKNOWLEDGED;
  }

  has(message: Message): boolean {
    return this.#taken.get(message.id)?.message === message;
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

  release(message: Message): void {
    if (this.has(message)) this.#taken.delete(message.id);
  }

  /** Puts a message back that was taken and not sent. */
  releaseUnsent(message: Message): void {
    if (this.sentAs(message.id) !== message) this.release(message);
  }
}

/**
 * What waits for one recipient: in order per sender, senders by turns, and never two of the same id
 * under way at once, since a purge names nothing but ids.
 */
export class DeliveryQueue<Message extends WaitingMessage> {
  /** Per sender, in order of acceptance. The first lane is the next to be served. */
  readonly #lanes = new Map<string, Map<number, Message>>();
  #size = 0;
  #bytes = 0;

  get size(): number {
    return this.#size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Appends; `message.order` is above that of every message of its sender here. */
  add(message: Message): void {
    let lane = this.#lanes.get(message.sender);
    if (lane === undefined) this.#lanes.set(message.sender, lane = new Map());
    lane.set(message.order, message);
    this.#size++;
    this.#bytes += message.size;
  }

  remove(message: Message): void {
    const lane = this.#lanes.get(message.sender);
    if (lane === undefined || !lane.delete(message.order)) return;
    if (lane.size === 0) this.#lanes.delete(message.sender);
    this.#size--;
    this.#bytes -= message.size;
  }

  /** Takes the next message into `window`, or `undefined` when none may go now. */
  next(window: DeliveryWindow<Message>): Message | undefined {
    if (window.isFull) return undefined;
    for (const [sender, lane] of this.#lanes) {
      const message = firstUnsent(lane, window);
      if (message === undefined || window.hasId(message.id)) continue;
      window.take(message);
      this.#lanes.delete(sender);
      this.#lanes.set(sender, lane);
      return message;
    }
    return undefined;
  }

  /** All messages, sender by sender in order. */
  *messages(): Generator<Message> {
    for (const lane of this.#lanes.values()) yield* lane.values();
  }

  /** When the longest waiting message was accepted. */
  oldestAcceptedAt(): number | undefined {
    let oldest: number | undefined;
    for (const lane of this.#lanes.values()) {
      const [first] = lane.values();
      if (first !== undefined && (oldest === undefined || first.acceptedAt < oldest)) {
        oldest = first.acceptedAt;
      }
    }
    return oldest;
  }
}

/** What comes after a message that is just ending waits: its end may fail, and order holds. */
function firstUnsent<Message extends WaitingMessage>(
  lane: Map<number, Message>,
  window: DeliveryWindow<Message>,
): Message | undefined {
  for (const message of lane.values()) {
    if (!window.has(message)) return message.ending ? undefined : message;
  }
  return undefined;
}
