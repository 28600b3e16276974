import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { GroupCommit, KvOperation } from "../group_commit.ts";
import type { KvBlobs } from "../kv_blobs.ts";
import type { MailboxRoutes } from "./mailbox_routes.ts";
import type { OutboxEntry, OutboxEvents, Wire } from "./outbox_entry.ts";
import type { OutboxQueue } from "./outbox_queue.ts";
import { wireOp, wireRemoval } from "./outbox_records.ts";
import type { StoreStep } from "./session_store.ts";

/** Receipts of so many earlier mailboxes are still known for what they are. */
const MAX_EARLIER = 8;

/** The ciphertexts of what is in the outbox, and their numbers at mailboxes. */
export class OutboxWires {
  constructor(
    private readonly commit: GroupCommit,
    private readonly blobs: KvBlobs,
    private readonly queue: OutboxQueue,
    private readonly routes: MailboxRoutes,
    private readonly events: OutboxEvents,
  ) {}

  /** The ciphertext of a message that has been encrypted; `undefined` when a part is missing. */
  read(wire: Wire): Promise<Uint8Array | undefined> {
    return this.blobs.readBody(wire.body);
  }

  /**
   * One commit: the ratchet step, the ciphertext, and its number. Only after it may the body leave.
   */
  async seal(
    entry: OutboxEntry,
    wire: Omit<Wire, "body" | "sequence" | "accepted">,
    body: Uint8Array,
    step: StoreStep,
  ): Promise<Wire> {
    const { value: stored, ops } = await this.blobs.storeBody(body);
    const replaced = entry.wire;
    const earlier = replaced && [...replaced.earlier ?? [], replaced.outerId].slice(-MAX_EARLIER);
    const sealed: Wire = {
      ...wire,
      ...(earlier && { earlier }),
      body: stored,
      sequence: 0,
      accepted: false,
    };
    const removal = replaced ? this.blobs.bodyDeleteOps(replaced.body) : [];
    const operations = [...ops, ...removal, ...step.operations];
    try {
      return await this.#number(entry, sealed, { operations, apply: step.apply });
    } catch (error) {
      await this.blobs.abandon(stored);
      throw error;
    }
  }

  /** Gives an encrypted message its number at a mailbox, durably. */
  number(entry: OutboxEntry, wire: Wire, storeId: Uint8Array): Promise<Wire> {
    return this.#number(entry, { ...wire, storeId, accepted: false });
  }

  /** The mailbox has it on disk. */
  async accepted(entry: OutboxEntry, { outerId }: Wire): Promise<void> {
    const { wire } = entry;
    if (!this.queue.has(entry) || wire?.outerId !== outerId || wire.accepted) return;
    const accepted: Wire = { ...wire, accepted: true };
    await this.commit.commit([wireOp(entry, accepted)]);
    entry.wire = accepted;
    this.events.accepted(entry);
  }

  /** The mailbox does not have them any more: what it accepted above `last` is offered again. */
  unaccept(server: PeerId, recipient: PeerId, last: number): void {
    for (const entry of this.queue.entries(recipient)) {
      const { wire } = entry;
      if (wire?.accepted && wire.server === server.toString() && wire.sequence > last) {
        entry.wire = { ...wire, accepted: false };
      }
    }
  }

  /** Takes their numbers from messages that the mailbox has not accepted. */
  unnumber(recipient: PeerId): void {
    for (const entry of this.queue.entries(recipient)) {
      if (entry.wire && !entry.wire.accepted) entry.wire = { ...entry.wire, sequence: 0 };
    }
  }

  /**
   * Throws the ciphertext away, so that the message is encrypted again, in one commit with
   * `operations`; does nothing when there is none.
   */
  async unseal(entry: OutboxEntry, operations: readonly KvOperation[] = []): Promise<void> {
    if (!entry.wire) return;
    await this.commit.commit([...operations, ...wireRemoval(entry, this.blobs)]);
    this.queue.setWire(entry, undefined);
  }

  async #number(entry: OutboxEntry, wire: Wire, step?: StoreStep): Promise<Wire> {
    const given = this.routes.next(wire, entry.recipient);
    const numbered: Wire = { ...wire, sequence: given.sequence };
    await this.commit.commit([
      ...step?.operations ?? [],
      wireOp(entry, numbered),
      ...given.operations,
    ]);
    step?.apply();
    given.apply();
    this.queue.setWire(entry, numbered);
    return numbered;
  }
}
