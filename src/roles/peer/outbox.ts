import type { CairnError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { GroupCommit } from "../group_commit.ts";
import type { KvBlobs } from "../kv_blobs.ts";
import type { KvStore } from "../kv_store.ts";
import { SharedBodies } from "../shared_bodies.ts";
import { Audience } from "./audience.ts";
import { InnerSequences } from "./inner_sequences.ts";
import { MailboxRoutes } from "./mailbox_routes.ts";
import { isIntact } from "./message_check.ts";
import { isSharedData, OutboxBodies } from "./outbox_bodies.ts";
import type { OutboxEntry, OutboxEvents } from "./outbox_entry.ts";
import { OutboxIntake } from "./outbox_intake.ts";
import { OutboxQueue } from "./outbox_queue.ts";
import { entryOp, entryRemoval, readOutbox, wireRemoval } from "./outbox_records.ts";
import { OutboxWires } from "./outbox_wires.ts";

/** What was sent and lacks a receipt, in order per recipient, on disk before anything leaves. */
export class Outbox {
  /** Those whose removal is not on disk yet. */
  readonly #removals = new Map<OutboxEntry, Promise<void>>();

  private constructor(
    private readonly commit: GroupCommit,
    private readonly blobs: KvBlobs,
    private readonly bodies: OutboxBodies,
    private readonly queue: OutboxQueue,
    private readonly intake: OutboxIntake,
    /** The numbers by which recipients order messages. */
    readonly sequences: InnerSequences,
    /** The numbers by which mailboxes count them. */
    readonly routes: MailboxRoutes,
    /** Their ciphertexts. */
    readonly wires: OutboxWires,
    readonly events: OutboxEvents,
  ) {}

  /** @throws {Error} when a message is damaged. */
  static async open(
    kv: KvStore,
    commit: GroupCommit,
    blobs: KvBlobs,
    host: Host,
    events: OutboxEvents,
  ): Promise<Outbox> {
    const bodies = new OutboxBodies(blobs, new SharedBodies(kv, blobs, ["shared"], host), host);
    const audience = await Audience.open(kv);
    const entries = await readOutbox(kv, commit, blobs);
    const sequences = await InnerSequences.open(kv, commit, host);
    const routes = await MailboxRoutes.open(kv, commit);
    const queue = new OutboxQueue();
    for (const entry of entries) {
      queue.add(entry);
      if (entry.wire) routes.restore(entry.wire, entry.recipient);
    }
    const intake = new OutboxIntake({ commit, host, bodies, audience, sequences, queue });
    const wires = new OutboxWires(commit, blobs, queue, routes, events);
    return new Outbox(commit, blobs, bodies, queue, intake, sequences, routes, wires, events);
  }

  /** Recipients with messages that lack a receipt. */
  recipients(): PeerId[] {
    return this.queue.recipients();
  }

  /** Messages to `recipient` without a receipt, in order. */
  entries(recipient: PeerId): readonly OutboxEntry[] {
    return this.queue.entries(recipient);
  }

  /** The message that a mailbox calls so, be it the one that has it now or an earlier one. */
  byOuterId(outerId: Uint8Array): OutboxEntry | undefined {
    return this.queue.byOuterId(outerId);
  }

  /** The entry is still wanted: neither delivered nor dropped meanwhile. */
  has(entry: OutboxEntry): boolean {
    return this.queue.has(entry);
  }

  /** Every message that shares its body with `entry`, itself among them. */
  sharing(entry: OutboxEntry): OutboxEntry[] {
    return this.queue.sharing(entry);
  }

  /**
   * Durably queues a message; resolves to its entry. Messages keep the order of the calls.
   *
   * @throws {CairnError} when too many wait, or the disk is full.
   */
  async enqueue(recipient: PeerId, channel: string, data: Uint8Array): Promise<OutboxEntry> {
    const [entry] = await this.intake.take([recipient], channel, data);
    if (entry === undefined) throw new TypeError("A message without its recipient");
    return entry;
  }

  /**
   * The same for several recipients, of whom each gets the same message under the same id: all of
   * them or none; `skipsFull` leaves out those for whom too many wait already.
   */
  enqueueForAll(
    recipients: readonly PeerId[],
    channel: string,
    data: Uint8Array,
    { skipsFull = false } = {},
  ): Promise<OutboxEntry[]> {
    return this.intake.take(recipients, channel, data, { skipsFull });
  }

  /** The plaintext of a message; `undefined` when it is damaged. */
  async read(entry: OutboxEntry): Promise<Uint8Array | undefined> {
    const data = await this.bodies.read(entry);
    return data && isIntact({ ...entry, data }, entry.check) ? data : undefined;
  }

  /** What an encrypted message shares with others; `undefined` when it is damaged, or alone. */
  async readShared({ data }: OutboxEntry): Promise<Uint8Array | undefined> {
    return isSharedData(data) ? await this.bodies.readShared(data) : undefined;
  }

  /** The recipient has it: forgets the message, unless it has ended already. */
  async delivered(entry: OutboxEntry): Promise<void> {
    if (await this.#removeOnce(entry)) this.events.delivered(entry);
  }

  /** Gives a message up for good, unless it has ended already. */
  async drop(entry: OutboxEntry, error: CairnError): Promise<void> {
    if (await this.#removeOnce(entry)) this.events.refused(entry, error, true);
  }

  /** The recipient could not open it: the ciphertext is thrown away, the message stays. */
  async reopen(entry: OutboxEntry): Promise<void> {
    const failures = entry.failures + 1;
    await this.wires.unseal(entry, [entryOp({ ...entry, failures })]);
    entry.failures = failures;
  }

  /**
   * Durable when it resolves; false when somebody else has removed it. Removed twice, a message
   * would let go of a shared body for another recipient, who still needs it.
   */
  async #removeOnce(entry: OutboxEntry): Promise<boolean> {
    const removal = this.#removals.get(entry);
    if (removal) {
      await removal;
      return false;
    }
    if (!this.has(entry)) return false;
    const own = this.#remove(entry).finally(() => this.#removals.delete(entry));
    this.#removals.set(entry, own);
    await own;
    return true;
  }

  async #remove(entry: OutboxEntry): Promise<void> {
    await this.bodies.remove(entry, (ops) =>
      this.commit.commit(
        [entryRemoval(entry), ...ops, ...wireRemoval(entry, this.blobs)],
        { freesSpace: true },
      ));
    this.queue.remove(entry);
  }
}
