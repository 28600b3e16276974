import { CairnError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { ForwardAck, ForwardRequest } from "../../protocol/forward_messages.ts";
import { Capacity, type MailboxLimits } from "../../protocol/mailbox/capacity.ts";
import type { DataFolder } from "../data_folder.ts";
import type { GroupCommit } from "../group_commit.ts";
import { explainStoreFailure } from "../store_record.ts";
import { KvMailboxStore } from "./kv_mailbox_store.ts";
import { type Attachment, MailboxDelivery, type RecipientSink } from "./mailbox_delivery.ts";
import { MailboxIntake } from "./mailbox_intake.ts";
import { MailboxPairs } from "./mailbox_pairs.ts";
import type { MailboxMessage, Outcome } from "./mailbox_records.ts";
import { MailboxSweep } from "./mailbox_sweep.ts";
import { ReceiptDesk, type SenderAttachment, type SenderSink } from "./receipt_desk.ts";

export type { Attachment, RecipientSink, SenderAttachment, SenderSink };

/** Ends are committed this many at a time. */
const ENDS_AT_ONCE = 500;
/** A free space below this is not for messages: the program needs room to keep working. */
const DEFAULT_MIN_FREE_BYTES = 16 * 1024 * 1024;
/** How long, and for how many admitted bytes, a reading of the free space is good. */
const FREE_READING_MS = 1000;
const FREE_READING_BYTES = 1024 * 1024;

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

/** What waits for one recipient. */
export interface QueueStatus {
  readonly peerId: PeerId;
  readonly pendingMessages: number;
  readonly oldestMessageAgeSecs: number;
  readonly totalBytes: number;
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
  #freeReading = { bytes: 0, at: -Infinity };
  #closed = false;

  private constructor(
    options: MailboxDeskOptions,
    store: KvMailboxStore,
    pairs: MailboxPairs,
  ) {
    const { commit, limits, host } = options;
    const isPaired = (peer: PeerId) => options.isPaired(peer);
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
      diskHasRoom: (size) => this.#diskHasRoom(size),
      dropExpired: (recipient) => this.#sweep.expire(this.#delivery.waitingFor(recipient)),
      accepted: (message) => this.#delivery.add(message),
    }, pairs);
    this.#sweep = new MailboxSweep({
      store,
      commit,
      host,
      maxAgeMs: limits.maxAgeMs,
      isPaired,
      end: (messages, outcome) => this.#endAll(messages, outcome),
    });
  }

  /**
   * Loads what waits, without reading bodies, and finishes unpairings that were cut short.
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
    const pairs = new MailboxPairs(await Array.fromAsync(store.pairs()));
    const desk = new MailboxDesk(options, store, pairs);
    for await (const message of store.messages()) {
      desk.#capacity.take(message.to.toString(), message.size);
      desk.#delivery.add(message);
    }
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
  forward(sender: PeerId, request: ForwardRequest): Promise<ForwardAck> {
    if (this.#closed) return Promise.reject(new CairnError("closed", "The mailbox is closed"));
    return this.#intake.forward(sender, request);
  }

  /** Bytes of bodies from `sender` whose forward has no answer yet: read no more above a limit. */
  unansweredBytes(sender: PeerId): number {
    return this.#pairs.unansweredBytes(sender);
  }

  /** A new link of `sender`: it no longer has to repeat what was refused on the last one. */
  linkUp(sender: PeerId): void {
    this.#pairs.linkUp(sender);
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
    await this.#endAll(this.#delivery.waitingFor(peer), {
      delivered: false,
      reason: "recipient was unpaired",
    });
    await this.#receipts.forget(peer);
    await commit.commit([this.#store.leftOp(peer)], { freesSpace: true });
  }

  /** Ends everything that waits for `recipient`. Returns how many messages that were. */
  async purgeQueue(recipient: PeerId): Promise<number> {
    const messages = this.#delivery.waitingFor(recipient);
    return await this.#endAll(messages, { delivered: false, reason: "purged by the operator" });
  }

  /** Ends what has expired and forgets old ids. Call it every minute or so. */
  async sweep(): Promise<void> {
    await this.#options.folder.reserve.refill();
    const queues = this.#delivery.queues().map(({ queue }) => queue);
    await this.#sweep.run(queues.flatMap((queue) => [...queue.messages()]), this.#pairs);
  }

  /** Every recipient for whom something waits. */
  queues(): QueueStatus[] {
    const now = this.#options.host.now();
    return this.#delivery.queues().map(({ peer, queue }) => {
      const age = now - (queue.oldestAcceptedAt() ?? now);
      return {
        peerId: peer,
        pendingMessages: queue.size,
        oldestMessageAgeSecs: Math.max(0, Math.floor(age / 1000)),
        totalBytes: queue.bytes,
      };
    });
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
  }

  /** Makes the end of a message durable, then lets go of it. Does nothing the second time. */
  async #end(message: MailboxMessage, outcome: Outcome): Promise<void> {
    if (message.ending) return;
    message.ending = true;
    const { commit, host, limits } = this.#options;
    const at = host.now();
    const receipt = this.#isPaired(message.from) ? this.#store.nextOrder() : null;
    try {
      await commit.commit(
        this.#store.endOps(message, outcome, { at, forgetAt: at + limits.maxAgeMs }, receipt),
        { freesSpace: true },
      );
    } catch (error) {
      message.ending = false;
      this.#delivery.retained(message);
      throw error;
    }
    this.#capacity.give(message.to.toString(), message.size);
    this.#delivery.ended(message);
    if (receipt !== null) this.#receipts.announce(message.sender);
  }

  /** Returns how many of `messages` had not ended before. @throws the first failure, at the end. */
  async #endAll(messages: readonly MailboxMessage[], outcome: Outcome): Promise<number> {
    const waiting = messages.filter((message) => !message.ending);
    for (let first = 0; first < waiting.length; first += ENDS_AT_ONCE) {
      const batch = waiting.slice(first, first + ENDS_AT_ONCE);
      const results = await Promise.allSettled(
        batch.map((message) => this.#end(message, outcome)),
      );
      for (const result of results) if (result.status === "rejected") throw result.reason;
    }
    return waiting.length;
  }

  async #diskHasRoom(size: number): Promise<boolean> {
    const { folder, host, limits } = this.#options;
    const floor = limits.minFreeBytes ?? DEFAULT_MIN_FREE_BYTES;
    const reading = this.#freeReading;
    const stale = host.monotonic() - reading.at > FREE_READING_MS ||
      reading.bytes < floor + size + FREE_READING_BYTES;
    if (stale) {
      this.#freeReading = { bytes: await folder.freeBytes(), at: host.monotonic() };
    }
    this.#freeReading.bytes -= size;
    return this.#freeReading.bytes >= floor;
  }
}
