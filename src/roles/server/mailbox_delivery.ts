import { getLogger } from "@logtape/logtape";
import { toHex } from "../../base/bytes.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import { DeliveryQueue, type LaneView } from "../../protocol/mailbox/delivery_queue.ts";
import { DeliveryWindow } from "../../protocol/mailbox/delivery_window.ts";
import type { Attachment, RecipientSink } from "./delivery_sink.ts";
import type { KvMailboxStore } from "./kv_mailbox_store.ts";
import type { MailboxMessage, Outcome, PairRecord } from "./mailbox_records.ts";
import { readDelivery, type StoredDelivery } from "./stored_delivery.ts";

const log = getLogger(["cairn", "server", "mailbox"]);

/** Bodies are read this many, and about this many bytes, at a time. */
const READ_MESSAGES = 16;
const READ_BYTES = 256 * 1024;
/** So many messages of one sender are looked up at a time, of so many senders at once. */
const PAGE = 32;
const PAGES_AT_ONCE = 16;
const NOTHING = { messages: [], last: -1, isLast: true };

/** What one sender has waiting for one recipient. */
export interface Lane extends LaneView {
  readonly from: PeerId;
  readonly to: PeerId;
}

interface Recipient {
  readonly peer: PeerId;
  readonly senders: Map<string, PeerId>;
  readonly queue: DeliveryQueue<MailboxMessage>;
  link: Link | undefined;
}

interface Link {
  readonly sink: RecipientSink;
  readonly window: DeliveryWindow<MailboxMessage>;
  /** Whether bodies are being read for this link. */
  pumping: boolean;
}

/** What waits for whom, and the links it goes out on. */
export class MailboxDelivery {
  readonly #store: KvMailboxStore;
  readonly #end: (message: MailboxMessage, outcome: Outcome) => Promise<void>;
  readonly #recipients = new Map<string, Recipient>();
  readonly #pumps = new Set<Promise<void>>();
  /** Called with each message that goes out. */
  onOffered: (message: MailboxMessage) => void = () => {};

  /** @param end makes the end of a message durable; resolves after `ended` was called. */
  constructor(
    store: KvMailboxStore,
    end: (message: MailboxMessage, outcome: Outcome) => Promise<void>,
  ) {
    this.#store = store;
    this.#end = end;
  }

  /** What waited when the mailbox was opened. */
  restore({ from, to, record: { value } }: PairRecord): void {
    if (value === undefined || value.messages === 0) return;
    const recipient = this.#recipient(to);
    recipient.senders.set(from.toString(), from);
    recipient.queue.restore(from.toString(), value.messages, value.bytes);
  }

  /** A durable message starts to wait. */
  add(message: MailboxMessage): void {
    const recipient = this.#recipient(message.to);
    recipient.senders.set(message.sender, message.from);
    recipient.queue.add(message);
    this.#pump(recipient);
  }

  /** A message ended durably. */
  ended(message: MailboxMessage): void {
    const recipient = this.#recipient(message.to);
    recipient.queue.remove(message);
    recipient.link?.window.release(message);
    if (recipient.queue.size <= 0) recipient.link?.sink.drained();
    else this.#pump(recipient);
    this.#forgetIfIdle(recipient);
  }

  /** The end of a message is on its way to the disk; `false` when that is so already. */
  startEnding(message: MailboxMessage): boolean {
    return this.#recipient(message.to).queue.startEnding(message);
  }

  /** Whether it is certain, without looking at the disk, that a message waits. */
  isLoaded(message: MailboxMessage): boolean {
    return this.#recipient(message.to).queue.isLoaded(message);
  }

  isEnding(message: MailboxMessage): boolean {
    return this.#recipient(message.to).queue.isEnding(message);
  }

  /** The end of a message could not be made durable: it waits again. */
  retained(message: MailboxMessage): void {
    const recipient = this.#recipient(message.to);
    recipient.queue.stopEnding(message);
    this.#pump(recipient);
    this.#forgetIfIdle(recipient);
  }

  attach(peer: PeerId, sink: RecipientSink): Attachment {
    const recipient = this.#recipient(peer);
    const link: Link = { sink, window: new DeliveryWindow(), pumping: false };
    recipient.link = link;
    recipient.queue.open();
    queueMicrotask(() => {
      if (recipient.link !== link) return;
      if (recipient.queue.size === 0) sink.drained();
      else this.#pump(recipient);
    });
    return {
      purge: (...ids) => this.#purge(link, ...ids),
      resume: () => {
        if (recipient.link === link) this.#pump(recipient);
      },
      detach: () => {
        if (recipient.link !== link) return;
        recipient.link = undefined;
        recipient.queue.close();
        this.#forgetIfIdle(recipient);
      },
    };
  }

  /** The queues in which something waits. */
  queues(): { readonly peer: PeerId; readonly queue: DeliveryQueue<MailboxMessage> }[] {
    return [...this.#recipients.values()].filter(({ queue }) => queue.size > 0);
  }

  /** Who has something waiting, for `peer` or for everyone. */
  lanes(peer?: PeerId): Lane[] {
    const recipients = peer === undefined
      ? [...this.#recipients.values()]
      : [this.#recipients.get(peer.toString())].filter((recipient) => recipient !== undefined);
    return recipients.flatMap(({ peer: to, queue, senders }) =>
      queue.lanes().flatMap((lane) => {
        const from = senders.get(lane.sender);
        return from === undefined ? [] : [{ ...lane, from, to }];
      })
    );
  }

  /** Somebody read which message is the oldest of its sender. */
  noteHead(message: MailboxMessage): void {
    this.#recipients.get(message.to.toString())?.queue.noteHead(message.sender, message);
  }

  /** A record that cannot be read: it is passed over, and stays for whoever can mend it. */
  passOver(from: PeerId, to: PeerId, order: number): void {
    log.error(
      "A waiting message cannot be read: stop the server and restore its data folder from a backup",
    );
    this.#recipient(to).queue.remove({ sender: from.toString(), order, size: 0 });
  }

  /** Detaches everyone; resolves when no body is being read any more. */
  async close(): Promise<void> {
    for (const recipient of this.#recipients.values()) recipient.link = undefined;
    await Promise.all(this.#pumps);
  }

  #recipient(peer: PeerId): Recipient {
    const key = peer.toString();
    let recipient = this.#recipients.get(key);
    if (recipient === undefined) {
      recipient = { peer, senders: new Map(), queue: new DeliveryQueue(), link: undefined };
      this.#recipients.set(key, recipient);
    }
    return recipient;
  }

  #forgetIfIdle(recipient: Recipient): void {
    const idle = recipient.queue.size <= 0 && recipient.link === undefined;
    if (idle) this.#recipients.delete(recipient.peer.toString());
  }

  async #purge(
    link: Link,
    ...[msgIds, failed, refused = []]: Parameters<Attachment["purge"]>
  ): Promise<void> {
    const endings = [
      ...this.#endings(link, msgIds, { delivered: true }),
      ...this.#endings(link, failed, { delivered: false, reason: "cannot be opened" }),
      ...this.#endings(link, refused, { delivered: false, reason: "refused by the recipient" }),
    ];
    const results = await Promise.allSettled(endings);
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  #endings(link: Link, msgIds: readonly Uint8Array[], outcome: Outcome): Promise<void>[] {
    return msgIds
      .map((msgId) => link.window.sentAs(toHex(msgId)))
      .filter((message) => message !== undefined)
      .map((message) => this.#end(message, outcome));
  }

  #pump(recipient: Recipient): void {
    const { link } = recipient;
    if (link === undefined || link.pumping) return;
    const pump = this.#deliver(recipient, link).catch((error) => {
      log.error("Delivery stopped until the next event: {error}", { error });
    }).finally(() => {
      this.#pumps.delete(pump);
    });
    this.#pumps.add(pump);
  }

  /** Delivers until the link is gone or congested, its window is full, or nothing is left. */
  async #deliver(recipient: Recipient, link: Link): Promise<void> {
    link.pumping = true;
    try {
      while (recipient.link === link && !link.sink.congested) {
        const pages = await this.#readPages(recipient, link);
        if (recipient.link !== link) return;
        const messages = recipient.queue.takeSome(link.window, READ_MESSAGES, READ_BYTES);
        if (messages.length === 0 && pages === 0) return;
        try {
          const bodies = await Promise.all(messages.map((next) => readDelivery(this.#store, next)));
          for (const [index, message] of messages.entries()) {
            const stopped = recipient.link !== link || link.sink.congested;
            if (stopped || recipient.queue.isEnding(message)) break;
            await this.#hand(link, message, bodies[index]);
          }
        } finally {
          for (const message of messages) link.window.releaseUnsent(message);
        }
      }
    } finally {
      link.pumping = false;
      // The link that took over may have found nothing, because it was being read for this one.
      if (recipient.link !== link) this.#pump(recipient);
    }
  }

  /** Looks up what comes next of senders of whom memory has nothing more; returns how many. */
  async #readPages({ peer, queue, senders }: Recipient, { window }: Link): Promise<number> {
    const requests = [];
    while (requests.length < PAGES_AT_ONCE) {
      const request = queue.beginPage(window);
      if (request === undefined) break;
      requests.push(request);
    }
    await Promise.all(requests.map(async (request) => {
      const from = senders.get(request.sender);
      try {
        if (from === undefined) return queue.endPage(request, NOTHING);
        const page = await this.#store.waiting(from, peer, request.after, PAGE);
        queue.endPage(request, page);
        for (const order of page.damaged) this.passOver(from, peer, order);
      } finally {
        queue.endPage(request);
      }
    }));
    return requests.length;
  }

  async #hand(
    { sink, window }: Link,
    message: MailboxMessage,
    body?: StoredDelivery,
  ): Promise<void> {
    // A damaged one, too, which may resist its end: what is behind it must go on.
    window.markSent(message);
    if (body === undefined) {
      log.error("A stored message is damaged; its sender is asked to send it again");
      return await this.#end(message, { delivered: false, reason: "damaged in the mailbox" })
        .catch((error) => log.error("The damaged message stays: {error}", { error }));
    }
    sink.deliver({
      msgId: message.msgId,
      sender: message.from,
      ...body,
      sequenceNumber: message.sequence,
    });
    this.onOffered(message);
  }
}
