import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { KvOperation } from "../group_commit.ts";
import type { KvStore } from "../kv_store.ts";

const COUNT = ["broadcasts"];
const PREFIX = "audience";

/** One broadcast, as far as it changes who has read how many. */
export interface NotedBroadcast {
  /** How many came before that a recipient cannot read, when this is the first that it can. */
  readonly unreadable: (recipient: PeerId) => number | undefined;
  /** Belongs in the commit that makes its messages durable. */
  readonly ops: readonly KvOperation[];
  /** That commit was made. */
  readonly done: () => void;
  /** It was not: the broadcast does not count, and its recipients are as new as before. */
  readonly undo: () => void;
}

/** How many broadcasts were sent, and to whom: a new device is told what it cannot read. */
export class Audience {
  #count = 0;
  readonly #known = new Set<string>();
  /** Resolves when it is known whether the latest first broadcast to somebody is on disk. */
  #settled: Promise<void> = Promise.resolve();

  private constructor() {}

  static async open(kv: KvStore): Promise<Audience> {
    const audience = new Audience();
    audience.#count = (await kv.get<number>(COUNT)).value ?? 0;
    for await (const { key } of kv.list({ prefix: [PREFIX] })) {
      audience.#known.add(String(key[1]));
    }
    return audience;
  }

  /** Resolves when nobody's first broadcast awaits its commit: only then may another be counted. */
  settled(): Promise<void> {
    return this.#settled;
  }

  /** Counts a broadcast. */
  broadcastTo(recipients: readonly PeerId[]): NotedBroadcast {
    const before = this.#count++;
    const added = recipients.map(String).filter((text) => !this.#known.has(text));
    const isFirst = new Set(before > 0 ? added : []);
    const { promise, resolve } = Promise.withResolvers<void>();
    if (added.length > 0) this.#settled = promise;
    return {
      done: () => {
        for (const text of added) this.#known.add(text);
        resolve();
      },
      undo: () => {
        this.#count--;
        resolve();
      },
      unreadable: (recipient) => isFirst.has(recipient.toString()) ? before : undefined,
      ops: [
        { type: "set", key: COUNT, value: this.#count },
        ...added.map((text): KvOperation => ({ type: "set", key: [PREFIX, text], value: true })),
      ],
    };
  }
}
