import { toHex } from "../base/bytes.ts";
import type { Host } from "../base/host.ts";
import type { KvOperation } from "./group_commit.ts";
import type { BlobRef, KvBlobs, StoredBody } from "./kv_blobs.ts";
import type { KvStore } from "./kv_store.ts";
import { Turns } from "./turns.ts";

/** A body that several owners' records share, on its way into the store. */
export interface PreparedShared {
  /** 16 bytes; store it in the record of each owner. */
  readonly name: Uint8Array;
  readonly value: StoredBody;
  readonly ops: readonly KvOperation[];
}

interface SharedRecord {
  /** Owners that have not let go of it. */
  readonly owners: number;
  /** Where it lies; `null` when it is a record beside this one. */
  readonly parts: BlobRef | null;
}

/**
 * Bodies that are stored once for several owners. How many owners are left is part of the commits
 * in which owners come and go, and the body goes in the one that removes the last: no crash leaves
 * a body without an owner, or an owner without its body.
 *
 * - `… / count / name`: how many owners it has, and where it lies
 * - `… / body / name`: a body that is no blob
 */
export class SharedBodies {
  readonly #kv: KvStore;
  readonly #blobs: KvBlobs;
  readonly #prefix: readonly string[];
  readonly #host: Host;
  readonly #turns = new Turns();

  constructor(kv: KvStore, blobs: KvBlobs, prefix: readonly string[], host: Host) {
    this.#kv = kv;
    this.#blobs = blobs;
    this.#prefix = prefix;
    this.#host = host;
  }

  /**
   * Writes what is large about a body; the rest goes with {@linkcode SharedBodies.addOps}, or else
   * {@linkcode SharedBodies.abandon} is due.
   */
  async prepare(bytes: Uint8Array): Promise<PreparedShared> {
    const { value, ops } = await this.#blobs.storeBody(bytes);
    return { name: this.#host.random(16), value, ops };
  }

  /** Belongs in the commit that makes the records of its `owners` durable; there is at least one. */
  addOps({ name, value, ops }: PreparedShared, owners: number): KvOperation[] {
    const isRecord = value instanceof Uint8Array;
    const record: SharedRecord = { owners, parts: isRecord ? null : value };
    const added: KvOperation[] = [...ops, {
      type: "set",
      key: this.#countKey(name),
      value: record,
    }];
    if (isRecord) added.push({ type: "set", key: this.#bodyKey(name), value });
    return added;
  }

  /** Removes what was prepared and not committed. Never throws: a start sweeps it. */
  abandon({ value }: PreparedShared): Promise<void> {
    return this.#blobs.abandon(value);
  }

  /**
   * One owner lets go: calls `commit` with what belongs in the commit that removes its record.
   * Returns whether it was the last. Owners of one body let go one after another, since each must
   * know how many are durably left.
   */
  release(
    name: Uint8Array,
    commit: (operations: readonly KvOperation[], isLast: boolean) => Promise<void>,
  ): Promise<boolean> {
    return this.#turns.take(toHex(name), async () => {
      const key = this.#countKey(name);
      const record = (await this.#kv.get<SharedRecord>(key)).value;
      // A damaged count frees nothing: an owner that is left must not lose its body.
      if (record === null || !(record.owners >= 1)) {
        await commit([], false);
        return false;
      }
      const owners = record.owners - 1;
      if (owners > 0) {
        await commit([{ type: "set", key, value: { ...record, owners } }], false);
        return false;
      }
      await commit([
        { type: "delete", key },
        ...(record.parts === null
          ? [{ type: "delete", key: this.#bodyKey(name) } as const]
          : this.#blobs.deleteOps(record.parts)),
      ], true);
      return true;
    });
  }

  /** The body, or `undefined` when it is damaged or was deleted. */
  async read(name: Uint8Array): Promise<Uint8Array | undefined> {
    const own = (await this.#kv.get<Uint8Array>(this.#bodyKey(name))).value;
    if (own !== null) return own instanceof Uint8Array ? own : undefined;
    const record = (await this.#kv.get<SharedRecord>(this.#countKey(name))).value;
    return record?.parts ? await this.#blobs.readBlob(record.parts) : undefined;
  }

  #countKey(name: Uint8Array): Deno.KvKey {
    return [...this.#prefix, "count", name];
  }

  #bodyKey(name: Uint8Array): Deno.KvKey {
    return [...this.#prefix, "body", name];
  }
}
