import { getLogger } from "@logtape/logtape";
import type { Host } from "../../base/host.ts";
import { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { GroupCommit, KvOperation } from "../group_commit.ts";
import type { LinkConnection } from "../link_connection.ts";

const log = getLogger(["cairn", "server"]);

const PREFIX = "asking";
/** Milliseconds that a request waits for an operator. */
export const REQUEST_LIFETIME = 86_400_000;
const MAX_WAITING = 64;

/** The link that a peer asked on; it may have ended since. */
export interface AskingLink {
  readonly link: LinkConnection;
  /** Where it came from, for the bound. */
  readonly source: string;
  /** Pairs the peer over that link, once it is approved. */
  readonly pair: () => Promise<void>;
  /** Tells it over that link that it is not to be paired. */
  readonly turnDown: () => void;
}

/** A peer that waits for an operator, and what it showed. */
export interface AskingPeer {
  readonly peerId: PeerId;
  /** Six digits that the asking side shows too. */
  readonly sas: string;
  /** Monotonic milliseconds. */
  readonly askedAt: number;
  /** Unix milliseconds. */
  readonly requestedAt: number;
  /** `undefined` when it asked before this process started. */
  readonly at: AskingLink | undefined;
}

type StoredRequest = Pick<AskingPeer, "sas" | "requestedAt">;

/**
 * Peers that ask to be paired, by the order of asking. They outlive their links and the process; a
 * peer that asks again counts with its latest digits. When too many wait, whoever asked longest ago
 * goes: of those whose link has ended, else of the source that has most.
 */
export class AskingPeers {
  readonly #commit: GroupCommit;
  readonly #waiting = new Map<string, AskingPeer>();

  private constructor(commit: GroupCommit) {
    this.#commit = commit;
  }

  /** Opens the list; who `isSettled` by now is no longer on it. */
  static async open(
    kv: Deno.Kv,
    commit: GroupCommit,
    { host, isSettled }: { host: Host; isSettled: (peerId: PeerId) => boolean },
  ): Promise<AskingPeers> {
    const asking = new AskingPeers(commit);
    const found: { text: string; peerId: PeerId; stored: StoredRequest }[] = [];
    const gone: string[] = [];
    for await (const { key, value } of kv.list<StoredRequest>({ prefix: [PREFIX] })) {
      const text = String(key[1]);
      const peerId = PeerId.parse(text);
      if (peerId && !isSettled(peerId) && isWhole(value) && ageOf(value, host) < REQUEST_LIFETIME) {
        found.push({ text, peerId, stored: value });
      } else gone.push(text);
    }
    found.sort((a, b) => a.stored.requestedAt - b.stored.requestedAt);
    gone.push(...found.splice(0, Math.max(0, found.length - MAX_WAITING)).map(({ text }) => text));
    for (const { text, peerId, stored } of found) {
      const askedAt = host.monotonic() - ageOf(stored, host);
      asking.#waiting.set(text, { ...stored, peerId, askedAt, at: undefined });
    }
    asking.#forget(gone);
    return asking;
  }

  /** What waits at `now`, on the monotonic clock. */
  list(now: number): AskingPeer[] {
    const expired = [...this.#waiting.values()].filter(({ askedAt }) =>
      now - askedAt >= REQUEST_LIFETIME
    );
    for (const { peerId, at } of expired) {
      this.remove(peerId);
      at?.link.close("timeout");
    }
    return [...this.#waiting.values()];
  }

  get(peerId: PeerId, now: number): AskingPeer | undefined {
    return this.list(now).find((asking) => asking.peerId.equals(peerId));
  }

  /** Returns the one that had to go for it. */
  add(asking: AskingPeer): AskingPeer | undefined {
    const text = asking.peerId.toString();
    this.#waiting.delete(text);
    const waiting = this.list(asking.askedAt);
    this.#waiting.set(text, asking);
    const { sas, requestedAt } = asking;
    this.#record([
      { type: "set", key: [PREFIX, text], value: { sas, requestedAt } satisfies StoredRequest },
    ]);
    if (waiting.length < MAX_WAITING) return undefined;
    const bySource = Map.groupBy(waiting, ({ at }) => at?.source).values();
    const [largest = []] = [...bySource].sort((a, b) => b.length - a.length);
    const evicted = waiting.find(({ at }) => at?.link.closed ?? true) ?? largest[0];
    if (evicted) this.remove(evicted.peerId);
    return evicted;
  }

  remove(peerId: PeerId): boolean {
    const text = peerId.toString();
    const wasWaiting = this.#waiting.delete(text);
    if (wasWaiting) this.#forget([text]);
    return wasWaiting;
  }

  #forget(peers: readonly string[]): void {
    this.#record(peers.map((text) => ({ type: "delete", key: [PREFIX, text] })));
  }

  /** Nobody waits for it: who is forgotten by mistake asks again, who is kept expires. */
  #record(operations: readonly KvOperation[]): void {
    if (operations.length === 0) return;
    this.#commit.commit(operations).catch((error) => {
      log.warn("Who asks to be paired is not on record for now: {error}", { error });
    });
  }
}

/** A flipped bit may leave a record that can be read and lacks a field. */
function isWhole(value: Partial<StoredRequest> | null): boolean {
  return /^\d{6}$/.test(value?.sas ?? "") && Number.isSafeInteger(value?.requestedAt);
}

/** Milliseconds, as far as the wall clock can be believed. */
function ageOf({ requestedAt }: StoredRequest, host: Host): number {
  return Math.max(0, host.now() - requestedAt);
}
