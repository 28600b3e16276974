/**
 * What a peer's tables need of the store they are kept in: four calls of Deno KV, whose words and
 * types these are. `Deno.Kv` is such a store, and `indexed_db_store` one for pages.
 */
export interface KvStore {
  /** The record at `key`; value and version are `null` where there is none. */
  get<T = unknown>(key: Deno.KvKey): Promise<Deno.KvEntryMaybe<T>>;
  /** The records that `selector` means, in the order of their keys; each batch is of one moment. */
  list<T = unknown>(
    selector: Deno.KvListSelector,
    options?: Pick<Deno.KvListOptions, "limit" | "reverse" | "batchSize">,
  ): AsyncIterable<Deno.KvEntry<T>>;
  /** Resolves when the record is on disk. */
  set(key: Deno.KvKey, value: unknown): Promise<unknown>;
  /** Begins a commit. */
  atomic(): KvAtomic;
}

/** Changes that are made together, and only if no record that is checked has changed. */
export interface KvAtomic {
  /** Wants the record at `key` to have this version, or, by `null`, not to be there. */
  check(condition: Deno.AtomicCheck): KvAtomic;
  set(key: Deno.KvKey, value: unknown): KvAtomic;
  delete(key: Deno.KvKey): KvAtomic;
  /** Resolves when all changes are on disk; not `ok` when a check failed and none was made. */
  commit(): Promise<{ readonly ok: boolean }>;
}
