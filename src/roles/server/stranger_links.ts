import type { LinkConnection } from "../link_connection.ts";

const TIME_LIMIT = 30_000;
const MAX_STRANGERS = 128;
const MAX_PER_SOURCE = 32;

/** A link whose peer is not paired. */
interface Stranger {
  readonly link: LinkConnection;
  readonly source: string;
  /** Whether it has said anything. */
  hasSpoken: boolean;
  /** Waits for an operator: bounded by the list of those. */
  isWaiting: boolean;
  timer: ReturnType<typeof setTimeout>;
}

/**
 * Links of peers that are not paired: a bounded number, for 30 s each. A newcomer for whom there is
 * no room takes the place of one that has been there longest, of its own source or of the source
 * that has most; those that never said anything go first.
 */
export class StrangerLinks {
  readonly #strangers = new Set<Stranger>();

  /** Lets a link in; returns what is to be called with each of its messages. */
  admit(link: LinkConnection, source: string): { spoke: () => void } {
    const sameSource = this.#evictable().filter((other) => other.source === source);
    if (sameSource.length >= MAX_PER_SOURCE) evict(sameSource);
    else if (this.#evictable().length >= MAX_STRANGERS) evict(this.#largestSource());
    const stranger: Stranger = {
      link,
      source,
      hasSpoken: false,
      isWaiting: false,
      timer: limitTime(link),
    };
    this.#strangers.add(stranger);
    link.onClose = () => {
      clearTimeout(stranger.timer);
      this.#strangers.delete(stranger);
    };
    return {
      spoke: () => {
        stranger.hasSpoken = true;
      },
    };
  }

  /** Lifts the time limit of a link whose peer waits for an operator. */
  beginWaiting(link: LinkConnection): void {
    for (const stranger of this.#strangers) {
      if (stranger.link !== link) continue;
      stranger.isWaiting = true;
      clearTimeout(stranger.timer);
    }
  }

  /** Puts the time limit back, in full. */
  endWaiting(link: LinkConnection): void {
    for (const stranger of this.#strangers) {
      if (stranger.link !== link || !stranger.isWaiting) continue;
      stranger.isWaiting = false;
      stranger.timer = limitTime(link);
    }
  }

  /** Closes all of them. */
  close(): void {
    for (const { link } of [...this.#strangers]) link.close("going-away");
  }

  #evictable(): Stranger[] {
    return [...this.#strangers].filter(({ isWaiting }) => !isWaiting);
  }

  #largestSource(): Stranger[] {
    const bySource = Map.groupBy(this.#evictable(), ({ source }) => source).values();
    return [...bySource].sort((a, b) => b.length - a.length)[0] ?? [];
  }
}

function limitTime(link: LinkConnection): ReturnType<typeof setTimeout> {
  return setTimeout(() => link.close("timeout"), TIME_LIMIT);
}

/** Those in `candidates` are in the order in which they came. */
function evict(candidates: readonly Stranger[]): void {
  const chosen = candidates.find(({ hasSpoken }) => !hasSpoken) ?? candidates[0];
  chosen?.link.close("not-paired");
}
