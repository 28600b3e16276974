import { getLogger } from "@logtape/logtape";
import { toHex } from "../../base/bytes.ts";
import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import {
  encodeForwardRequest,
  encodeReceiptAck,
  encodeSequenceQuery,
  type ForwardAck,
  type MailboxStatus,
  type SequenceReport,
} from "../../protocol/forward_messages.ts";
import { MessageType } from "../../protocol/message_types.ts";
import { encodePrekeyFetch, type PrekeyBundle } from "../../protocol/prekey_messages.ts";
import type { SyncAck } from "../../protocol/sync_messages.ts";
import { isDiskFull } from "../disk_full.ts";
import type { OwnIdentity } from "../identity_store.ts";
import type { LinkConnection } from "../link_connection.ts";
import { MailboxCount } from "./mailbox_count.ts";
import { MailboxRefusals } from "./mailbox_refusals.ts";
import type { OutboxEntry } from "./outbox_entry.ts";
import { linkEnded, Questions } from "./questions.ts";
import { takeReceipt } from "./receipts.ts";
import { Retries } from "./retries.ts";
import { NoPrekeys, type Prepared, Sealer } from "./sealer.ts";
import { SendWindow } from "./send_window.ts";
import { type Offer, SyncOffers } from "./sync_offers.ts";
import { TakeOver, type TakeOverParts } from "./take_over.ts";

const log = getLogger(["cairn", "peer"]);

/** Requests to one recipient that may wait for their acknowledgement at a time. */
const WINDOW = 32;

/** What the couriers of one peer share. */
export interface CourierParts extends TakeOverParts {
  readonly own: OwnIdentity;
  readonly host: Host;
  /** Called when a mailbox knows of more messages than this peer: its state was rolled back. */
  readonly rolledBack: () => Promise<void>;
  /** Called when a message that this mailbox refused is there for another one to take. */
  readonly leftToOthers?: (recipient: PeerId) => void;
  /** Whether a link to the recipient itself takes its messages meanwhile. */
  readonly isServedDirectly?: (recipient: PeerId) => boolean;
}

/**
 * Brings what is in the outbox to one mailbox, over one link, in order per recipient: encrypts only
 * when the mailbox has said where its count stands, and never before that is durable.
 */
export class Courier {
  readonly #link: LinkConnection;
  readonly #status: MailboxStatus;
  readonly #parts: CourierParts;
  readonly #busy = new Set<string>();
  readonly #pokedWhileBusy = new Set<string>();
  /** Wake the one that serves a recipient while it waits for answers. */
  readonly #wakers = new Map<string, () => void>();
  readonly #acks = new Questions<ForwardAck>();
  readonly #bundles = new Questions<PrekeyBundle>();
  readonly #reports = new Questions<SequenceReport>();
  readonly #count: MailboxCount;
  readonly #takeOver: TakeOver;
  readonly #refusals: MailboxRefusals;
  readonly #retries = new Retries();
  readonly #window = new SendWindow();
  readonly #sync: SyncOffers;
  readonly #sealer: Sealer;
  #closed = false;

  constructor(link: LinkConnection, status: MailboxStatus, parts: CourierParts) {
    this.#link = link;
    this.#status = status;
    this.#parts = parts;
    this.#takeOver = new TakeOver(link.remote, parts);
    this.#count = new MailboxCount({
      ...parts,
      server: link.remote,
      storeId: status.storeId,
      ask: async (recipient) => {
        const report = await this.#reports.ask(recipient.toString(), () => {
          link.send(MessageType.SequenceQuery, encodeSequenceQuery({ recipient }));
        });
        return report.lastSequence;
      },
    });
    this.#refusals = new MailboxRefusals({
      ...parts,
      server: link.remote,
      count: this.#count,
      takeOver: this.#takeOver,
    });
    this.#sync = new SyncOffers({
      ...parts,
      link,
      window: this.#window,
      expected: (entry) =>
        parts.outbox.sharing(entry)
          .filter((each) => this.#serves(each.recipient) && this.#isDue(each)),
    });
    this.#sealer = new Sealer({
      ...parts,
      shares: link.capabilities.has("sync"),
      isKept: this.#takeOver.isKept,
      server: link.remote,
      storeId: status.storeId,
      fetchBundle: (peerId) =>
        this.#bundles.ask(peerId.toString(), () => {
          link.send(MessageType.PrekeyFetch, encodePrekeyFetch({ peerId }));
        }),
    });
  }

  /** Looks after every recipient that has something waiting. */
  start(): void {
    for (const recipient of this.#parts.outbox.recipients()) this.poke(recipient);
  }

  /** Something new waits for `recipient`. */
  poke(recipient: PeerId): void {
    const text = recipient.toString();
    if (this.#closed || !this.#serves(recipient)) return;
    if (this.#busy.has(text)) {
      this.#pokedWhileBusy.add(text);
      this.#wakers.get(text)?.();
      return;
    }
    this.#busy.add(text);
    this.#serve(recipient).catch(async (error) => {
      if (!(error instanceof NoPrekeys)) throw error;
      if (this.#closed || !await this.#refusals.noPrekeys(recipient, error.message)) return;
      this.#retryLater(recipient);
    }).catch((error) => {
      if (this.#closed) return;
      log.warn("Sending stopped and will be tried again: {message}", {
        message: error instanceof Error ? error.message : String(error),
        error,
      });
      if (isDiskFull(error)) this.#refusals.diskFull(recipient);
      this.#retryLater(recipient);
    }).finally(() => {
      this.#busy.delete(text);
      this.#wakers.delete(text);
      if (this.#pokedWhileBusy.delete(text)) this.poke(recipient);
    });
  }

  onAck(ack: ForwardAck): void {
    this.#acks.answer(toHex(ack.msgId), ack);
    this.#withReceipt(ack);
  }

  onSyncAck(ack: SyncAck): void {
    this.#sync.onAck(ack);
  }

  onBundle(bundle: PrekeyBundle): void {
    this.#bundles.answer(bundle.peerId.toString(), bundle);
  }

  onReport(report: SequenceReport): void {
    this.#reports.answer(report.recipient.toString(), report);
  }

  /** Ends with the link; what was not acknowledged is sent again over the next one. */
  close(): void {
    this.#closed = true;
    this.#retries.close();
    this.#window.close();
    this.#sync.close();
    for (const questions of [this.#acks, this.#bundles, this.#reports]) questions.close();
  }

  async #serve(recipient: PeerId): Promise<void> {
    await this.#count.agree(recipient);
    await this.#takeOver.prepare(recipient);
    const inFlight = new Set<Promise<void>>();
    const refusal = await this.#offerAll(recipient, inFlight)
      // Nothing is offered again while its first offer awaits the answer.
      .finally(() => Promise.allSettled(inFlight));
    if (refusal && await this.#refusals.take(refusal.entry, refusal.ack)) {
      this.#pokedWhileBusy.add(recipient.toString());
    } else if (refusal) {
      this.#retryLater(recipient);
    } else {
      this.#refusals.succeeded(recipient);
      this.#retries.succeeded(recipient.toString());
    }
  }

  /** Offers what waits for `recipient`, in order, and returns the first refusal if there is one. */
  async #offerAll(
    recipient: PeerId,
    inFlight: Set<Promise<void>>,
  ): Promise<{ entry: OutboxEntry; ack: ForwardAck } | undefined> {
    const { outbox } = this.#parts;
    const offered = new Set<OutboxEntry>();
    let refusal: { entry: OutboxEntry; ack: ForwardAck } | undefined;
    for (;;) {
      if (this.#closed) throw linkEnded();
      const entry = refusal || !this.#serves(recipient)
        ? undefined
        : outbox.entries(recipient).find((each) => !offered.has(each) && this.#isDue(each));
      if (entry && inFlight.size < WINDOW) {
        offered.add(entry);
        // With its body before the next one: they must leave in the order of their numbers.
        const prepared = await this.#sealer.prepare(entry);
        if (!prepared) continue;
        const { left, answer } = await this.#offer(entry, prepared);
        const ack = answer.then(async (answer) => {
          if (answer.accepted) await outbox.wires.accepted(entry, prepared.wire);
          // The first refusal is the cause; those behind it only wait for that number.
          else refusal ??= { entry, ack: answer };
        }).finally(() => inFlight.delete(ack));
        ack.catch(() => {});
        inFlight.add(ack);
        await left;
      } else if (inFlight.size > 0) {
        const { promise: poked, resolve } = Promise.withResolvers<void>();
        this.#wakers.set(recipient.toString(), resolve);
        await Promise.race([...inFlight, poked]);
      } else {
        return refusal;
      }
    }
  }

  async #offer(entry: OutboxEntry, prepared: Prepared): Promise<Offer> {
    const { wire, body, sharedBody } = prepared;
    if (sharedBody) {
      const { left, answer } = this.#sync.offer(entry, prepared, sharedBody);
      return { left, answer: answer.then((ack) => this.#withReceipt(ack)) };
    }
    await this.#window.enter(body.length);
    const answer = this.#acks.ask(toHex(wire.outerId), () => {
      this.#link.send(
        MessageType.ForwardRequest,
        encodeForwardRequest({
          msgId: wire.outerId,
          recipient: entry.recipient,
          encryptedPayload: body,
          sequenceNumber: wire.sequence,
        }),
      );
    }).finally(() => this.#window.leave(body.length));
    return { left: Promise.resolve(), answer };
  }

  #isDue(entry: OutboxEntry): boolean {
    return this.#takeOver.isDue(entry, this.#status.storeId);
  }

  /** The acknowledgement of a repeat may be the receipt at the same time. */
  #withReceipt(ack: ForwardAck): ForwardAck {
    if (ack.delivered !== undefined) {
      this.#onReceipt(ack).catch((error) => {
        log.error("A receipt could not be recorded: {error}", { error });
      });
    }
    return ack;
  }

  async #onReceipt(ack: ForwardAck): Promise<void> {
    const recipient = await takeReceipt(ack, this.#parts);
    if (recipient) this.poke(recipient);
    this.#link.send(MessageType.ReceiptAck, encodeReceiptAck({ msgIds: [ack.msgId] }));
  }

  /** Whether this mailbox is the way to `recipient` now. */
  #serves(recipient: PeerId): boolean {
    return !this.#parts.isServedDirectly?.(recipient) && this.#takeOver.claims(recipient);
  }

  #retryLater(recipient: PeerId): void {
    this.#retries.later(recipient.toString(), () => this.poke(recipient));
  }
}
