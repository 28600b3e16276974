import { equalBytes } from "../../base/bytes.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { MailboxChoice } from "./mailbox_choice.ts";
import type { Outbox } from "./outbox.ts";
import type { OutboxEntry, Wire } from "./outbox_entry.ts";
import type { SessionStore } from "./session_store.ts";

/** What taking over stands on. */
export interface TakeOverParts {
  readonly outbox: Outbox;
  readonly sessions: SessionStore;
  /** The servers that this peer is paired with. */
  readonly servers: () => readonly string[];
  /** Which server takes what to whom; without it everything stays where it was first. */
  readonly mailboxes?: MailboxChoice;
}

/** What one mailbox is to bring to its recipients, and what it takes over from others. */
export class TakeOver {
  readonly #done = new Set<string>();

  constructor(private readonly server: PeerId, private readonly parts: TakeOverParts) {}

  /** Whether messages to `recipient` are this mailbox's. */
  claims(recipient: PeerId): boolean {
    const isOurs = this.parts.mailboxes?.claims(this.server, recipient) ?? true;
    if (!isOurs) this.#done.delete(recipient.toString());
    return isOurs;
  }

  /** This mailbox has no room for `recipient`. Returns whether another one takes its messages. */
  leaveFor(recipient: PeerId): boolean {
    return this.parts.mailboxes?.full(this.server, recipient) ?? false;
  }

  /** Whether what was encrypted for another server is left with that one. */
  readonly isKept = ({ server, accepted }: Wire): boolean =>
    this.#isPaired(server) ? this.parts.mailboxes === undefined : accepted;

  /** Whether a message has yet to be encrypted for this mailbox. */
  isUnsealed({ wire }: OutboxEntry): boolean {
    return !wire || (wire.server !== this.server.toString() && !this.isKept(wire));
  }

  /** Whether a message is to be offered, or offered again, while this mailbox has this store id. */
  isDue(entry: OutboxEntry, storeId: Uint8Array): boolean {
    const { wire, refusedBy } = entry;
    const server = this.server.toString();
    if (refusedBy.has(server)) return false;
    if (wire?.server !== server) return this.isUnsealed(entry);
    return !wire.accepted || !equalBytes(wire.storeId, storeId);
  }

  /**
   * What another mailbox had is encrypted once more in a new session: in the old one, so many
   * messages would be missing here that the recipient could not follow.
   */
  async prepare(recipient: PeerId): Promise<void> {
    const { outbox, sessions } = this.parts;
    if (this.#done.has(recipient.toString())) return;
    const isElsewhere = (entry: OutboxEntry) =>
      entry.wire !== undefined && this.#isPaired(entry.wire.server) && this.isUnsealed(entry);
    if (outbox.entries(recipient).some(isElsewhere)) {
      await sessions.locked(recipient, () => sessions.retire(recipient));
    }
    this.#done.add(recipient.toString());
  }

  #isPaired(server: string): boolean {
    return this.parts.servers().includes(server);
  }
}
