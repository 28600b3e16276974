import { CairnError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { SharedContent } from "../../protocol/session/shared_body.ts";
import { messageId } from "../../protocol/uuid.ts";
import type { GroupCommit } from "../group_commit.ts";
import type { Audience } from "./audience.ts";
import type { InnerSequences } from "./inner_sequences.ts";
import { checkOf } from "./message_check.ts";
import type { OutboxBodies, PreparedData } from "./outbox_bodies.ts";
import type { OutboxEntry } from "./outbox_entry.ts";
import type { OutboxQueue } from "./outbox_queue.ts";
import { entryOp } from "./outbox_records.ts";

/** Messages without a receipt to one recipient beyond which sending is refused. */
const MAX_PER_RECIPIENT = 10_000;

/** What taking messages in stands on. */
export interface OutboxIntakeParts {
  readonly commit: GroupCommit;
  readonly host: Host;
  readonly bodies: OutboxBodies;
  readonly audience: Audience;
  readonly sequences: InnerSequences;
  readonly queue: OutboxQueue;
}

/** How messages come into the outbox: durably, in the order of the calls, and not too many. */
export class OutboxIntake {
  #staging: Promise<void> = Promise.resolve();

  constructor(private readonly parts: OutboxIntakeParts) {}

  /**
   * Resolves when the message is on disk for each of its recipients.
   *
   * @param broadcast is for several; without it the message is for one alone.
   * @throws {CairnError} when too many wait, or the disk is full.
   */
  async take(
    recipients: readonly PeerId[],
    channel: string,
    data: Uint8Array,
    broadcast?: { readonly skipsFull: boolean },
  ): Promise<OutboxEntry[]> {
    const { host, bodies, audience } = this.parts;
    const now = host.now();
    const id = messageId(now, host.random(10));
    const content = { id, channel, sentAt: now, data };
    const staged = this.#staging.then(async () => {
      if (broadcast) await audience.settled();
      const open = recipients.filter((each) => !this.#isFull(each));
      const full = recipients.find((each) => !open.includes(each));
      if (full !== undefined && !(broadcast?.skipsFull && open.length > 0)) throw fullError(full);
      // A large body takes longer to stage than a small one behind it.
      return { to: open, prepared: await bodies.prepare(content, open.length) };
    });
    const queued = staged.then(({ to, prepared }) => {
      // Not awaited by the next in line: the commits keep their order and share a sync.
      return { durable: this.#takeStaged(to, content, prepared, broadcast !== undefined) };
    });
    this.#staging = queued.then(() => {}, () => {});
    return await (await queued).durable;
  }

  async #takeStaged(
    recipients: readonly PeerId[],
    content: SharedContent,
    prepared: PreparedData,
    isBroadcast: boolean,
  ): Promise<OutboxEntry[]> {
    const { commit, audience, sequences, queue } = this.parts;
    const broadcast = isBroadcast ? audience.broadcastTo(recipients) : undefined;
    const { id, channel, sentAt } = content;
    const added = recipients.map((recipient) => {
      const { sequence, op } = sequences.give(recipient);
      const unreadable = broadcast?.unreadable(recipient);
      const rest = { ...(unreadable !== undefined && { unreadable }) };
      const entry: OutboxEntry = {
        ...{ recipient, sequence, id, channel, sentAt, ...rest },
        data: prepared.value,
        check: checkOf({ ...content, sequence, ...rest }),
        failures: 0,
        wire: undefined,
        refusedBy: new Set(),
      };
      return { entry, ops: [entryOp(entry), op] };
    });
    try {
      await commit.commit([
        ...prepared.ops,
        ...broadcast?.ops ?? [],
        ...added.flatMap(({ ops }) => ops),
      ]);
    } catch (error) {
      broadcast?.undo();
      await prepared.abandon();
      throw error;
    }
    broadcast?.done();
    const entries = added.map(({ entry }) => entry);
    for (const entry of entries) queue.add(entry);
    return entries;
  }

  #isFull(recipient: PeerId): boolean {
    return this.parts.queue.entries(recipient).length >= MAX_PER_RECIPIENT;
  }
}

/** What a sender is told when too many wait for a recipient. */
export function fullError(recipient: PeerId): CairnError {
  return new CairnError(
    "refused",
    `${MAX_PER_RECIPIENT} messages to ${recipient} still wait to be delivered; try again later`,
  );
}
