import { getLogger } from "@logtape/logtape";
import { toHex } from "../../base/bytes.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { ForwardAck } from "../../protocol/forward_messages.ts";
import type { GroupCommit } from "../group_commit.ts";
import type { KvMailboxStore } from "./kv_mailbox_store.ts";
import type { Outcome } from "./mailbox_records.ts";

const log = getLogger(["cairn", "server", "mailbox"]);

/** The most receipts sent to a sender and not acknowledged. */
const MAX_UNACKNOWLEDGED = 256;
const PAGE = 64;
const DELETES_PER_COMMIT = 500;

/** The link of a sender. */
export interface SenderSink {
  receipt(ack: ForwardAck): void;
}

/** A sender's link at its receipts. A newer attachment of the same sender takes its place. */
export interface SenderAttachment {
  /** Deletes the receipts of these messages that were sent on this attachment. */
  acknowledge(msgIds: readonly Uint8Array[]): Promise<void>;
  detach(): void;
}

interface Feed {
  readonly sender: PeerId;
  readonly sink: SenderSink;
  /** Order of the last receipt sent on this link. */
  cursor: number;
  /** Message id to order: a ReceiptAck names nothing but ids, so each is out only once. */
  readonly sent: Map<string, number>;
  pumping: boolean;
  /** There may be more since the pump last looked. */
  stale: boolean;
}

/** Brings stored receipts to the senders that are linked. */
export class ReceiptDesk {
  readonly #store: KvMailboxStore;
  readonly #commit: GroupCommit;
  readonly #feeds = new Map<string, Feed>();
  readonly #pumps = new Set<Promise<void>>();

  constructor(store: KvMailboxStore, commit: GroupCommit) {
    this.#store = store;
    this.#commit = commit;
  }

  attach(sender: PeerId, sink: SenderSink): SenderAttachment {
    const feed: Feed = {
      sender,
      sink,
      cursor: -1,
      sent: new Map(),
      pumping: false,
      stale: true,
    };
    this.#feeds.set(sender.toString(), feed);
    this.#pump(feed);
    return {
      acknowledge: (msgIds) => this.#acknowledge(feed, msgIds),
      detach: () => {
        if (this.#isCurrent(feed)) this.#feeds.delete(sender.toString());
      },
    };
  }

  /** A receipt for `sender` became durable. */
  announce(sender: string): void {
    const feed = this.#feeds.get(sender);
    if (feed === undefined) return;
    feed.stale = true;
    this.#pump(feed);
  }

  /** Deletes every receipt of `sender`. */
  async forget(sender: PeerId): Promise<void> {
    while (true) {
      const receipts = await this.#store.receipts(sender, -1, DELETES_PER_COMMIT);
      if (receipts.length === 0) return;
      await this.#commit.commit(
        receipts.map(({ order }) => this.#store.forgetReceiptOp(sender, order)),
        { freesSpace: true },
      );
    }
  }

  /** Detaches everyone; resolves when no receipt is being read any more. */
  async close(): Promise<void> {
    this.#feeds.clear();
    await Promise.all(this.#pumps);
  }

  #isCurrent(feed: Feed): boolean {
    return this.#feeds.get(feed.sender.toString()) === feed;
  }

  async #acknowledge(feed: Feed, msgIds: readonly Uint8Array[]): Promise<void> {
    const known = msgIds.map(toHex).filter((id) => feed.sent.has(id));
    for (let first = 0; first < known.length; first += DELETES_PER_COMMIT) {
      const ids = known.slice(first, first + DELETES_PER_COMMIT);
      const orders = ids.map((id) => feed.sent.get(id)).filter((order) => order !== undefined);
      await this.#commit.commit(
        orders.map((order) => this.#store.forgetReceiptOp(feed.sender, order)),
        { freesSpace: true },
      );
      for (const id of ids) feed.sent.delete(id);
    }
    if (known.length === 0) return;
    feed.stale = true;
    this.#pump(feed);
  }

  #pump(feed: Feed): void {
    if (feed.pumping || !this.#isCurrent(feed)) return;
    feed.pumping = true;
    const pump = this.#send(feed).catch((error) => {
      log.error("Receipts stopped until the next event: {error}", { error });
    }).finally(() => {
      this.#pumps.delete(pump);
    });
    this.#pumps.add(pump);
  }

  async #send(feed: Feed): Promise<void> {
    try {
      while (this.#isCurrent(feed) && feed.stale && feed.sent.size < MAX_UNACKNOWLEDGED) {
        feed.stale = false;
        const limit = Math.min(PAGE, MAX_UNACKNOWLEDGED - feed.sent.size);
        const receipts = await this.#store.receipts(feed.sender, feed.cursor, limit);
        for (const { order, msgId, outcome } of receipts) {
          const id = toHex(msgId);
          // Two recipients were sent the same id: the second receipt waits for the first.
          if (!this.#isCurrent(feed) || feed.sent.has(id)) return;
          feed.cursor = order;
          feed.sent.set(id, order);
          feed.sink.receipt(receiptOf(msgId, outcome));
        }
        if (receipts.length === limit) feed.stale = true;
      }
    } finally {
      feed.pumping = false;
    }
  }
}

/** The second ForwardAck, which tells the sender how its message ended. */
export function receiptOf(msgId: Uint8Array, outcome: Outcome): ForwardAck {
  return {
    msgId,
    accepted: true,
    rejectionReason: outcome.delivered ? null : outcome.reason,
    delivered: outcome.delivered,
  };
}
