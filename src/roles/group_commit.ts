import { CairnError } from "../base/errors.ts";
import { isDiskFull, mapDiskFull } from "./disk_full.ts";
import type { KvStore } from "./kv_store.ts";
import { excessOf, sumOf, weigh, type Weight } from "./kv_weight.ts";
import type { RecordChange } from "./live_record.ts";

/** A change as it is written, or a condition for the changes beside it. */
export type PlainOperation =
  | {
    readonly type: "set";
    readonly key: Deno.KvKey;
    readonly value: unknown;
    /** No record had this key before. */
    readonly fresh?: true;
  }
  | { readonly type: "delete"; readonly key: Deno.KvKey }
  | { readonly type: "check"; readonly key: Deno.KvKey; readonly versionstamp: string | null };

/** One change to the store, or a condition under which the changes beside it are made. */
export type KvOperation = PlainOperation | RecordChange;

/** Makes operations durable, all of them or none; one call at a time. */
export interface Writer {
  write(operations: readonly PlainOperation[]): Promise<void>;
}

export interface CommitOptions {
  /**
   * Commits of one lane succeed in the order they were asked for: when one fails, those of its lane
   * that wait behind it fail too.
   */
  readonly lane?: unknown;
  /** For changes that free space: on a full disk the reserve is given up to make them. */
  readonly freesSpace?: boolean;
}

interface Waiting {
  readonly operations: readonly KvOperation[];
  readonly options: CommitOptions;
  readonly weight: Weight;
  resolve(): void;
  reject(error: unknown): void;
}

/**
 * Merges the commits of many callers into few: Deno KV syncs the disk once per commit, whatever its
 * size. One commit is under way at a time and the next callers collect meanwhile. What one caller
 * hands in is never split, and callers keep their order.
 */
export class GroupCommit {
  /** Called as each write to the store begins; what it returns is called when that ended. */
  onWrite: () => (outcome: "made" | "failed") => void = () => () => {};
  #writer: Writer;
  readonly #reserve: { release(): Promise<boolean> } | undefined;
  #queue: Waiting[] = [];
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(kv: KvStore, reserve?: { release(): Promise<boolean> }) {
    this.#writer = { write: (operations) => writeAtOnce(kv, operations) };
    this.#reserve = reserve;
  }

  /** From the next commit on, `writer` makes changes durable. */
  writeThrough(writer: Writer): void {
    this.#writer = writer;
  }

  /**
   * Resolves once `operations` are on disk, all of them or none. Callers must not check a key that
   * another caller may be writing: checks of one group are all made before its changes.
   *
   * @throws {RangeError} when they exceed {@linkcode KV_LIMITS} on their own.
   * @throws {CairnError} `disk-full`, or `closed`.
   */
  commit(operations: readonly KvOperation[], options: CommitOptions = {}): Promise<void> {
    if (this.#closed) return Promise.reject(new CairnError("closed", "The store is closed"));
    const weight = weigh(operations);
    const excess = excessOf(weight);
    if (excess !== undefined) {
      return Promise.reject(new RangeError(`Cannot commit at once: ${excess}`));
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ operations, options, weight, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  /** Resolves when everything handed in so far has been committed or refused. */
  async flush(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  /** Commits what waits, then refuses more. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.flush();
  }

  async #run(): Promise<void> {
    // Everything handed in during this turn of the event loop shares the first commit.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const group = this.#takeGroup();
      try {
        await this.#write(group);
        for (const caller of group) caller.resolve();
      } catch (error) {
        if (group.length === 1 && group[0] !== undefined) this.#refuse(group[0], error);
        else await this.#oneByOne(group);
      }
    }
    this.#running = undefined;
  }

  /**
   * On a full disk the reserve is given up for what frees space. A group of such goes together: each
   * for itself would need more of it.
   */
  async #write(callers: readonly Waiting[]): Promise<void> {
    const operations = callers.flatMap((caller) => caller.operations);
    try {
      await this.#writeOnce(operations);
    } catch (error) {
      const frees = isDiskFull(error) && callers.every(({ options }) => options.freesSpace);
      if (!frees || !await this.#reserve?.release()) throw error;
      await this.#writeOnce(operations);
    }
  }

  #takeGroup(): Waiting[] {
    let sum = weigh([]);
    let count = 0;
    for (const { weight } of this.#queue) {
      sum = sumOf(sum, weight);
      if (count > 0 && excessOf(sum) !== undefined) break;
      count++;
    }
    return this.#queue.splice(0, count);
  }

  /** After a group failed: each caller for itself, so that one does not sink the others. */
  async #oneByOne(group: Waiting[]): Promise<void> {
    const failedLanes = new Set<unknown>();
    for (const caller of group) {
      const { lane } = caller.options;
      if (lane !== undefined && failedLanes.has(lane)) {
        caller.reject(behindFailure());
        continue;
      }
      try {
        await this.#write([caller]);
        caller.resolve();
      } catch (error) {
        this.#refuse(caller, error);
        if (lane !== undefined) failedLanes.add(lane);
      }
    }
  }

  #refuse(caller: Waiting, error: unknown): void {
    caller.reject(mapDiskFull(error));
    this.#failLane(caller.options.lane);
  }

  #failLane(lane: unknown): void {
    if (lane === undefined) return;
    const behind = this.#queue.filter((caller) => caller.options.lane === lane);
    this.#queue = this.#queue.filter((caller) => caller.options.lane !== lane);
    for (const caller of behind) caller.reject(behindFailure());
  }

  /** Changes of one record become one change, which the record only takes over when it is made. */
  async #writeOnce(operations: readonly KvOperation[]): Promise<void> {
    const changed = new Set<RecordChange["record"]>();
    const plain: PlainOperation[] = [];
    for (const operation of operations) {
      if (operation.type !== "update") plain.push(operation);
      else {
        operation.stage();
        changed.add(operation.record);
      }
    }
    for (const { key, staged } of changed) {
      plain.push(
        staged === undefined ? { type: "delete", key } : { type: "set", key, value: staged },
      );
    }
    const ended = this.onWrite();
    try {
      await this.#writer.write(plain);
    } catch (error) {
      ended("failed");
      for (const record of changed) record.revert();
      throw error;
    }
    ended("made");
    for (const record of changed) record.settle();
  }
}

/** Makes `operations` in one commit of Deno KV. */
export async function writeAtOnce(
  kv: KvStore,
  operations: readonly PlainOperation[],
): Promise<void> {
  const atomic = kv.atomic();
  for (const operation of operations) {
    switch (operation.type) {
      case "set":
        atomic.set(operation.key, operation.value);
        break;
      case "delete":
        atomic.delete(operation.key);
        break;
      case "check":
        atomic.check({ key: operation.key, versionstamp: operation.versionstamp });
        break;
    }
  }
  const result = await atomic.commit();
  if (!result.ok) throw new Error("A record changed while it was being committed");
}

function behindFailure(): Error {
  return new Error("An earlier commit of the same lane failed");
}
