import { CairnError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { ForwardAck, ForwardRequest } from "../../protocol/forward_messages.ts";
import type { SyncAck, SyncRequest } from "../../protocol/sync_messages.ts";
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
import { MailboxEnds } from "./mailbox_ends.ts";
import { MailboxInquiry } from "./mailbox_inquiry.ts";
import { type IntakeSurroundings, MailboxIntake } from "./mailbox_intake.ts";
import { MailboxPairs } from "./mailbox_pairs.ts";
import { partsOf } from "./mailbox_records.ts";
import { MailboxSweep } from "./mailbox_sweep.ts";
import { SyncIntake } from "./sync_intake.ts";
import { ReceiptDesk, type SenderAttachment, type SenderSink } from "./receipt_desk.ts";

export type { Attachment, RecipientSink, SenderAttachment, SenderSink };

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
  readonly #syncIntake: SyncIntake;
  readonly #delivery: MailboxDelivery;
  readonly #receipts: ReceiptDesk;
  readonly #ends: MailboxEnds;
  readonly #sweep: MailboxSweep;
  readonly #book: MailboxBook;
  /** What is known of single messages, for the operator. */
  readonly inquiry: MailboxInquiry;
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
    this.#delivery = new MailboxDelivery(
      store,
      (message, outcome) => this.#ends.end(message, outcome),
    );
    this.#delivery.onOffered = (message) => {
      this.#book.tell({ type: "offered", ...partsOf(message) });
    };
    this.inquiry = new MailboxInquiry(store, this.#delivery);
    this.#receipts = new ReceiptDesk(store, commit);
    this.#ends = new MailboxEnds({
      store,
      commit,
      host,
      delivery: this.#delivery,
      pairs,
      capacity: this.#capacity,
      receipts: this.#receipts,
      maxAgeMs: limits.maxAgeMs,
      isPaired,
      tell: (event) => this.#book.tell(event),
    });
    const around: IntakeSurroundings = {
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
    };
    this.#intake = new MailboxIntake(around, pairs);
    this.#syncIntake = new SyncIntake(around, pairs);
    this.#sweep = new MailboxSweep({
      store,
      commit,
      delivery: this.#delivery,
      host,
      maxAgeMs: limits.maxAgeMs,
      isPaired,
      end: (messages, outcome) => this.#ends.all(messages, outcome),
    });
    this.#book = new MailboxBook({
      kv: options.folder.kv,
      store,
      commit,
      delivery: this.#delivery,
      capacity: this.#capacity,
      host,
      purge: (peer) =>
        this.#ends.waitingFor(peer, { delivered: false, reason: "purged by the operator" }),
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
    desk.#capacity.save(store.shared.saved);
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

  /**
   * Takes in one message to several recipients: resolves when it is durable for all of them, or
   * refused for all, with the reasons of those that it was refused for. Never rejects but with
   * `closed`. Each recipient's part is in order with what is forwarded to it.
   */
  async sync(sender: PeerId, request: SyncRequest, link?: number): Promise<SyncAck> {
    if (this.#closed) throw new CairnError("closed", "The mailbox is closed");
    const ack = await this.#syncIntake.take(sender, request, link);
    const size = request.sharedBody.length;
    for (const { recipient, rejectionReason: reason } of ack.accepted ? [] : ack.answers) {
      if (reason === null) continue;
      this.#book.tell({ type: "refused", from: sender, to: recipient, size, reason });
    }
    return ack;
  }

  /** Bytes of bodies from `sender` whose forward has no answer yet: read no more above a limit. */
  unansweredBytes(sender: PeerId): number {
    return this.#pairs.unansweredBytes(sender);
  }

  /**
   * A new link of `sender`: it no longer has to repeat what was refused on the last one, of which
   * only the next number is still taken. Returns what names it towards {@linkcode MailboxDesk.forward}.
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
    await this.#ends.waitingFor(peer, { delivered: false, reason: "recipient was unpaired" });
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
}
