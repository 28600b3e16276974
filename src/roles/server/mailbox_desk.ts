import { CairnError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { ForwardAck, ForwardRequest } from "../../protocol/forward_messages.ts";
import { Capacity, type MailboxLimits } from "../../protocol/mailbox/capacity.ts";
import type { DataFolder } from "../data_folder.ts";
import type { GroupCommit } from "../group_commit.ts";
import { DiskGauge } from "../disk_gauge.ts";
import { explainStoreFailure } from "../store_record.ts";
import { KvMailboxStore } from "./kv_mailbox_store.ts";
import type { Attachment, RecipientSink } from "./delivery_sink.ts";
import { MailboxBook } from "./mailbox_book.ts";
import type { MailboxAccounts } from "./mailbox_accounts.ts";
import { MailboxDelivery } from "./mailbox_delivery.ts";
import { lookInto } from "./mailbox_check.ts";
import { MailboxIntake } from "./mailbox_intake.ts";
import { MailboxPairs } from "./mailbox_pairs.ts";
import { type MailboxMessage, type Outcome, partsOf } from "./mailbox_records.ts";
import { MailboxSweep } from "./mailbox_sweep.ts";
import { ReceiptDesk, type SenderAttachment, type SenderSink } from "./receipt_desk.ts";

export type { Attachment, RecipientSink, SenderAttachment, SenderSink };

/** Ends are committed this many at a time. */
const ENDS_AT_ONCE = 500;
export interface MailboxDeskOptions {
  readonly folder: Pick<DataFolder, "path" | "kv" | "freeBytes" | "reserve">;
  readonly commit: GroupCommit;
  readonly limits: MailboxLimits & {
    /** How long a message waits, and how long its id is remembered after it left. */
    readonly maxAgeMs: number;
    /** Messages are refused when the disk has less than this left. Default 16 MiB. */
    readonly minFreeBytes?: number;
  };
  isPaired(peer: PeerId): boolean;
  readonly host: Host;
}

/**
 * The mailbox: accepts messages for paired peers, keeps them until their recipient has stored them,
 * and tells their sender how they ended. An acceptance is only said once it is on disk.
 */
export class MailboxDesk {
  readonly #options: MailboxDeskOptions;
  readonly #isPaired: (peer: PeerId) => boolean;
  readonly #store: KvMailboxStore;
  readonly #capacity: Capacity;
  readonly #pairs: MailboxPairs;
  readonly #intake: MailboxIntake;
  readonly #delivery: MailboxDelivery;
  readonly #receipts: ReceiptDesk;
  readonly #sweep: MailboxSweep;
  readonly #book: MailboxBook;
  #isSweeping = false;
  #closed = false;

  private constructor(
    options: MailboxDeskOptions,
    store: KvMailboxStore,
    pairs: MailboxPairs,
  ) {
    const { commit, limits, host } = options;
    const isPaired = (peer: PeerId) => options.isPaired(peer);
    const gauge = new DiskGauge(options.folder, host, limits.minFreeBytes);
    this.#options = options;
    this.#pairs = pairs;
    this.#isPaired = isPaired;
    this.#store = store;
    this.#capacity = new Capacity(limits);
    this.#delivery = new MailboxDelivery(store, (message, outcome) => this.#end(message, outcome));
    this.#receipts = new ReceiptDesk(store, commit);
    this.#intake = new MailboxIntake({
      store,
      commit,
      capacity: this.#capacity,
      host,
      isPaired,
      diskHasRoom: (size) => gauge.hasRoom(size),
      dropExpired: (recipient) => this.#sweep.expire(recipient),
      accepted: (message) => {
        this.#delivery.add(message);
        this.#book.tell({ type: "accepted", ...partsOf(message) });
      },
    }, pairs);
    this.#sweep = new MailboxSweep({
      store,
      commit,
      delivery: this.#delivery,
      host,
      maxAgeMs: limits.maxAgeMs,
      isPaired,
      end: (messages, outcome) => this.#endAll(messages, outcome),
    });
    this.#book = new MailboxBook({
      kv: options.folder.kv,
      store,
      commit,
      delivery: this.#delivery,
      capacity: this.#capacity,
      host,
      purge: (peer) =>
        this.#endWaiting(peer, { delivered: false, reason: "purged by the operator" }),
    });
  }

  /**
   * Loads how much waits, looks into some of it, and finishes unpairings that were cut short.
   *
   * @throws {CairnError} `data-folder-corrupt` or `disk-full`.
   */
  static async open(options: MailboxDeskOptions): Promise<MailboxDesk> {
    try {
      return await MailboxDesk.#load(options);
    } catch (error) {
      throw explainStoreFailure(options.folder.path, error);
    }
  }

  static async #load(options: MailboxDeskOptions): Promise<MailboxDesk> {
    const store = await KvMailboxStore.open(options.folder.kv, options.commit, options.host);
    const records = await Array.fromAsync(store.pairs());
    const pairs = new MailboxPairs(records, (from, to) => store.newPair(from, to));
    const desk = new MailboxDesk(options, store, pairs);
    for (const pair of records) {
      const { value } = pair.record;
      if (value !== undefined) desk.#capacity.restore(pair.to.toString(), value);
      desk.#delivery.restore(pair);
    }
    await lookInto(store, desk.#delivery);
    await desk.#book.load();
    for (const peer of await store.leaving()) {
      if (!options.isPaired(peer)) await desk.removePeer(peer);
      else await options.commit.commit([store.leftOp(peer)], { freesSpace: true });
    }
    return desk;
  }

  /**
   * Takes a message in. Resolves when it is durable, or refused with the reason; never rejects but
   * with `closed`. Messages of one sender are taken in the order of the calls. An id that is known
   * is accepted again without being stored; when its message has ended, the answer says how.
   */
  async forward(sender: PeerId, request: ForwardRequest, link?: number): Promise<ForwardAck> {
    if (this.#closed) throw new CairnError("closed", "The mailbox is closed");
    const size = request.encryptedPayload.length;
    const ack = await this.#intake.forward(sender, request, link);
    const { rejectionReason: reason } = ack;
    if (!ack.accepted && reason !== null) {
      this.#book.tell({ type: "refused", from: sender, to: request.recipient, size, reason });
    }
    return ack;
  }

  /** Bytes of bodies from `sender` whose forward has no answer yet: read no more above a limit. */
  unansweredBytes(sender: PeerId): number {
    return this.#pairs.unansweredBytes(sender);
  }

  /**
   * A new link of `sender`: it no longer has to repeat what was refused on the last one, of which
   * nothing more is taken. Returns what names it towards {@linkcode MailboxDesk.forward}.
   */
  linkUp(sender: PeerId): number {
    return this.#pairs.linkUp(sender);
  }

  /** The last sequence accepted from `sender` for `recipient`, 0 for none. */
  lastAccepted(sender: PeerId, recipient: PeerId): number {
    return this.#pairs.lastAccepted(sender, recipient);
  }

  /** Starts to deliver to `recipient`; the newest attachment gets the deliveries. */
  attach(recipient: PeerId, sink: RecipientSink): Attachment {
    return this.#delivery.attach(recipient, sink);
  }

  /** Sends `sender` its stored receipts, and new ones at once; the newest attachment gets them. */
  attachSender(sender: PeerId, sink: SenderSink): SenderAttachment {
    return this.#receipts.attach(sender, sink);
  }

  /**
   * Ends what waits for an unpaired peer and deletes its receipts. Call it after `isPaired` denies
   * the peer. What it sent to others stays.
   */
  async removePeer(peer: PeerId): Promise<void> {
    const { commit } = this.#options;
    await commit.commit([this.#store.leavingOp(peer)], { freesSpace: true });
    await this.#pairs.settled(peer);
    await this.#endWaiting(peer, { delivered: false, reason: "recipient was unpaired" });
    await this.#receipts.forget(peer);
    await this.#book.setQuota(peer, { messages: null, bytes: null });
    await commit.commit([this.#store.leftOp(peer)], { freesSpace: true });
  }

  /** What waits for whom, for the operator. */
  get accounts(): MailboxAccounts {
    return this.#book;
  }

  /** Ends what has expired and forgets old ids. Call it every minute or so. */
  async sweep(): Promise<void> {
    if (this.#isSweeping) return;
    this.#isSweeping = true;
    try {
      await this.#options.folder.reserve.refill();
      await this.#sweep.run(this.#pairs);
    } finally {
      this.#isSweeping = false;
    }
  }

  /** What the mailbox holds, messages on their way to the disk included. */
  totals(): { messages: number; bytes: number } {
    const { messages, bytes } = this.#capacity;
    return { messages, bytes };
  }

  /** Refuses more, and resolves when what was under way is settled. The folder stays open. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#pairs.settled();
    await Promise.all([this.#delivery.close(), this.#receipts.close()]);
    await this.#options.commit.flush();
    await this.#store.close();
  }

  /** Makes the end of a message durable, then lets go of it. Does nothing the second time. */
  async #end(message: MailboxMessage, outcome: Outcome): Promise<void> {
    if (await this.#claim(message)) await this.#endClaimed(message, outcome);
  }

  /** Returns how many of `messages` had not ended before. @throws the first failure, at the end. */
  async #endAll(messages: readonly MailboxMessage[], outcome: Outcome): Promise<number> {
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
    if (!this.#delivery.startEnding(message)) return false;
    if (this.#delivery.isLoaded(message)) return true;
    let isWaiting = false;
    try {
      isWaiting = await this.#store.isWaiting(message);
    } finally {
      if (!isWaiting) this.#delivery.retained(message);
    }
    return isWaiting;
  }

  async #endClaimed(message: MailboxMessage, outcome: Outcome): Promise<void> {
    const { commit, host, limits } = this.#options;
    const at = host.now();
    const times = { at, forgetAt: at + limits.maxAgeMs };
    // Its order is that of the commits, since receipts are read by order.
    const receipt = this.#isPaired(message.from) ? this.#store.nextOrder() : null;
    const pair = this.#pairs.record(message.from, message.to);
    try {
      await commit.commit(this.#store.endOps(message, outcome, times, receipt, pair), {
        freesSpace: true,
      });
    } catch (error) {
      this.#delivery.retained(message);
      throw error;
    }
    this.#capacity.give(message.to.toString(), message.size);
    this.#delivery.ended(message);
    if (receipt !== null) this.#receipts.announce(message.sender);
    const reason = outcome.delivered ? null : outcome.reason;
    this.#book.tell({ type: "ended", ...partsOf(message), reason });
  }

  /** Ends everything that waits for `recipient` now. Returns how many messages that were. */
  async #endWaiting(recipient: PeerId, outcome: Outcome): Promise<number> {
    const end = this.#store.nextOrder();
    let count = 0;
    for (const { from, to } of this.#delivery.lanes(recipient)) {
      for (let after = -1; after < end;) {
        const page = await this.#store.waiting(from, to, after, ENDS_AT_ONCE);
        count += await this.#endAll(page.messages.filter(({ order }) => order < end), outcome);
        if (page.isLast) break;
        after = page.last;
      }
    }
    return count;
  }
}
