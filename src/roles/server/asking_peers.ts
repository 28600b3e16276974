import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { LinkConnection } from "../link_connection.ts";

/** Milliseconds that a request waits for an operator. */
export const REQUEST_LIFETIME = 86_400_000;
const MAX_WAITING = 64;

/** A peer that waits for an operator, and what it showed. */
export interface AskingPeer {
  readonly peerId: PeerId;
  /** Six digits that the asking side shows too. */
  readonly sas: string;
  /** The link that it asked on; it may have ended since. */
  readonly link: LinkConnection;
  /** Where it came from, for the bound. */
  readonly source: string;
  /** Monotonic milliseconds. */
  readonly askedAt: number;
  /** Unix milliseconds. */
  readonly requestedAt: number;
  /** Pairs it over that link, once it is approved. */
  readonly pair: () => Promise<void>;
  /** Tells it over that link that it is not to be paired. */
  readonly turnDown: () => void;
}

/**
 * Peers that ask to be paired, by the order of asking. They outlive their links, not the process; a
 * peer that asks again counts with its latest digits. When too many wait, whoever asked longest ago
 * goes: of those whose link has ended, else of the source that has most.
 */
export class AskingPeers {
  readonly #waiting = new Map<string, AskingPeer>();

  /** What waits at `now`, on the monotonic clock. */
  list(now: number): AskingPeer[] {
    for (const [text, { askedAt }] of this.#waiting) {
      if (now - askedAt >= REQUEST_LIFETIME) this.#waiting.delete(text);
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
    if (waiting.length < MAX_WAITING) return undefined;
    const bySource = Map.groupBy(waiting, ({ source }) => source).values();
    const [largest = []] = [...bySource].sort((a, b) => b.length - a.length);
    const evicted = waiting.find(({ link }) => link.closed) ?? largest[0];
    if (evicted) this.#waiting.delete(evicted.peerId.toString());
    return evicted;
  }

  remove(peerId: PeerId): boolean {
    return this.#waiting.delete(peerId.toString());
  }
}
