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
import { isDiskFull } from "../disk_space.ts";
import type { OwnIdentity } from "../identity_store.ts";
import type { LinkConnection } from "../link_connection.ts";
import { MailboxCount } from "./mailbox_count.ts";
import type { Outbox } from "./outbox.ts";
import type { OutboxEntry, Wire } from "./outbox_entry.ts";
import { linkEnded, Questions } from "./questions.ts";
import { isPermanent, laterError, noRoomError, refusalError } from "./refusals.ts";
import { takeReceipt } from "./receipts.ts";
import { Retries } from "./retries.ts";
import { NoPrekeys, Sealer } from "./sealer.ts";
import { SendWindow } from "./send_window.ts";
import type { SessionStore } from "./session_store.ts";

const log = getLogger(["cairn", "peer"]);

/** Requests to one recipient that may wait for their acknowledgement at a time. */
const WINDOW = 32;

/** What the couriers of one peer share. */
export interface CourierParts {
  readonly outbox: Outbox;
  readonly sessions: SessionStore;
  readonly own: OwnIdentity;
  readonly host: Host;
  /** Called when a mailbox knows of more messages than this peer: its state was rolled back. */
  readonly rolledBack: () => Promise<void>;
  /** The servers that this peer is paired with. */
  readonly servers: () => readonly string[];
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
  /** Recipients whose numbering was just corrected. */
  readonly #corrected = new Set<string>();
  readonly #retries = new Retries();
  readonly #window = new SendWindow();
  readonly #sealer: Sealer;
  #closed = false;

  constructor(link: LinkConnection, status: MailboxStatus, parts: CourierParts) {
    this.#link = link;
    this.#status = status;
    this.#parts = parts;
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
    this.#sealer = new Sealer({
      ...parts,
      isPaired: this.#isPaired,
      server: link.remote,
      storeId: status.storeId,
      fetchBundle: (peerId) =>
        this.#bundles.ask(peerId.toString(), () => {
          link.send(MessageType.PrekeyFetch, encodePrekeyFetch({ peerId }));
        }),
    });
  }

  readonly #isPaired = (server: string): boolean => this.#parts.servers().includes(server);

  /** Looks after every recipient that has something waiting. */
  start(): void {
    for (const recipient of this.#parts.outbox.recipients()) this.poke(recipient);
  }

  /** Something new waits for `recipient`. */
  poke(recipient: PeerId): void {
    const text = recipient.toString();
    if (this.#closed || this.#parts.isServedDirectly?.(recipient)) return;
    if (this.#busy.has(text)) {
      this.#pokedWhileBusy.add(text);
      this.#wakers.get(text)?.();
      return;
    }
    this.#busy.add(text);
    this.#serve(recipient).catch(async (error) => {
      if (!(error instanceof NoPrekeys)) throw error;
      if (!this.#closed) await this.#onNoPrekeys(recipient, error.message);
    }).catch((error) => {
      if (this.#closed) return;
      log.warn("Sending stopped and will be tried again: {message}", {
        message: error instanceof Error ? error.message : String(error),
        error,
      });
      if (isDiskFull(error)) this.#onDiskFull(recipient);
      this.#retryLater(recipient);
    }).finally(() => {
      this.#busy.delete(text);
      this.#wakers.delete(text);
      if (this.#pokedWhileBusy.delete(text)) this.poke(recipient);
    });
  }

  onAck(ack: ForwardAck): void {
    // The acknowledgement of a repeat may be the receipt at the same time.
    this.#acks.answer(toHex(ack.msgId), ack);
    if (ack.delivered === undefined) return;
    this.#onReceipt(ack).catch((error) => {
      log.error("A receipt could not be recorded: {error}", { error });
    });
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
    for (const questions of [this.#acks, this.#bundles, this.#reports]) questions.close();
  }

  async #serve(recipient: PeerId): Promise<void> {
    await this.#count.agree(recipient);
    const inFlight = new Set<Promise<void>>();
    const refusal = await this.#offerAll(recipient, inFlight)
      // Nothing is offered again while its first offer awaits the answer.
      .finally(() => Promise.allSettled(inFlight));
    if (refusal && await this.#onRefusal(refusal.entry, refusal.ack)) {
      this.#pokedWhileBusy.add(recipient.toString());
    } else if (!refusal) {
      this.#corrected.delete(recipient.toString());
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
      const entry = refusal || this.#parts.isServedDirectly?.(recipient)
        ? undefined
        : outbox.entries(recipient).find((candidate) =>
          !offered.has(candidate) &&
          outbox.needsSending(candidate, this.#link.remote, this.#status.storeId, this.#isPaired)
        );
      if (entry && inFlight.size < WINDOW) {
        offered.add(entry);
        // With its body before the next one: they must leave in the order of their numbers.
        const prepared = await this.#sealer.prepare(entry);
        if (!prepared) continue;
        const { wire, body } = prepared;
        await this.#window.enter(body.length);
        const ack = this.#offer(entry, wire, body).then(async (answer) => {
          if (answer.accepted) await outbox.accepted(entry, wire);
          // The first refusal is the cause; those behind it only wait for that number.
          else refusal ??= { entry, ack: answer };
        }).finally(() => {
          this.#window.leave(body.length);
          inFlight.delete(ack);
        });
        ack.catch(() => {});
        inFlight.add(ack);
      } else if (inFlight.size > 0) {
        const { promise: poked, resolve } = Promise.withResolvers<void>();
        this.#wakers.set(recipient.toString(), resolve);
        await Promise.race([...inFlight, poked]);
      } else {
        return refusal;
      }
    }
  }

  async #onNoPrekeys(recipient: PeerId, reason: string): Promise<void> {
    const { outbox } = this.#parts;
    const waiting = outbox.entries(recipient).filter(({ wire }) => !wire);
    if (isPermanent(reason)) {
      for (const entry of waiting) await this.#refuse(entry, reason);
      return;
    }
    for (const entry of waiting) {
      outbox.events.refused(entry, laterError(recipient, reason), false);
    }
    this.#retryLater(recipient);
  }

  /** This mailbox will never take it: another one may; when none is left it is given up. */
  async #refuse(entry: OutboxEntry, reason: string | null): Promise<void> {
    const { outbox, servers } = this.#parts;
    entry.refusedBy.add(this.#link.remote.toString());
    const isLeft = servers().some((server) => !entry.refusedBy.has(server));
    const tooLarge = reason?.startsWith("message too large");
    if (isLeft && !tooLarge) {
      await outbox.unseal(entry);
      this.#parts.leftToOthers?.(entry.recipient);
    } else await outbox.drop(entry, refusalError(entry.recipient, reason));
  }

  #onDiskFull(recipient: PeerId): void {
    const { outbox } = this.#parts;
    const first = outbox.entries(recipient).find(({ wire }) => !wire?.accepted);
    if (first) outbox.events.refused(first, noRoomError(), false);
  }

  #offer(entry: OutboxEntry, wire: Wire, encryptedPayload: Uint8Array): Promise<ForwardAck> {
    return this.#acks.ask(toHex(wire.outerId), () => {
      this.#link.send(
        MessageType.ForwardRequest,
        encodeForwardRequest({
          msgId: wire.outerId,
          recipient: entry.recipient,
          encryptedPayload,
          sequenceNumber: wire.sequence,
        }),
      );
    });
  }

  /** Returns true when the rest may be offered again at once. */
  async #onRefusal(entry: OutboxEntry, ack: ForwardAck): Promise<boolean> {
    const { outbox } = this.#parts;
    const reason = ack.rejectionReason;
    const { recipient } = entry;
    const text = recipient.toString();
    this.#count.forget(recipient);
    if (isPermanent(reason)) {
      await this.#refuse(entry, reason);
      await this.#count.renumber(recipient);
      return true;
    }
    const isMisnumbered = reason?.includes("already used") || reason?.includes("sequence gap");
    const isMistaken = reason?.includes("another body");
    // Once at once; a mailbox that says it again is not asked again before a while.
    if ((isMisnumbered || isMistaken) && !this.#corrected.has(text)) {
      this.#corrected.add(text);
      if (isMistaken) await outbox.reopen(entry);
      await this.#count.renumber(recipient);
      return true;
    }
    outbox.events.refused(entry, laterError(recipient, reason ?? "no reason given"), false);
    this.#retryLater(recipient);
    return false;
  }

  async #onReceipt(ack: ForwardAck): Promise<void> {
    const recipient = await takeReceipt(ack, this.#parts);
    if (recipient) this.poke(recipient);
    this.#link.send(MessageType.ReceiptAck, encodeReceiptAck({ msgIds: [ack.msgId] }));
  }

  #retryLater(recipient: PeerId): void {
    this.#retries.later(recipient.toString(), () => this.poke(recipient));
  }
}
