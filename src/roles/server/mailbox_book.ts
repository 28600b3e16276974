import type { Host } from "../../base/host.ts";
import { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { Capacity, OwnQuota } from "../../protocol/mailbox/capacity.ts";
import type { GroupCommit } from "../group_commit.ts";
import type { KvMailboxStore } from "./kv_mailbox_store.ts";
import type {
  MailboxAccount,
  MailboxAccounts,
  MailboxEvent,
  QueuedMessage,
  QueueStatus,
  QuotaChange,
} from "./mailbox_accounts.ts";
import type { Lane, MailboxDelivery } from "./mailbox_delivery.ts";

/** `mailbox / quota / peer`: what may wait for it, where the default does not hold. */
const QUOTA = ["mailbox", "quota"];

interface BookParts {
  readonly kv: Deno.Kv;
  readonly store: KvMailboxStore;
  readonly commit: GroupCommit;
  readonly delivery: MailboxDelivery;
  readonly capacity: Capacity;
  readonly host: Host;
  purge(peer: PeerId): Promise<number>;
}

/** The mailbox as its operator sees it. */
export class MailboxBook implements MailboxAccounts {
  readonly #parts: BookParts;
  readonly #watchers = new Set<(event: MailboxEvent) => void>();

  constructor(parts: BookParts) {
    this.#parts = parts;
  }

  /** Takes over the quotas that were set. */
  async load(): Promise<void> {
    const { kv, capacity } = this.#parts;
    for await (const { key, value } of kv.list<OwnQuota>({ prefix: QUOTA })) {
      capacity.setQuota(String(key[2]), value);
    }
  }

  /** Something happened to a message. */
  tell(event: MailboxEvent): void {
    for (const watcher of this.#watchers) watcher(event);
  }

  watch(listener: (event: MailboxEvent) => void): () => void {
    this.#watchers.add(listener);
    return () => this.#watchers.delete(listener);
  }

  list(): MailboxAccount[] {
    const { capacity } = this.#parts;
    const names = new Set([...capacity.recipients(), ...capacity.ownQuotas()]);
    return [...names].sort().map((name) => PeerId.parse(name))
      .filter((peer) => peer !== undefined)
      .map((peer) => this.of(peer));
  }

  of(peer: PeerId): MailboxAccount {
    const { capacity } = this.#parts;
    const { maxPerPeer, maxTotalBytes } = capacity.limits;
    const own = capacity.ownQuota(peer.toString());
    return {
      peerId: peer,
      ...capacity.usage(peer.toString()),
      quota: { messages: own.messages ?? maxPerPeer, bytes: own.bytes ?? maxTotalBytes },
      own: { messages: own.messages !== undefined, bytes: own.bytes !== undefined },
    };
  }

  totals(): { messages: number; bytes: number; maxBytes: number } {
    const { messages, bytes, limits } = this.#parts.capacity;
    return { messages, bytes, maxBytes: limits.maxTotalBytes };
  }

  async setQuota(peer: PeerId, change: QuotaChange): Promise<MailboxAccount> {
    for (const value of [change.messages, change.bytes]) {
      const isValid = value === undefined || value === null ||
        Number.isSafeInteger(value) && value >= 0;
      if (!isValid) throw new RangeError(`A quota is a whole number of at least 0: got ${value}`);
    }
    const { capacity, commit } = this.#parts;
    const before = capacity.ownQuota(peer.toString());
    const quota = { ...part("messages", before, change), ...part("bytes", before, change) };
    const key = [...QUOTA, peer.toString()];
    const isSet = Object.keys(quota).length > 0;
    const operation = isSet
      ? { type: "set", key, value: quota } as const
      : { type: "delete", key } as const;
    await commit.commit([operation], { freesSpace: true });
    capacity.setQuota(peer.toString(), quota);
    return this.of(peer);
  }

  async queues(): Promise<QueueStatus[]> {
    const { delivery, host } = this.#parts;
    const queues = new Map<string, { peerId: PeerId; lanes: Lane[] }>();
    for (const lane of delivery.lanes()) {
      const queue = queues.get(lane.to.toString()) ?? { peerId: lane.to, lanes: [] };
      queue.lanes.push(lane);
      queues.set(lane.to.toString(), queue);
    }
    const statuses: QueueStatus[] = [];
    for (const { peerId, lanes } of queues.values()) {
      let oldest = host.now();
      for (const lane of lanes) oldest = Math.min(oldest, await this.#oldestOf(lane) ?? oldest);
      statuses.push({
        peerId,
        pendingMessages: lanes.reduce((sum, { count }) => sum + count, 0),
        oldestMessageAgeSecs: Math.floor((host.now() - oldest) / 1000),
        totalBytes: lanes.reduce((sum, { bytes }) => sum + bytes, 0),
      });
    }
    return statuses;
  }

  async messages(peer: PeerId, limit: number): Promise<QueuedMessage[]> {
    const { delivery, store } = this.#parts;
    const found: QueuedMessage[] = [];
    for (const { from, to } of delivery.lanes(peer)) {
      if (found.length >= limit) break;
      const { messages } = await store.waiting(from, to, -1, limit - found.length);
      for (const { order, id, size, acceptedAt } of messages) {
        found.push({ order, msgId: id, from, size, acceptedAt });
      }
    }
    return found;
  }

  purge(peer: PeerId): Promise<number> {
    return this.#parts.purge(peer);
  }

  async #oldestOf({ head, from, to }: Lane): Promise<number | undefined> {
    if (head !== undefined) return head.acceptedAt;
    const { delivery, store } = this.#parts;
    const [oldest] = (await store.waiting(from, to, -1, 1)).messages;
    if (oldest !== undefined) delivery.noteHead(oldest);
    return oldest?.acceptedAt;
  }
}

/** One part of a quota after a change: `null` takes it away. */
function part(name: "messages" | "bytes", before: OwnQuota, change: QuotaChange): OwnQuota {
  const value = change[name] === undefined ? before[name] : change[name];
  return value === undefined || value === null ? {} : { [name]: value };
}
