import { getLogger } from "@logtape/logtape";
import { toHex } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { ForwardDeliver } from "../../protocol/forward_messages.ts";
import type { Message } from "../../protocol/session/message_body.ts";
import type { GroupCommit, KvOperation } from "../group_commit.ts";
import type { OwnIdentity } from "../identity_store.ts";
import type { KvBlobs, StoredBody } from "../kv_blobs.ts";
import type { KvStore } from "../kv_store.ts";
import { BodyOpener, type Opened } from "./body_opener.ts";
import { checkOf, isIntact } from "./message_check.ts";
import type { Prekeys } from "./prekeys.ts";
import { ReleaseOrder } from "./release_order.ts";
import type { SessionStore } from "./session_store.ts";

const log = getLogger(["cairn", "peer"]);

/** How long a gap stays open for a message that its sender was asked to encrypt again. */
const RESEND_GRACE = 600_000;
/** Messages waiting for the application beyond which deliveries are left with the server. */
const MAX_WAITING = 20_000;
const MAX_QUARANTINED = 100;

/** A message that waits for the application. */
export interface InboxMessage {
  /** Position in order of release; names the message towards {@linkcode Inbox.acknowledge}. */
  readonly arrival: number;
  readonly from: PeerId;
  readonly message: Message;
}

/** What became of a delivery. `later` leaves it with the server. */
export type Taken = "stored" | "failed" | "refused" | "later";

interface StoredMessage extends Omit<Message, "data"> {
  readonly data: StoredBody;
  /** Tells damage of all of it. */
  readonly check: Uint8Array;
}

/**
 * Opens what servers deliver and keeps it, once, until the application has acknowledged it. Ratchet
 * step, message and seen ids are one commit; only after it may the server be told to purge.
 */
export class Inbox {
  /** Called when a message was released to the application. */
  onRelease: () => void = () => {};
  /** Whether messages of this sender are taken at all. */
  accepts: (sender: PeerId) => boolean = () => true;
  /** Messages that were stored and not acknowledged. */
  #kept = 0;
  #nextQuarantine = 1;
  readonly #opener: BodyOpener;
  readonly #order: ReleaseOrder;

  private constructor(private readonly parts: InboxParts, order: ReleaseOrder) {
    this.#order = order;
    order.onRelease = () => this.onRelease();
    this.#opener = new BodyOpener({
      ...parts,
      wasOpened: async (sender, sessionId) =>
        (await parts.kv.get(seenKey("session", sender, sessionId))).value !== null,
    });
  }

  static async open(parts: InboxParts): Promise<Inbox> {
    const { kv, commit } = parts;
    const inbox = new Inbox(parts, await ReleaseOrder.open(kv, commit));
    for await (const _ of kv.list({ prefix: ["message"] })) inbox.#kept++;
    for await (const { key } of kv.list({ prefix: ["quarantine"] })) {
      inbox.#nextQuarantine = Number(key[1]) + 1;
    }
    return inbox;
  }

  /** The highest inner sequence that was taken from `sender`; 0 when none was. */
  highestFrom(sender: PeerId): number {
    return this.#order.highest(sender.toString());
  }

  /** Takes a delivery; when this resolves to `stored` or `failed` that is durable. */
  async take(delivery: ForwardDeliver): Promise<Taken> {
    // Nobody says "drained" while deliveries are left behind: gaps must not fill the inbox.
    if (!this.accepts(delivery.sender)) return "refused";
    if (this.#kept >= MAX_WAITING) await this.#closeAllGaps();
    return await this.parts.sessions.locked(delivery.sender, async () => {
      const outer = seenKey("outer", delivery.sender, delivery.msgId);
      const seen = (await this.parts.kv.get<SeenOuter>(outer)).value;
      if (seen) return seen.failed ? "failed" : "stored";
      if (this.#kept >= MAX_WAITING) return "later";
      try {
        const opened = await this.#opener.open(delivery);
        await this.#keep(delivery, opened, outer);
        return "stored";
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        await this.#quarantine(delivery, outer);
        return "failed";
      }
    });
  }

  /**
   * A server, or `from` itself, has nothing more: gaps that nothing can fill any more are closed,
   * of everybody or of `from`. Returns when (Unix milliseconds) it is worth looking again at gaps
   * that are kept for a resent message.
   */
  async drained(from?: PeerId): Promise<number | undefined> {
    let again: number | undefined;
    for (const { sender, keptUntil } of this.#order.gaps()) {
      const peerId = PeerId.parse(sender);
      if (!peerId || (from && !from.equals(peerId))) continue;
      if (keptUntil > this.parts.host.now()) again = Math.min(again ?? keptUntil, keptUntil);
      else await this.parts.sessions.locked(peerId, () => this.#order.closeGaps(sender));
    }
    return again;
  }

  async #closeAllGaps(): Promise<void> {
    for (const { sender } of this.#order.gaps()) {
      const peerId = PeerId.parse(sender);
      if (peerId) {
        await this.parts.sessions.locked(peerId, () => this.#order.closeGaps(sender));
      }
    }
  }

  /** The oldest message released after `arrival`, or `undefined`. */
  async next(arrival: number): Promise<InboxMessage | undefined> {
    const { kv, blobs } = this.parts;
    const selector = { prefix: ["inbox"], start: ["inbox", arrival + 1] };
    for await (const { key, value: name } of kv.list<string>(selector, { batchSize: 1 })) {
      const stored = await this.#stored(name);
      const from = PeerId.parse(name.slice(0, name.indexOf(" ")));
      const data = stored ? await blobs.readBody(stored.data) : undefined;
      if (stored && from && data) {
        const { check, ...rest } = stored;
        const message: Message = { ...rest, data };
        if (isIntact(message, check)) return { arrival: Number(key[1]), from, message };
      }
      log.error("A message in the inbox is damaged and cannot be shown; restore a backup");
    }
    return undefined;
  }

  /** Durably removes a message that the application has taken over. */
  async acknowledge(arrival: number): Promise<void> {
    const { kv, blobs, commit } = this.parts;
    const name = (await kv.get<string>(["inbox", arrival])).value;
    if (name === null) return;
    const stored = await this.#stored(name);
    await commit.commit([
      { type: "delete", key: ["inbox", arrival] },
      { type: "delete", key: messageKey(name) },
      ...(stored ? blobs.bodyDeleteOps(stored.data) : []),
    ], { freesSpace: true });
    this.#kept--;
  }

  /** Whether another delivery would be taken. */
  get hasRoom(): boolean {
    return this.#kept < MAX_WAITING / 2;
  }

  /** Forgets ids that were remembered long enough. */
  async sweep(): Promise<void> {
    const before = this.parts.host.now() - this.parts.prekeys.seenFor;
    const stale: KvOperation[] = [];
    for await (const { key, value } of this.parts.kv.list<SeenOuter>({ prefix: ["seen"] })) {
      if (value.at < before) stale.push({ type: "delete", key });
      if (stale.length >= 500) await this.parts.commit.commit(stale.splice(0));
    }
    if (stale.length > 0) await this.parts.commit.commit(stale);
  }

  async #keep(delivery: ForwardDeliver, opened: Opened, outer: Deno.KvKey): Promise<void> {
    const { sessions, prekeys, blobs, commit, kv, host } = this.parts;
    const { session, message, oneTimeId } = opened;
    const { sender } = delivery;
    const at = host.now();
    const step = sessions.step(sender, session);
    const operations: KvOperation[] = [
      ...step.operations,
      { type: "set", key: outer, value: { at, failed: false } satisfies SeenOuter },
    ];
    if (opened.isNew) {
      operations.push({ type: "set", key: seenKey("session", sender, session.id), value: { at } });
    }
    if (oneTimeId !== undefined) operations.push(...prekeys.consume(oneTimeId));
    const applied = () => {
      step.apply();
      if (oneTimeId !== undefined) prekeys.consumed(oneTimeId);
    };
    const inner = seenKey("inner", sender, message.id);
    if ((await kv.get(inner)).value) {
      await commit.commit(operations);
      return applied();
    }
    const { data, ...rest } = message;
    const { value: stored, ops: staged } = await blobs.storeBody(data);
    const name = `${sender} ${toHex(message.id)}`;
    operations.push(
      ...staged,
      { type: "set", key: inner, value: { at } },
      {
        type: "set",
        key: messageKey(name),
        value: { ...rest, data: stored, check: checkOf(message) } satisfies StoredMessage,
      },
    );
    let isKept = false;
    const kept = () => {
      isKept = true;
      this.#kept++;
      applied();
    };
    try {
      await this.#order.place(sender.toString(), message.sequence, name, operations, kept);
    } catch (error) {
      if (!isKept) await blobs.abandon(stored);
      throw error;
    }
  }

  async #quarantine(delivery: ForwardDeliver, outer: Deno.KvKey): Promise<void> {
    const { blobs, commit, kv, host } = this.parts;
    const at = host.now();
    const sender = delivery.sender.toString();
    const { value: stored, ops: operations } = await blobs.storeBody(delivery.encryptedPayload);
    const gap = this.#order.keepGap(sender, at + RESEND_GRACE);
    // A server may invent senders: nothing lasting is noted of one that was never heard.
    const isKnown = this.parts.sessions.list(delivery.sender).length > 0;
    const number = this.#nextQuarantine++;
    operations.push(
      { type: "set", key: ["quarantine", number], value: { sender, at, body: stored } },
      { type: "set", key: outer, value: { at, failed: true } satisfies SeenOuter },
      ...(isKnown ? [gap.operation] : []),
    );
    const oldest = ["quarantine", number - MAX_QUARANTINED];
    const surplus = (await kv.get<{ body: StoredBody }>(oldest)).value;
    if (surplus) {
      operations.push({ type: "delete", key: oldest }, ...blobs.bodyDeleteOps(surplus.body));
    }
    try {
      await commit.commit(operations);
    } catch (error) {
      await blobs.abandon(stored);
      throw error;
    }
    gap.apply();
  }

  async #stored(name: string): Promise<StoredMessage | null> {
    return (await this.parts.kv.get<StoredMessage>(messageKey(name))).value;
  }
}

/** What an inbox stands on. */
export interface InboxParts {
  readonly kv: KvStore;
  readonly commit: GroupCommit;
  readonly blobs: KvBlobs;
  readonly sessions: SessionStore;
  readonly prekeys: Prekeys;
  readonly own: OwnIdentity;
  readonly host: Host;
}

interface SeenOuter {
  readonly at: number;
  readonly failed?: boolean;
}

function seenKey(kind: string, sender: PeerId, id: Uint8Array): Deno.KvKey {
  return ["seen", kind, sender.toString(), toHex(id)];
}

function messageKey(name: string): Deno.KvKey {
  return ["message", name];
}
