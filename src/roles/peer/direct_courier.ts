import { toHex } from "../../base/bytes.ts";
import { CairnError, ProtocolError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import {
  encodeForwardDeliver,
  type ForwardPurge,
  type SequenceReport,
} from "../../protocol/forward_messages.ts";
import { MessageType } from "../../protocol/message_types.ts";
import { encodePrekeyFetch, type PrekeyBundle } from "../../protocol/prekey_messages.ts";
import type { OwnIdentity } from "../identity_store.ts";
import type { LinkConnection } from "../link_connection.ts";
import type { Outbox } from "./outbox.ts";
import type { OutboxEntry } from "./outbox_entry.ts";
import { Questions } from "./questions.ts";
import { endUndelivered } from "./receipts.ts";
import { MAX_LOST } from "./mailbox_count.ts";
import { Sealer } from "./sealer.ts";
import { SendWindow } from "./send_window.ts";
import type { SessionStore } from "./session_store.ts";

/** Without an answer for so long, and for as long as a slow path needs, messages go another way. */
const STALLED = 15_000;
const SLOW_BYTES_PER_MS = 16;
const NOTHING = new Uint8Array(0);

/** What the couriers of one peer share. */
export interface DirectCourierParts {
  readonly outbox: Outbox;
  readonly sessions: SessionStore;
  readonly own: OwnIdentity;
  readonly host: Host;
}

interface Offered {
  readonly entry: OutboxEntry;
  readonly size: number;
}

/**
 * Brings what is in the outbox for one peer over a link to that peer itself, in order, everything
 * that lacks a receipt. The recipient's purge is the receipt.
 */
export class DirectCourier {
  readonly #link: LinkConnection;
  readonly #parts: DirectCourierParts;
  readonly #fail: (error: unknown) => void;
  readonly #sealer: Sealer;
  readonly #bundles = new Questions<PrekeyBundle>();
  readonly #window = new SendWindow();
  #offered = new WeakSet<OutboxEntry>();
  readonly #unanswered = new Map<string, Offered>();
  #lastSequence: number | undefined;
  #running: Promise<void> | undefined;
  #poked = false;
  #paused = false;
  #closed = false;
  #stallTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(link: LinkConnection, parts: DirectCourierParts, fail: (error: unknown) => void) {
    this.#link = link;
    this.#parts = parts;
    this.#fail = fail;
    this.#sealer = new Sealer({
      ...parts,
      server: link.remote,
      storeId: new Uint8Array(16),
      shares: false,
      isKept: () => true,
      fetchBundle: (peerId) =>
        this.#bundles.ask(peerId.toString(), () => {
          link.send(MessageType.PrekeyFetch, encodePrekeyFetch({ peerId }));
        }),
    });
  }

  /** Whether messages are taken to the recipient now. */
  get serves(): boolean {
    return !this.#closed && !this.#paused && this.#lastSequence !== undefined;
  }

  /** Whether nothing that was sent awaits its answer. */
  get idle(): boolean {
    return this.#unanswered.size === 0 && this.#running === undefined;
  }

  /** The recipient says what it has of this peer, and with it that it takes more. */
  async onReport({ lastSequence }: SequenceReport): Promise<void> {
    if (this.#lastSequence !== undefined || this.#closed) return;
    const { outbox, sessions } = this.#parts;
    const { remote } = this.#link;
    const own = outbox.sequences.last(remote);
    if (lastSequence > own + MAX_LOST) {
      throw new ProtocolError("malformed", "The peer reports a count that cannot be");
    }
    if (lastSequence > own) {
      // This folder was rolled back: no ratchet state that it knows may encrypt again.
      await sessions.locked(remote, async () => {
        await sessions.retire(remote);
        await outbox.sequences.jumpPast(remote, lastSequence);
      });
    }
    this.#lastSequence = lastSequence;
    this.poke();
  }

  /** Something waits for the recipient. */
  poke(): void {
    this.#poked = true;
    if (!this.serves) return;
    this.#running ??= this.#offerAll().catch((error) => {
      if (!this.#closed) this.#fail(error);
    }).finally(() => {
      this.#running = undefined;
      if (this.#poked) this.poke();
    });
  }

  onBundle(bundle: PrekeyBundle): void {
    this.#bundles.answer(bundle.peerId.toString(), bundle);
  }

  /** The recipient has dealt with messages; resolves when that is recorded. */
  async onPurge({ msgIds, failed, refused = [] }: ForwardPurge): Promise<void> {
    const [stored, unopened, unwanted] = [msgIds, failed, refused].map((ids) =>
      this.#answered(ids)
    );
    const { outbox, sessions } = this.#parts;
    await sessions.locked(this.#link.remote, async () => {
      await Promise.all(this.#wanted(stored).map((entry) => outbox.delivered(entry)));
      if (unopened?.length) this.#sealer.endLinkSession();
      for (const entry of this.#wanted(unopened)) {
        this.#offered.delete(entry);
        await endUndelivered(entry, "cannot be opened", this.#parts);
      }
      for (const entry of this.#wanted(unwanted)) {
        await endUndelivered(entry, "refused by the recipient", this.#parts);
      }
    });
    if (unopened?.length) this.poke();
  }

  /** Offers nothing more before `resume`; what was offered is still answered. */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.poke();
  }

  /** Ends with the link; what was not answered goes another way. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#stallTimer);
    this.#window.close();
    this.#bundles.close();
  }

  async #offerAll(): Promise<void> {
    const { outbox } = this.#parts;
    const { remote } = this.#link;
    while (this.serves) {
      this.#poked = false;
      const entry = outbox.entries(remote).find((each) => !this.#offered.has(each));
      if (!entry) return;
      this.#offered.add(entry);
      const prepared = await this.#sealer.prepareDirect(entry);
      if (!prepared) continue;
      const { wire, body, sharedBody } = prepared;
      const size = body.length + (sharedBody?.length ?? 0);
      await this.#window.enter(size);
      if (!this.serves) {
        this.#offered.delete(entry);
        return this.#window.leave(size);
      }
      this.#unanswered.set(toHex(wire.outerId), { entry, size });
      this.#watch();
      this.#link.send(
        MessageType.ForwardDeliver,
        encodeForwardDeliver({
          msgId: wire.outerId,
          sender: this.#parts.own.identity.peerId,
          encryptedPayload: body,
          sequenceNumber: entry.sequence,
          ...(sharedBody && { sharedBody }),
        }),
      );
      const isNext = entry.sequence <= (this.#lastSequence ?? 0) + 1;
      this.#lastSequence = Math.max(this.#lastSequence ?? 0, entry.sequence);
      // Everything before it is delivered or given up: the recipient need not wait for it.
      if (!isNext) this.#link.send(MessageType.MailboxDrained, NOTHING);
    }
  }

  /** What of these ids was sent here; none of it awaits an answer any more. */
  #answered(ids: readonly Uint8Array[]): OutboxEntry[] {
    const entries: OutboxEntry[] = [];
    for (const id of ids) {
      const offered = this.#unanswered.get(toHex(id));
      if (!offered) continue;
      this.#unanswered.delete(toHex(id));
      this.#window.leave(offered.size);
      entries.push(offered.entry);
    }
    clearTimeout(this.#stallTimer);
    this.#stallTimer = undefined;
    this.#watch();
    return entries;
  }

  /** Those that have not ended another way. */
  #wanted(entries: readonly OutboxEntry[] = []): OutboxEntry[] {
    return entries.filter((entry) => this.#parts.outbox.has(entry));
  }

  #watch(): void {
    if (this.#unanswered.size === 0 || this.#closed || this.#stallTimer !== undefined) return;
    const bytes = [...this.#unanswered.values()].reduce((sum, { size }) => sum + size, 0);
    this.#stallTimer = setTimeout(() => {
      this.#fail(new CairnError("timeout", `${this.#link.remote} does not answer on its link`));
    }, STALLED + bytes / SLOW_BYTES_PER_MS);
  }
}
