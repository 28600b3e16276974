import type { TopicAccess } from "../../src/roles/signal_client.ts";

/** What was relayed, and by whom. */
export interface Relayed {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly from: object;
}

/** A signaling server in memory that can lose, hold back and reorder. */
export class SignalHub {
  /** Everything that was relayed, what got lost too. */
  readonly relayed: Relayed[] = [];
  /** Whether the payload reaches anybody. */
  passes: (relayed: Relayed, index: number) => boolean = () => true;
  readonly #listeners = new Map<
    string,
    Set<{ from: object; hear: (payload: Uint8Array) => void }>
  >();
  #held: Relayed[] | undefined;

  /** One more client of the server. */
  client(): TopicAccess & { whenConnected: () => Promise<void>; lastError: undefined } {
    const from = {};
    return {
      url: "ws://hub.test",
      connected: true,
      lastError: undefined,
      whenConnected: () => Promise.resolve(),
      subscribe: (topic, hear) => {
        const listeners = this.#listeners.get(topic) ?? new Set();
        const listener = { from, hear };
        this.#listeners.set(topic, listeners.add(listener));
        return () => {
          listeners.delete(listener);
          if (listeners.size === 0) this.#listeners.delete(topic);
        };
      },
      relay: (topic, payload) => {
        const relayed = { topic, payload, from };
        this.relayed.push(relayed);
        if (!this.passes(relayed, this.relayed.length - 1)) return;
        if (this.#held) this.#held.push(relayed);
        else this.#bring(relayed);
      },
    };
  }

  /** Topics that somebody listens to. */
  topics(): string[] {
    return [...this.#listeners.keys()].toSorted();
  }

  hold(): void {
    this.#held = [];
  }

  /** Brings what was held back, in the order that `reorder` makes of it. */
  release(reorder: (held: Relayed[]) => Relayed[] = (held) => held): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const relayed of reorder(held)) this.#bring(relayed);
  }

  #bring({ topic, payload, from }: Relayed): void {
    queueMicrotask(() => {
      for (const listener of [...this.#listeners.get(topic) ?? []]) {
        if (listener.from !== from) listener.hear(payload);
      }
    });
  }
}
