import { getLogger } from "@logtape/logtape";
import { equalBytes, toHex } from "../../base/bytes.ts";
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
import type { OwnIdentity } from "../identity_store.ts";
import type { LinkConnection } from "../link_connection.ts";
import type { Outbox } from "./outbox.ts";
import type { OutboxEntry, Wire } from "./outbox_entry.ts";
import { linkEnded, Questions } from "./questions.ts";
import { isPermanent, laterError, refusalError, undeliverableError } from "./refusals.ts";
import { Retries } from "./retries.ts";
import { NoPrekeys, Sealer } from "./sealer.ts";
import { SendWindow } from "./send_window.ts";
import type { SessionStore } from "./session_store.ts";

const log = getLogger(["cairn", "peer"]);

/** Requests to one recipient that may wait for their acknowledgement at a time. */
const WINDOW = 32;
/** After so many failures of the recipient to open a message it is given up. */
const MAX_FAILURES = 5;

/** What the couriers of one peer share. */
export interface CourierParts {
  readonly outbox: Outbox;
  readonly sessions: SessionStore;
  readonly own: OwnIdentity;
  readonly host: Host;
  /** Called when a mailbox knows of more messages than this peer: its state was rolled back. */
  readonly rolledBack: (lastAccepted: number) => Promise<void>;
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
  readonly #acks = new Questions<ForwardAck>();
  readonly #bundles = new Questions<PrekeyBundle>();
  readonly #reports = new Questions<SequenceReport>();
  readonly #counted = new Set<string>();
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
    this.#sealer = new Sealer({
      ...parts,
      server: link.remote,
      storeId: status.storeId,
      fetchBundle: (peerId) =>
        this.#bundles.ask(peerId.toString(), () => {
          link.send(MessageType.PrekeyFetch, encodePrekeyFetch({ peerId }));
        }),
    });
  }

  get server(): PeerId {
    return this.#link.remote;
  }

  /** Looks after every recipient that has something waiting. */
  start(): void {
    for (const recipient of this.#parts.outbox.recipients()) this.poke(recipient);
  }

  /** Something new waits for `recipient`. */
  poke(recipient: PeerId): void {
    const text = recipient.toString();
    if (this.#closed) return;
    if (this.#busy.has(text)) {
      this.#pokedWhileBusy.add(text);
      return;
    }
    this.#busy.add(text);
    this.#serve(recipient).catch(async (error) => {
      if (this.#closed) return;
      if (error instanceof NoPrekeys) return await this.#onNoPrekeys(recipient, error.message);
      log.warn("Sending stopped and will be tried again: {message}", {
        message: error instanceof Error ? error.message : String(error),
        error,
      });
      this.#retryLater(recipient);
    }).finally(() => {
      this.#busy.delete(text);
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
    const { outbox } = this.#parts;
    if (!this.#counted.has(recipient.toString())) await this.#agreeOnCount(recipient);
    const inFlight = new Set<Promise<void>>();
    const offered = new Set<OutboxEntry>();
    let refusal: { entry: OutboxEntry; ack: ForwardAck } | undefined;
    for (;;) {
      if (this.#closed) throw linkEnded();
      const entry = refusal
        ? undefined
        : outbox.entries(recipient).find((candidate) =>
          !offered.has(candidate) &&
          outbox.needsSending(candidate.wire, this.server, this.#status.storeId)
        );
      if (entry && inFlight.size < WINDOW) {
        offered.add(entry);
        const wire = await this.#sealer.prepare(entry);
        // Read before the next one is prepared: they must leave in the order of their numbers.
        const body = await outbox.readWire(wire);
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
        await Promise.race(inFlight);
      } else {
        break;
      }
    }
    if (refusal && await this.#onRefusal(refusal.entry, refusal.ack)) {
      this.#pokedWhileBusy.add(recipient.toString());
    } else if (!refusal) {
      this.#corrected.delete(recipient.toString());
      this.#retries.succeeded(recipient.toString());
    }
  }

  /**
   * Asks how many messages the mailbox has accepted from here for `recipient`, and takes it from
   * there: a larger number than ours means that this folder was rolled back, a smaller one than
   * what was acknowledged that the mailbox was.
   */
  async #agreeOnCount(recipient: PeerId): Promise<number> {
    const { outbox, rolledBack } = this.#parts;
    const { storeId } = this.#status;
    const { lastSequence } = await this.#reports.ask(recipient.toString(), () => {
      this.#link.send(MessageType.SequenceQuery, encodeSequenceQuery({ recipient }));
    });
    const route = outbox.route(this.server, recipient);
    if (lastSequence > (route?.highest ?? 0)) {
      log.warn(
        "The server has accepted more messages than this data folder knows of: it was restored " +
          "from an older copy. New sessions and new keys are used from here on.",
      );
      await rolledBack(lastSequence);
      // Only now: a crash in between must find the difference again.
      await outbox.setRoute(this.server, recipient, { storeId, highest: lastSequence });
    } else if (!route || !equalBytes(route.storeId, storeId)) {
      await outbox.setRoute(this.server, recipient, { storeId, highest: lastSequence });
    } else {
      outbox.unaccept(this.server, recipient, lastSequence);
    }
    this.#counted.add(recipient.toString());
    return lastSequence;
  }

  async #onNoPrekeys(recipient: PeerId, reason: string): Promise<void> {
    const { outbox } = this.#parts;
    const waiting = outbox.entries(recipient).filter(({ wire }) => !wire);
    if (isPermanent(reason)) {
      for (const entry of waiting) await outbox.drop(entry, refusalError(recipient, reason));
      return;
    }
    for (const entry of waiting) {
      outbox.events.refused(entry, laterError(recipient, reason), false);
    }
    this.#retryLater(recipient);
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
    this.#counted.delete(text);
    if (isPermanent(reason)) {
      await outbox.drop(entry, refusalError(recipient, reason));
      await this.#renumber(recipient);
      return true;
    }
    const isMisnumbered = reason?.includes("already used") || reason?.includes("sequence gap");
    const isMistaken = reason?.includes("another body");
    // Once at once; a mailbox that says it again is not asked again before a while.
    if ((isMisnumbered || isMistaken) && !this.#corrected.has(text)) {
      this.#corrected.add(text);
      if (isMistaken) await outbox.reopen(entry);
      else await this.#renumber(recipient);
      return true;
    }
    outbox.events.refused(entry, laterError(recipient, reason ?? "no reason given"), false);
    this.#retryLater(recipient);
    return false;
  }

  /** Starts the numbering again right behind what the mailbox has accepted. */
  async #renumber(recipient: PeerId): Promise<void> {
    const { outbox } = this.#parts;
    const highest = await this.#agreeOnCount(recipient);
    await outbox.setRoute(this.server, recipient, { storeId: this.#status.storeId, highest });
    outbox.unnumber(recipient);
  }

  async #onReceipt(ack: ForwardAck): Promise<void> {
    const { outbox, sessions } = this.#parts;
    const entry = outbox.byOuterId(ack.msgId);
    if (entry) {
      await sessions.locked(entry.recipient, async () => {
        const { wire } = entry;
        if (!outbox.has(entry) || !wire || !equalBytes(wire.outerId, ack.msgId)) return;
        await outbox.accepted(entry, wire);
        if (ack.delivered) return await outbox.delivered(entry);
        const reason = ack.rejectionReason ?? "no reason given";
        if (reason === "cannot be opened" && entry.failures < MAX_FAILURES) {
          await sessions.retire({ remote: entry.recipient, sessionId: wire.sessionId });
          return await outbox.reopen(entry);
        }
        await outbox.drop(entry, undeliverableError(entry.recipient, reason));
      });
      this.poke(entry.recipient);
    }
    this.#link.send(MessageType.ReceiptAck, encodeReceiptAck({ msgIds: [ack.msgId] }));
  }

  #retryLater(recipient: PeerId): void {
    this.#retries.later(recipient.toString(), () => this.poke(recipient));
  }
}
