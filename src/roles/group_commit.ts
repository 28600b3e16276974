import { CairnError } from "../base/errors.ts";
import { mapDiskFull } from "./disk_space.ts";

/** One change to the store, or a condition under which the changes beside it are made. */
export type KvOperation =
  | { readonly type: "set"; readonly key: Deno.KvKey; readonly value: unknown }
  | { readonly type: "delete"; readonly key: Deno.KvKey }
  | { readonly type: "check"; readonly key: Deno.KvKey; readonly versionstamp: string | null };

/** What Deno KV takes in one commit, as its own error messages state it. */
export const KV_LIMITS = {
  mutations: 1000,
  checks: 100,
  /** Keys and values together, where each key counts twice. */
  bytes: 819_200,
  keyBytes: 81_920,
  valueBytes: 65_536,
} as const;

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

interface Weight {
  mutations: number;
  checks: number;
  keyBytes: number;
  bytes: number;
}

/**
 * Merges the commits of many callers into few: Deno KV syncs the disk once per commit, whatever its
 * size. One commit is under way at a time and the next callers collect meanwhile. What one caller
 * hands in is never split, and callers keep their order.
 */
export class GroupCommit {
  readonly #kv: Deno.Kv;
  readonly #reserve: { release(): Promise<boolean> } | undefined;
  #queue: Waiting[] = [];
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(kv: Deno.Kv, reserve?: { release(): Promise<boolean> }) {
    this.#kv = kv;
    this.#reserve = reserve;
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
        await this.#write(group.flatMap((caller) => caller.operations));
        for (const caller of group) caller.resolve();
      } catch (error) {
        if (group.length === 1 && group[0] !== undefined) await this.#retryAlone(group[0], error);
        else await this.#oneByOne(group);
      }
    }
    this.#running = undefined;
  }

  #takeGroup(): Waiting[] {
    const sum: Weight = { mutations: 0, checks: 0, keyBytes: 0, bytes: 0 };
    let count = 0;
    for (const { weight } of this.#queue) {
      sum.mutations += weight.mutations;
      sum.checks += weight.checks;
      sum.keyBytes += weight.keyBytes;
      sum.bytes += weight.bytes;
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
        await this.#write(caller.operations);
        caller.resolve();
      } catch (error) {
        if (!await this.#retryAlone(caller, error) && lane !== undefined) failedLanes.add(lane);
      }
    }
  }

  /** The last chance of one caller. Returns whether it succeeded; settles it either way. */
  async #retryAlone(caller: Waiting, error: unknown): Promise<boolean> {
    let last = mapDiskFull(error);
    const full = last instanceof CairnError && last.code === "disk-full";
    if (full && caller.options.freesSpace && await this.#reserve?.release()) {
      try {
        await this.#write(caller.operations);
        caller.resolve();
        return true;
      } catch (again) {
        last = mapDiskFull(again);
      }
    }
    caller.reject(last);
    this.#failLane(caller.options.lane);
    return false;
  }

  #failLane(lane: unknown): void {
    if (lane === undefined) return;
    const behind = this.#queue.filter((caller) => caller.options.lane === lane);
    this.#queue = this.#queue.filter((caller) => caller.options.lane !== lane);
    for (const caller of behind) caller.reject(behindFailure());
  }

  async #write(operations: readonly KvOperation[]): Promise<void> {
    const atomic = this.#kv.atomic();
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
}

function behindFailure(): Error {
  return new Error("An earlier commit of the same lane failed");
}

function weigh(operations: readonly KvOperation[]): Weight {
  const weight: Weight = { mutations: 0, checks: 0, keyBytes: 0, bytes: 0 };
  for (const operation of operations) {
    const keyBytes = keySize(operation.key);
    weight.keyBytes += keyBytes;
    weight.bytes += 2 * keyBytes;
    if (operation.type === "check") {
      weight.checks++;
      continue;
    }
    weight.mutations++;
    if (operation.type === "set") {
      weight.bytes += operation.value instanceof Uint8Array
        ? operation.value.length
        : 16 + valueSizeBound(operation.value);
    }
  }
  return weight;
}

function excessOf(weight: Weight): string | undefined {
  if (weight.mutations > KV_LIMITS.mutations) return `more than ${KV_LIMITS.mutations} changes`;
  if (weight.checks > KV_LIMITS.checks) return `more than ${KV_LIMITS.checks} checks`;
  if (weight.keyBytes > KV_LIMITS.keyBytes) return `keys of more than ${KV_LIMITS.keyBytes} bytes`;
  if (weight.bytes > KV_LIMITS.bytes) return `more than ${KV_LIMITS.bytes} bytes`;
  return undefined;
}

/** Size of a key in FoundationDB's tuple encoding, which Deno KV uses. */
function keySize(key: Deno.KvKey): number {
  let size = 0;
  for (const part of key) {
    if (part instanceof Uint8Array) {
      size += 2 + part.length;
      // A zero is escaped by one more byte.
      for (const byte of part) if (byte === 0) size++;
    } else if (typeof part === "string") size += 2 + 3 * part.length;
    else size += 9;
  }
  return size;
}

/** At least as much as V8's structured serialization takes. */
function valueSizeBound(value: unknown): number {
  if (value instanceof Uint8Array) return value.length + 24;
  if (typeof value === "string") return 2 * value.length + 8;
  if (Array.isArray(value)) {
    return value.reduce<number>((sum, item) => sum + valueSizeBound(item), 16);
  }
  if (typeof value === "object" && value !== null) {
    let sum = 8;
    for (const [name, field] of Object.entries(value)) {
      sum += 2 * name.length + 8 + valueSizeBound(field);
    }
    return sum;
  }
  if (typeof value === "bigint") return 8 + value.toString(16).length;
  return 10;
}
