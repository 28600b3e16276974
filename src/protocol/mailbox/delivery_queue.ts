import type { DeliveryWindow } from "./delivery_window.ts";

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
  readonly acceptedAt: number;
}

/** What waits from one sender. */
export interface LaneView {
  readonly sender: string;
  readonly count: number;
  readonly bytes: number;
  /** The oldest message, when it is known. */
  readonly head: Pick<WaitingMessage, "order" | "acceptedAt"> | undefined;
}

interface Lane<Message> extends LaneView {
  count: number;
  bytes: number;
  head: LaneView["head"];
  /** The oldest messages, in order and without gaps, as far as they were read. */
  readonly loaded: Map<number, Message>;
  /** Order of the last message that was read, -1 for none. */
  after: number;
  /** Nothing waits behind what is loaded. */
  isComplete: boolean;
  /** The page that is being read. */
  page: Page | undefined;
}

/** A part of a lane to be read: the messages of `sender` with an order above `after`. */
export interface PageRequest {
  readonly sender: string;
  readonly after: number;
}

/** What was read. */
export interface ReadPage<Message> {
  readonly messages: readonly Message[];
  /** Order of the last record, readable or not; -1 for none. */
  readonly last: number;
  /** Nothing waits behind it. */
  readonly isLast: boolean;
}

interface Page extends PageRequest {
  /** Orders of messages that ended meanwhile. */
  readonly ended: Set<number>;
  /** Others came meanwhile. */
  hasMore: boolean;
}

/** The most messages in memory because they came while the link was up. */
const MAX_LOADED = 1_024;

/**
 * What waits for one recipient: in order per sender, senders by turns, and never two of the same id
 * under way at once, since a purge names nothing but ids. All are counted; in memory are only those
 * whose turn is next, which the caller reads page by page.
 */
export class DeliveryQueue<Message extends WaitingMessage> {
  /** The first lane is the next to be served. */
  readonly #lanes = new Map<string, Lane<Message>>();
  /** Orders of messages whose end is on its way to the disk. */
  readonly #ending = new Set<number>();
  #isOpen = false;
  #loaded = 0;
  #size = 0;
  #bytes = 0;

  get size(): number {
    return this.#size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Every sender of whom something waits. */
  lanes(): LaneView[] {
    return [...this.#lanes.values()];
  }

  /** What waited when the mailbox was opened. */
  restore(sender: string, count: number, bytes: number): void {
    const lane = this.#lane(sender);
    lane.isComplete = false;
    this.#count(lane, count, bytes);
  }

  /** From here on messages are kept in memory for delivery. */
  open(): void {
    this.#isOpen = true;
  }

  /** Nobody is there to deliver to. */
  close(): void {
    this.#isOpen = false;
    this.#loaded = 0;
    for (const lane of this.#lanes.values()) {
      lane.loaded.clear();
      lane.after = -1;
      lane.isComplete = false;
      lane.page = undefined;
    }
  }

  /** Appends; `message.order` is above that of every message of its sender here. */
  add(message: Message): void {
    const lane = this.#lane(message.sender);
    if (lane.count === 0) lane.head = message;
    this.#count(lane, 1, message.size);
    if (lane.page !== undefined) lane.page.hasMore = true;
    if (!lane.isComplete || message.order <= lane.after) return;
    if (this.#isOpen && this.#loaded < MAX_LOADED) this.#load(lane, message);
    else lane.isComplete = false;
  }

  /** A message has ended, whether it was loaded or not. */
  remove({ sender, order, size }: Pick<WaitingMessage, "sender" | "order" | "size">): void {
    this.#ending.delete(order);
    const lane = this.#lanes.get(sender);
    if (lane === undefined) return;
    if (lane.loaded.delete(order)) this.#loaded--;
    lane.page?.ended.add(order);
    if (lane.head?.order === order) lane.head = undefined;
    this.#count(lane, -1, -size);
    if (lane.count <= 0) this.#lanes.delete(sender);
  }

  /** In memory is only what waits. */
  isLoaded({ sender, order }: WaitingMessage): boolean {
    return this.#lanes.get(sender)?.loaded.has(order) === true;
  }

  /** The end of a message is on its way; `false` when that is so already. */
  startEnding({ order }: WaitingMessage): boolean {
    if (this.#ending.has(order)) return false;
    this.#ending.add(order);
    return true;
  }

  /** The message did not end after all. */
  stopEnding({ order }: WaitingMessage): void {
    this.#ending.delete(order);
  }

  isEnding({ order }: WaitingMessage): boolean {
    return this.#ending.has(order);
  }

  /**
   * A lane that has nothing more to send in memory, and from where to read on; until
   * {@linkcode DeliveryQueue.endPage} it is not asked for again.
   */
  beginPage(window: DeliveryWindow<Message>): PageRequest | undefined {
    if (window.isFull) return undefined;
    for (const [sender, lane] of this.#lanes) {
      if (lane.isComplete || lane.page !== undefined) continue;
      if ([...lane.loaded.values()].some((message) => !window.has(message))) continue;
      lane.page = { sender, after: lane.after, ended: new Set(), hasMore: false };
      return lane.page;
    }
    return undefined;
  }

  /** Takes what was read; nothing when the reading failed. */
  endPage(
    request: PageRequest,
    { messages, last, isLast }: ReadPage<Message> = { messages: [], last: -1, isLast: false },
  ): void {
    const lane = this.#lanes.get(request.sender);
    if (lane?.page === undefined || lane.page !== request) return;
    const { ended, hasMore } = lane.page;
    lane.page = undefined;
    for (const message of messages) {
      if (message.order > lane.after && !ended.has(message.order)) this.#load(lane, message);
    }
    lane.after = Math.max(lane.after, last);
    lane.isComplete = isLast && !hasMore;
  }

  /** Which message of `sender` is the oldest, as somebody read. */
  noteHead(sender: string, head: Message): void {
    const lane = this.#lanes.get(sender);
    if (lane !== undefined && !this.#ending.has(head.order)) lane.head = head;
  }

  /** Takes the next message into `window`, or `undefined` when none may go now. */
  next(window: DeliveryWindow<Message>): Message | undefined {
    if (window.isFull) return undefined;
    for (const [sender, lane] of this.#lanes) {
      const message = this.#firstUnsent(lane, window);
      if (message === undefined || window.hasId(message.id)) continue;
      window.take(message);
      this.#lanes.delete(sender);
      this.#lanes.set(sender, lane);
      return message;
    }
    return undefined;
  }

  /** Takes up to `count` messages of together about `bytes`, which are to be read together. */
  takeSome(window: DeliveryWindow<Message>, count: number, bytes: number): Message[] {
    const messages: Message[] = [];
    let taken = 0;
    while (messages.length < count && taken < bytes) {
      const message = this.next(window);
      if (message === undefined) break;
      messages.push(message);
      taken += message.size;
    }
    return messages;
  }

  /** What comes after a message that is just ending waits: its end may fail, and order holds. */
  #firstUnsent(lane: Lane<Message>, window: DeliveryWindow<Message>): Message | undefined {
    for (const message of lane.loaded.values()) {
      if (!window.has(message)) return this.#ending.has(message.order) ? undefined : message;
    }
    return undefined;
  }

  #lane(sender: string): Lane<Message> {
    let lane = this.#lanes.get(sender);
    if (lane === undefined) {
      lane = {
        sender,
        count: 0,
        bytes: 0,
        head: undefined,
        loaded: new Map(),
        after: -1,
        isComplete: true,
        page: undefined,
      };
      this.#lanes.set(sender, lane);
    }
    return lane;
  }

  #load(lane: Lane<Message>, message: Message): void {
    lane.loaded.set(message.order, message);
    lane.after = message.order;
    this.#loaded++;
  }

  #count(lane: Lane<Message>, messages: number, bytes: number): void {
    lane.count += messages;
    lane.bytes += bytes;
    this.#size += messages;
    this.#bytes += bytes;
  }
}
