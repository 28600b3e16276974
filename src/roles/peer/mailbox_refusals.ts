import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { ForwardAck } from "../../protocol/forward_messages.ts";
import type { MailboxCount } from "./mailbox_count.ts";
import type { Outbox } from "./outbox.ts";
import type { OutboxEntry } from "./outbox_entry.ts";
import {
  FOR_ANOTHER,
  isNoRoom,
  isPermanent,
  laterError,
  noRoomError,
  refusalError,
} from "./refusals.ts";
import type { SessionStore } from "./session_store.ts";
import type { TakeOver } from "./take_over.ts";

/** What dealing with one mailbox's refusals stands on. */
export interface MailboxRefusalsParts {
  readonly server: PeerId;
  readonly outbox: Outbox;
  readonly sessions: SessionStore;
  readonly count: MailboxCount;
  readonly takeOver: TakeOver;
  /** The servers that this peer is paired with. */
  readonly servers: () => readonly string[];
  /** Called when a message that this mailbox refused is there for another one to take. */
  readonly leftToOthers?: (recipient: PeerId) => void;
}

/** What follows from a refusal of one mailbox, over one link. */
export class MailboxRefusals {
  /** Recipients whose numbering was just corrected. */
  readonly #corrected = new Set<string>();

  constructor(private readonly parts: MailboxRefusalsParts) {}

  /** Everything for `recipient` was accepted. */
  succeeded(recipient: PeerId): void {
    this.#corrected.delete(recipient.toString());
  }

  /** A message was refused. Returns true when the rest may be offered again at once. */
  async take(entry: OutboxEntry, { rejectionReason: reason }: ForwardAck): Promise<boolean> {
    const { outbox, count } = this.parts;
    const { recipient } = entry;
    const text = recipient.toString();
    if (reason === FOR_ANOTHER) return true;
    count.forget(recipient);
    if (isPermanent(reason)) {
      await this.#giveUp(entry, reason);
      await count.renumber(recipient);
      return true;
    }
    const isMisnumbered = reason?.includes("already used") || reason?.includes("sequence gap");
    const isMistaken = reason?.includes("another body");
    // Once at once; a mailbox that says it again is not asked again before a while.
    if ((isMisnumbered || isMistaken) && !this.#corrected.has(text)) {
      this.#corrected.add(text);
      if (isMistaken) await this.#whileWanted(entry, () => outbox.reopen(entry));
      await count.renumber(recipient);
      return true;
    }
    if (isNoRoom(reason) && this.parts.takeOver.leaveFor(recipient)) {
      this.parts.leftToOthers?.(recipient);
      return true;
    }
    outbox.events.refused(entry, laterError(recipient, reason ?? "no reason given"), false);
    return false;
  }

  /** There are no keys to encrypt with. Returns true when there may be some later. */
  async noPrekeys(recipient: PeerId, reason: string): Promise<boolean> {
    const { outbox, takeOver } = this.parts;
    const waiting = outbox.entries(recipient).filter((entry) => takeOver.isUnsealed(entry));
    if (isPermanent(reason)) {
      for (const entry of waiting) await this.#giveUp(entry, reason);
      return false;
    }
    for (const entry of waiting) {
      outbox.events.refused(entry, laterError(recipient, reason), false);
    }
    return true;
  }

  /** This peer's own disk is full. */
  diskFull(recipient: PeerId): void {
    const { outbox } = this.parts;
    const first = outbox.entries(recipient).find(({ wire }) => !wire?.accepted);
    if (first) outbox.events.refused(first, noRoomError(), false);
  }

  /** This mailbox will never take it: another one may; when none is left it is given up. */
  #giveUp(entry: OutboxEntry, reason: string | null): Promise<void> {
    return this.#whileWanted(entry, () => this.#leave(entry, reason));
  }

  async #leave(entry: OutboxEntry, reason: string | null): Promise<void> {
    const { outbox, servers, leftToOthers } = this.parts;
    const server = this.parts.server.toString();
    entry.refusedBy.add(server);
    const isLeft = servers().some((server) => !entry.refusedBy.has(server));
    const tooLarge = reason?.startsWith("message too large");
    if (!isLeft || tooLarge) {
      return await outbox.drop(entry, refusalError(entry.recipient, reason));
    }
    if (entry.wire?.server === server) await outbox.wires.unseal(entry);
    leftToOthers?.(entry.recipient);
  }

  /** A receipt, or a link to the recipient itself, may have ended the message meanwhile. */
  async #whileWanted(entry: OutboxEntry, step: () => Promise<void>): Promise<void> {
    const { outbox, sessions } = this.parts;
    await sessions.locked(entry.recipient, async () => {
      if (outbox.has(entry)) await step();
    });
  }
}
