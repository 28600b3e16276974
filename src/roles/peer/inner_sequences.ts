import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { GroupCommit, KvOperation } from "../group_commit.ts";
import type { KvStore } from "../kv_store.ts";

/** By how much the count jumps after a rollback, past all that may have been used. */
const ROLLBACK_JUMP = 1_048_576;
const JUMPS_PER_COMMIT = 500;

/**
 * The inner sequences of messages, counted from 1 for each recipient; none is given twice, whatever
 * way a message takes and however often it is encrypted.
 *
 * - `next / recipient`: the one that is given next
 */
export class InnerSequences {
  readonly #next = new Map<string, number>();

  private constructor(private readonly commit: GroupCommit, private readonly host: Host) {}

  static async open(kv: KvStore, commit: GroupCommit, host: Host): Promise<InnerSequences> {
    const sequences = new InnerSequences(commit, host);
    for await (const { key, value } of kv.list<number>({ prefix: ["next"] })) {
      sequences.#next.set(String(key[1]), value);
    }
    return sequences;
  }

  /** The one that was given last to a message for `recipient`; 0 when none was. */
  last(recipient: PeerId): number {
    return (this.#next.get(recipient.toString()) ?? 1) - 1;
  }

  /** Gives the next one; `op` belongs in the commit that makes its message durable. */
  give(recipient: PeerId): { readonly sequence: number; readonly op: KvOperation } {
    const text = recipient.toString();
    const sequence = this.#next.get(text) ?? 1;
    return { sequence, op: this.#goOnFrom(text, sequence + 1) };
  }

  /** After a rollback: none that may have been used is used again. */
  async jump(): Promise<void> {
    const jump = ROLLBACK_JUMP * (1 + (this.host.random(1)[0] ?? 0));
    const ops = [...this.#next].map(([text, next]) => this.#goOnFrom(text, next + jump));
    for (let first = 0; first < ops.length; first += JUMPS_PER_COMMIT) {
      await this.commit.commit(ops.slice(first, first + JUMPS_PER_COMMIT));
    }
  }

  /** The same for one recipient, who has seen messages up to `last` that are not known here. */
  async jumpPast(recipient: PeerId, last: number): Promise<void> {
    const text = recipient.toString();
    const next = Math.max(this.#next.get(text) ?? 1, last + 1) + ROLLBACK_JUMP;
    await this.commit.commit([this.#goOnFrom(text, next)]);
  }

  #goOnFrom(text: string, next: number): KvOperation {
    this.#next.set(text, next);
    return { type: "set", key: ["next", text], value: next };
  }
}
