import { concatBytes, toHex } from "../base/bytes.ts";
import { type Host, systemHost } from "../base/host.ts";
import type { GroupCommit, KvOperation } from "./group_commit.ts";
import type { KvStore } from "./kv_store.ts";
import { KV_LIMITS } from "./kv_weight.ts";

/** Where a large body lies. Store it in the record that owns the body. */
export interface BlobRef {
  /** 16 random bytes. */
  readonly blob: Uint8Array;
  readonly parts: number;
  readonly size: number;
}

/** A body as its owner's record embeds it: the bytes themselves, or where they lie. */
export type StoredBody = Uint8Array | BlobRef;

/** Bodies up to this size are embedded; the rest of the record has room beside them. */
export const INLINE_BYTES = 48 * 1024;
/** The largest body: as many parts as can be deleted in one commit beside other changes. */
export const LARGEST_BODY_BYTES = 32 * 1024 * 1024;
/** With room for what encrypts a part. */
const PART_BYTES = KV_LIMITS.valueBytes - 256;
/** With the staging record beside them. */
const PARTS_PER_COMMIT = 12;
/** The last parts go in the owner's commit, which has room for them beside its other changes. */
const PARTS_WITH_OWNER = 5;

/**
 * Keeps bodies of any size in Deno KV, whose values are bounded. A few parts go in the commit that
 * makes their owner's record durable. Those of a larger body are written before, beginning with a
 * staging record, which that commit removes. What a crash leaves staged belongs to nobody and is
 * swept at the next start.
 *
 * One object per `prefix`: it takes the staging records of others for leftovers.
 */
export class KvBlobs {
  readonly #kv: KvStore;
  readonly #commit: GroupCommit;
  readonly #prefix: readonly string[];
  readonly #host: Host;
  /** Names this run in staging records. */
  readonly #run: string;

  constructor(
    kv: KvStore,
    commit: GroupCommit,
    prefix: readonly string[],
    host: Host = systemHost,
  ) {
    this.#kv = kv;
    this.#commit = commit;
    this.#prefix = prefix;
    this.#host = host;
    this.#run = toHex(host.random(16));
  }

  /**
   * Prepares `bytes` for an owner's record: embed `value` in it and commit it with `ops`. When that
   * commit fails, or is not made, call {@linkcode KvBlobs.abandon}. `ops` weigh at most 330 kB.
   *
   * @throws {RangeError} above {@linkcode LARGEST_BODY_BYTES}.
   */
  async storeBody(
    bytes: Uint8Array,
  ): Promise<{ value: StoredBody; ops: KvOperation[] }> {
    // A copy, because serializing a view would store all of the buffer below it.
    if (bytes.length <= INLINE_BYTES) return { value: bytes.slice(), ops: [] };
    const { ref, ops } = await this.#putBlob(bytes);
    return { value: ref, ops };
  }

  /** The body, or `undefined` when parts of it are missing. */
  async readBody(value: StoredBody): Promise<Uint8Array | undefined> {
    return value instanceof Uint8Array ? value : await this.readBlob(value);
  }

  /** What deletes the body; belongs in the commit that deletes its owner's record. */
  bodyDeleteOps(value: StoredBody): KvOperation[] {
    return value instanceof Uint8Array ? [] : this.deleteOps(value);
  }

  async #putBlob(bytes: Uint8Array): Promise<{ ref: BlobRef; ops: KvOperation[] }> {
    if (bytes.length > LARGEST_BODY_BYTES) {
      throw new RangeError(`Cannot store a body of ${bytes.length} bytes`);
    }
    const ref: BlobRef = {
      blob: this.#host.random(16),
      parts: Math.ceil(bytes.length / PART_BYTES),
      size: bytes.length,
    };
    const sets = Array.from({ length: ref.parts }, (_, part): KvOperation => {
      const value = bytes.slice(part * PART_BYTES, (part + 1) * PART_BYTES);
      return { type: "set", key: this.#partKey(ref, part), value };
    });
    const early = sets.splice(0, Math.max(0, ref.parts - PARTS_WITH_OWNER));
    if (early.length === 0) return { ref, ops: sets };
    const staged = this.#stagedKey(ref);
    const staging: KvOperation = { type: "set", key: staged, value: { run: this.#run, ref } };
    try {
      for (let first = 0; first < early.length; first += PARTS_PER_COMMIT) {
        const parts = early.slice(first, first + PARTS_PER_COMMIT);
        await this.#commit.commit(first === 0 ? [staging, ...parts] : parts);
      }
    } catch (error) {
      await this.abandon(ref);
      throw error;
    }
    const { versionstamp } = await this.#kv.get(staged);
    // Checking for null would mean the opposite: that the record is absent.
    if (versionstamp === null) throw new Error("A staging record vanished");
    return {
      ref,
      ops: [{ type: "check", key: staged, versionstamp }, { type: "delete", key: staged }, ...sets],
    };
  }

  /** The blob's bytes, or `undefined` when parts of it are missing. */
  async readBlob(ref: BlobRef): Promise<Uint8Array | undefined> {
    const parts: Uint8Array[] = [];
    const prefix = [...this.#prefix, "part", ref.blob];
    for await (const { value } of this.#kv.list<Uint8Array>({ prefix })) parts.push(value);
    const bytes = concatBytes(...parts);
    return bytes.length === ref.size ? bytes : undefined;
  }

  /** What deletes the blob; belongs in the commit that deletes its owner's record. */
  deleteOps(ref: BlobRef): KvOperation[] {
    return Array.from(
      { length: ref.parts },
      (_, part) => ({ type: "delete", key: this.#partKey(ref, part) }),
    );
  }

  /** Removes a body whose owner's record was not committed. Never throws: a start sweeps it. */
  async abandon(value: StoredBody): Promise<void> {
    if (value instanceof Uint8Array) return;
    try {
      // Without the reserve, which is for what ends messages.
      await this.#commit.commit([
        ...this.deleteOps(value),
        { type: "delete", key: this.#stagedKey(value) },
      ]);
    } catch {
      // Its staging record is still there for the next start.
    }
  }

  /** Removes what earlier runs left staged. Call it once, at start. */
  async sweepStaged(): Promise<void> {
    const leftovers: BlobRef[] = [];
    const records = this.#kv.list<{ run: string; ref: BlobRef }>({
      prefix: [...this.#prefix, "staged"],
    });
    for await (const { value } of records) {
      if (value.run !== this.#run) leftovers.push(value.ref);
    }
    for (const ref of leftovers) await this.abandon(ref);
  }

  #stagedKey(ref: BlobRef): Deno.KvKey {
    return [...this.#prefix, "staged", ref.blob];
  }

  #partKey(ref: BlobRef, part: number): Deno.KvKey {
    return [...this.#prefix, "part", ref.blob, part];
  }
}
