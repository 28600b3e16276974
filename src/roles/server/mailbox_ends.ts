import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { Capacity } from "../../protocol/mailbox/capacity.ts";
import type { GroupCommit } from "../group_commit.ts";
import type { KvMailboxStore } from "./kv_mailbox_store.ts";
import type { MailboxEvent } from "./mailbox_accounts.ts";
import type { MailboxDelivery } from "./mailbox_delivery.ts";
import type { MailboxPairs } from "./mailbox_pairs.ts";
import { type MailboxMessage, type Outcome, partsOf } from "./mailbox_records.ts";
import type { ReceiptDesk } from "./receipt_desk.ts";

/** Ends are committed this many at a time. */
const ENDS_AT_ONCE = 500;

interface EndsParts {
  readonly store: KvMailboxStore;
  readonly commit: GroupCommit;
  readonly host: Host;
  readonly delivery: MailboxDelivery;
  readonly pairs: MailboxPairs;
  readonly capacity: Capacity;
  readonly receipts: ReceiptDesk;
  /** How long the id of a message is remembered after it ended. */
  readonly maxAgeMs: number;
  isPaired(peer: PeerId): boolean;
  tell(event: MailboxEvent): void;
}

/** How messages leave the mailbox: each of them once, with a receipt for its sender. */
export class MailboxEnds {
  readonly #parts: EndsParts;

  constructor(parts: EndsParts) {
    this.#parts = parts;
  }

  /** Makes the end of a message durable, then lets go of it. Does nothing the second time. */
  async end(message: MailboxMessage, outcome: Outcome): Promise<void> {
    if (await this.#claim(message)) await this.#endClaimed(message, outcome);
  }

  /** Returns how many of `messages` had not ended before. @throws the first failure, at the end. */
  async all(messages: readonly MailboxMessage[], outcome: Outcome): Promise<number> {
    let count = 0;
    for (let first = 0; first < messages.length; first += ENDS_AT_ONCE) {
      const batch = messages.slice(first, first + ENDS_AT_ONCE);
      const claims = await Promise.allSettled(batch.map((message) => this.#claim(message)));
      const ending = batch.filter((_, index) => {
        const claim = claims[index];
        return claim?.status === "fulfilled" && claim.value;
      });
      const ends = await Promise.allSettled(
        ending.map((message) => this.#endClaimed(message, outcome)),
      );
      for (const each of [...claims, ...ends]) if (each.status === "rejected") throw each.reason;
      count += ending.length;
    }
    return count;
  }

  /** Whether the message is the caller's to end: what has ended or is about to must not end twice. */
  async #claim(message: MailboxMessage): Promise<boolean> {
    if (!this.#parts.delivery.startEnding(message)) return false;
    if (this.#parts.delivery.isLoaded(message)) return true;
    let isWaiting = false;
    try {
      isWaiting = await this.#parts.store.isWaiting(message);
    } finally {
      if (!isWaiting) this.#parts.delivery.retained(message);
    }
    return isWaiting;
  }

  async #endClaimed(message: MailboxMessage, outcome: Outcome): Promise<void> {
    const { commit, host, maxAgeMs } = this.#parts;
    const at = host.now();
    const times = { at, forgetAt: at + maxAgeMs };
    const pair = this.#parts.pairs.record(message.from, message.to);
    const hasReceipt = this.#parts.isPaired(message.from);
    try {
      const shared = await this.#parts.store.shared.end(message, (others) => {
        // Its order is that of the commits, since receipts are read by order.
        const receipt = hasReceipt ? this.#parts.store.nextOrder() : null;
        const ends = this.#parts.store.endOps(message, outcome, times, receipt, pair);
        return commit.commit([...ends, ...others], { freesSpace: true });
      });
      this.#parts.capacity.save(-shared);
    } catch (error) {
      this.#parts.delivery.retained(message);
      throw error;
    }
    this.#parts.capacity.give(message.to.toString(), message.size);
    this.#parts.delivery.ended(message);
    if (hasReceipt) this.#parts.receipts.announce(message.sender);
    const reason = outcome.delivered ? null : outcome.reason;
    this.#parts.tell({ type: "ended", ...partsOf(message), reason });
  }

  /** Ends everything that waits for `recipient` now. Returns how many messages that were. */
  async waitingFor(recipient: PeerId, outcome: Outcome): Promise<number> {
    const end = this.#parts.store.nextOrder();
    let count = 0;
    for (const { from, to } of this.#parts.delivery.lanes(recipient)) {
      for (let after = -1; after < end;) {
        const page = await this.#parts.store.waiting(from, to, after, ENDS_AT_ONCE);
        count += await this.all(page.messages.filter(({ order }) => order < end), outcome);
        if (page.isLast) break;
        after = page.last;
      }
    }
    return count;
  }
}
