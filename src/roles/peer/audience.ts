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
  /** That commit was not made: its recipients are as new as before. */
  readonly undo: () => void;
}

/** How many broadcasts were sent, and to whom: a new device is told what it cannot read. */
export class Audience {
  #count = 0;
  readonly #known = new Set<string>();

  private constructor() {}

  static async open(kv: KvStore): Promise<Audience> {
    const audience = new Audience();
    audience.#count = (await kv.get<number>(COUNT)).value ?? 0;
    for await (const { key } of kv.list({ prefix: [PREFIX] })) {
      audience.#known.add(String(key[1]));
    }
    return audience;
  }

  /** Counts a broadcast. */
  broadcastTo(recipients: readonly PeerId[]): NotedBroadcast {
    const before = this.#count++;
    const added = recipients.map(String).filter((text) => !this.#known.has(text));
    for (const text of added) this.#known.add(text);
    const isFirst = new Set(before > 0 ? added : []);
    return {
      undo: () => {
        for (const text of added) this.#known.delete(text);
      },
      unreadable: (recipient) => isFirst.has(recipient.toString()) ? before : undefined,
      ops: [
        { type: "set", key: COUNT, value: this.#count },
        ...added.map((text): KvOperation => ({ type: "set", key: [PREFIX, text], value: true })),
      ],
    };
  }
}
