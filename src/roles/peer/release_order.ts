import { getLogger } from "@logtape/logtape";
import type { GroupCommit, KvOperation } from "../group_commit.ts";
import type { KvStore } from "../kv_store.ts";

const log = getLogger(["cairn", "peer"]);

/** Senders beyond which gaps of further ones are not kept: a server may invent them. */
const MAX_SENDERS = 10_000;
const RELEASES_PER_COMMIT = 200;

/** Order of one sender's messages. */
interface SenderState {
  /** The inner sequence that is released next. */
  expected: number;
  /** Until then (Unix milliseconds) a gap is kept for a message that is being sent again. */
  resendUntil: number;
  /** Names of stored messages beyond a gap, by inner sequence. */
  readonly held: Map<number, string>;
}

type StoredState = Omit<SenderState, "held">;

/**
 * Decides when a stored message is released to the application: per sender in the inner sequence,
 * across senders in the order of arrival. Its changes ride in the commit that stores the message.
 */
export class ReleaseOrder {
  /** Called when messages were released. */
  onRelease: (count: number) => void = () => {};
  readonly #senders = new Map<string, SenderState>();
  #nextArrival = 1;

  private constructor(private readonly commit: GroupCommit) {}

  static async open(kv: KvStore, commit: GroupCommit): Promise<ReleaseOrder> {
    const order = new ReleaseOrder(commit);
    for await (const { key, value } of kv.list<StoredState>({ prefix: ["sender"] })) {
      Object.assign(order.#sender(String(key[1])), value);
    }
    for await (const { key, value } of kv.list<string>({ prefix: ["held"] })) {
      order.#sender(String(key[1])).held.set(Number(key[2]), value);
    }
    for await (const { key } of kv.list({ prefix: ["inbox"] }, { reverse: true, limit: 1 })) {
      order.#nextArrival = Number(key[1]) + 1;
    }
    // A crash may have come between the message that filled a gap and the release of the others.
    for (const [sender, state] of order.#senders) await order.#releaseNext(sender, state);
    return order;
  }

  /** Messages that wait beyond gaps. */
  get heldCount(): number {
    return [...this.#senders.values()].reduce((sum, { held }) => sum + held.size, 0);
  }

  /**
   * Commits `operations` together with the place of a new message, released or held, and calls
   * `durable` then. What it lets go besides is released afterwards, or at the next occasion.
   */
  async place(
    sender: string,
    sequence: number,
    name: string,
    operations: readonly KvOperation[],
    durable: () => void,
  ): Promise<void> {
    const state = this.#sender(sender);
    if (sequence > state.expected && !state.held.has(sequence)) {
      const held: KvOperation = { type: "set", key: ["held", sender, sequence], value: name };
      await this.commit.commit([...operations, held]);
      state.held.set(sequence, name);
      return durable();
    }
    // Behind its turn, or second under its number: better late than never.
    const expected = sequence === state.expected ? sequence + 1 : state.expected;
    const arrival: KvOperation = { type: "set", key: ["inbox", this.#nextArrival++], value: name };
    const next = { expected, resendUntil: state.resendUntil };
    await this.commit.commit([...operations, arrival, stateOperation(sender, next)]);
    Object.assign(state, next);
    durable();
    this.onRelease(1);
    try {
      await this.#releaseNext(sender, state);
    } catch (error) {
      log.warn("Messages that have their turn are released later: {error}", { error });
    }
  }

  /** The operation by which gaps of `sender` stay open until `until`; call `apply` once durable. */
  keepGap(sender: string, until: number): { operation: KvOperation; apply: () => void } {
    const expected = this.#senders.get(sender)?.expected ?? 1;
    return {
      operation: stateOperation(sender, { expected, resendUntil: until }),
      apply: () => {
        if (!this.#senders.has(sender) && this.#senders.size >= MAX_SENDERS) return;
        this.#sender(sender).resendUntil = until;
      },
    };
  }

  /** The highest inner sequence that was placed for `sender`; 0 when none was. */
  highest(sender: string): number {
    const state = this.#senders.get(sender);
    return state ? Math.max(state.expected - 1, ...state.held.keys()) : 0;
  }

  /** Senders with messages beyond a gap, and until when the gap is kept open. */
  gaps(): { readonly sender: string; readonly keptUntil: number }[] {
    return [...this.#senders]
      .filter(([, { held }]) => held.size > 0)
      .map(([sender, { resendUntil }]) => ({ sender, keptUntil: resendUntil }));
  }

  /** Nothing can fill the gaps of `sender` any more: releases what is beyond them, in order. */
  async closeGaps(sender: string): Promise<void> {
    const state = this.#sender(sender);
    while (state.held.size > 0) {
      const sequences = [...state.held.keys()].sort((a, b) => a - b);
      await this.#release(sender, state, sequences.slice(0, RELEASES_PER_COMMIT));
    }
  }

  /** Releases what is held and has its turn. */
  async #releaseNext(sender: string, state: SenderState): Promise<void> {
    while (state.held.has(state.expected)) {
      const run: number[] = [];
      for (let next = state.expected; state.held.has(next); next++) {
        if (run.push(next) === RELEASES_PER_COMMIT) break;
      }
      await this.#release(sender, state, run);
    }
  }

  async #release(
    sender: string,
    state: SenderState,
    sequences: readonly number[],
  ): Promise<void> {
    const operations: KvOperation[] = [];
    for (const sequence of sequences) {
      const name = state.held.get(sequence);
      if (name === undefined) continue;
      operations.push(
        { type: "delete", key: ["held", sender, sequence] },
        { type: "set", key: ["inbox", this.#nextArrival++], value: name },
      );
    }
    const expected = Math.max(state.expected, (sequences.at(-1) ?? 0) + 1);
    const next = { expected, resendUntil: state.resendUntil };
    await this.commit.commit([...operations, stateOperation(sender, next)]);
    for (const sequence of sequences) state.held.delete(sequence);
    Object.assign(state, next);
    this.onRelease(sequences.length);
  }

  #sender(text: string): SenderState {
    let state = this.#senders.get(text);
    if (!state) {
      state = { expected: 1, resendUntil: 0, held: new Map() };
      this.#senders.set(text, state);
    }
    return state;
  }
}

function stateOperation(sender: string, state: StoredState): KvOperation {
  const { expected, resendUntil } = state;
  return { type: "set", key: ["sender", sender], value: { expected, resendUntil } };
}
