/// <reference lib="dom" />
import { concatBytes } from "../base/bytes.ts";
import { CairnError } from "../base/errors.ts";
import { deleted, mapQuota, openingFailure, unusable, usedByLater } from "./indexed_db_errors.ts";
import { keyBytes } from "./kv_key_bytes.ts";
import type { KvAtomic, KvStore } from "./kv_store.ts";

/** IndexedDB's version of the database: what object stores are in it, and the form of records. */
const VERSION = 1;
const RECORDS = "records";
const COUNTERS = "counters";
const COMMITS = "commits";
const BATCH = 100;
/** Above the type of any part of a key. */
const END_OF_PREFIX = Uint8Array.of(0xff);

interface StoredRecord<T> {
  readonly key: Deno.KvKey;
  readonly value: T;
  readonly versionstamp: string;
}

type Change =
  | { readonly type: "set"; readonly key: Deno.KvKey; readonly value: unknown }
  | { readonly type: "delete"; readonly key: Deno.KvKey };

/**
 * Records in a database of the browser (IndexedDB 3.0). A commit is one transaction of strict
 * durability: the browser reports it complete when the operating system has it on the disk. Keys
 * are the bytes that Deno KV makes of them, so that lists have the same order.
 *
 * A commit rejects with a {@linkcode CairnError} `disk-full` when the browser gives no more room.
 */
export class IndexedDbStore implements KvStore {
  readonly #database: IDBDatabase;
  readonly #lost = Promise.withResolvers<CairnError>();
  /** What every call is refused with. */
  #ended: CairnError | undefined;

  private constructor(database: IDBDatabase) {
    this.#database = database;
    // Whoever deletes the database or brings a later form of it waits for this.
    database.onversionchange = ({ newVersion }) =>
      this.giveUp(newVersion === null ? deleted(database.name) : usedByLater(database.name));
    // Of a connection that this side closes there is no such event.
    database.onclose = () => this.giveUp(deleted(database.name));
  }

  /**
   * @throws {CairnError} `data-folder-unusable` when the browser does not give it; `disk-full` when
   * it has no room to open it.
   */
  static async open(name: string): Promise<IndexedDbStore> {
    let database: IDBDatabase;
    try {
      const request = indexedDB.open(name, VERSION);
      request.onupgradeneeded = () => {
        request.result.createObjectStore(RECORDS);
        request.result.createObjectStore(COUNTERS);
      };
      database = await answerOf(request);
    } catch (cause) {
      throw openingFailure(name, cause);
    }
    const tables = database.objectStoreNames;
    if (tables.contains(RECORDS) && tables.contains(COUNTERS)) return new IndexedDbStore(database);
    database.close();
    throw unusable(name, "it holds the data of another program; give the peer another name");
  }

  /** Resolves with the reason when the store has ended and nobody here has closed it. */
  get lost(): Promise<CairnError> {
    return this.#lost.promise;
  }

  /** Ends it at once, for a reason that every later call is refused with. */
  giveUp(reason: CairnError): void {
    if (this.#ended) return;
    this.#ended = reason;
    this.#database.close();
    this.#lost.resolve(reason);
  }

  async get<T>(key: Deno.KvKey): Promise<Deno.KvEntryMaybe<T>> {
    const found: StoredRecord<T> | undefined = await answerOf(
      this.#reader().get(keyBytes(key)),
    );
    return found ?? { key, value: null, versionstamp: null };
  }

  async *list<T>(
    selector: Deno.KvListSelector,
    { limit = Infinity, reverse = false, batchSize = BATCH }: Deno.KvListOptions = {},
  ): AsyncGenerator<Deno.KvEntry<T>> {
    let [low, high] = boundsOf(selector);
    let lowIsOpen = !("start" in selector);
    for (let left = limit; left > 0;) {
      if (indexedDB.cmp(low, high) >= 0) return;
      const range = IDBKeyRange.bound(low, high, lowIsOpen, true);
      const count = Math.min(left, batchSize);
      const batch: StoredRecord<T>[] = reverse
        ? await readBackwards(this.#reader(), range, count)
        : await answerOf(this.#reader().getAll(range, count));
      yield* batch;
      const last = batch.at(-1);
      if (last === undefined || batch.length < count) return;
      left -= batch.length;
      if (reverse) high = keyBytes(last.key);
      else {
        low = keyBytes(last.key);
        lowIsOpen = true;
      }
    }
  }

  async set(key: Deno.KvKey, value: unknown): Promise<void> {
    await this.atomic().set(key, value).commit();
  }

  atomic(): KvAtomic {
    const checks: Deno.AtomicCheck[] = [];
    const changes: Change[] = [];
    const atomic: KvAtomic = {
      check(condition) {
        checks.push(condition);
        return atomic;
      },
      set(key, value) {
        changes.push({ type: "set", key, value });
        return atomic;
      },
      delete(key) {
        changes.push({ type: "delete", key });
        return atomic;
      },
      commit: async () => ({ ok: await this.#commit(checks, changes) }),
    };
    return atomic;
  }

  close(): void {
    this.#ended ??= new CairnError("closed", "The browser's database is closed");
    this.#database.close();
  }

  #reader(): IDBObjectStore {
    return this.#begin([RECORDS], "readonly").objectStore(RECORDS);
  }

  #begin(
    tables: readonly string[],
    mode: IDBTransactionMode,
    options: IDBTransactionOptions = {},
  ): IDBTransaction {
    if (this.#ended) throw this.#ended;
    try {
      return this.#database.transaction([...tables], mode, options);
    } catch (cause) {
      // The browser has closed it; the event that tells so is yet to come.
      throw deleted(this.#database.name, cause);
    }
  }

  /** Whether the checks held and the changes are on disk. */
  async #commit(checks: readonly Deno.AtomicCheck[], changes: readonly Change[]): Promise<boolean> {
    const transaction = this.#begin([RECORDS, COUNTERS], "readwrite", { durability: "strict" });
    const complete = completionOf(transaction);
    try {
      const isAsChecked = await makeChanges(transaction, checks, changes);
      if (isAsChecked) await complete;
      else transaction.abort();
      return isAsChecked;
    } catch (error) {
      // What failed while changes were made would else leave those before it.
      if (transaction.error === null) abort(transaction);
      await complete.catch(() => {});
      throw this.#ended ?? mapQuota(transaction.error ?? error);
    }
  }
}

/** False, and nothing is changed, when a record has another version than is checked for. */
async function makeChanges(
  transaction: IDBTransaction,
  checks: readonly Deno.AtomicCheck[],
  changes: readonly Change[],
): Promise<boolean> {
  const records = transaction.objectStore(RECORDS);
  const counters = transaction.objectStore(COUNTERS);
  const [commits, ...found]: [number | undefined, ...(StoredRecord<unknown> | undefined)[]] =
    await Promise.all([
      answerOf(counters.get(COMMITS)),
      ...checks.map(({ key }) => answerOf(records.get(keyBytes(key)))),
    ]);
  const isAsChecked = checks.every(({ versionstamp }, index) =>
    (found[index]?.versionstamp ?? null) === versionstamp
  );
  if (!isAsChecked) return false;
  const commit = (commits ?? 0) + 1;
  const versionstamp = commit.toString(16).padStart(20, "0");
  // A browser that has no more room takes a commit only if there is nothing in it to put.
  if (changes.some(({ type }) => type === "set")) counters.put(commit, COMMITS);
  for (const change of changes) {
    const { key } = change;
    if (change.type === "delete") records.delete(keyBytes(key));
    else records.put({ key, value: change.value, versionstamp }, keyBytes(key));
  }
  return true;
}

/** The first key that a selector means or, without `start`, the one before; and the one beyond. */
function boundsOf(selector: Deno.KvListSelector): [Uint8Array, Uint8Array] {
  const prefix = "prefix" in selector ? keyBytes(selector.prefix) : undefined;
  return [
    "start" in selector ? keyBytes(selector.start) : prefix ?? new Uint8Array(),
    "end" in selector
      ? keyBytes(selector.end)
      : concatBytes(prefix ?? new Uint8Array(), END_OF_PREFIX),
  ];
}

function readBackwards<T>(
  records: IDBObjectStore,
  range: IDBKeyRange,
  count: number,
): Promise<StoredRecord<T>[]> {
  const { promise, resolve, reject } = Promise.withResolvers<StoredRecord<T>[]>();
  const found: StoredRecord<T>[] = [];
  const request = records.openCursor(range, "prev");
  request.onsuccess = () => {
    const cursor = request.result;
    if (!cursor) return resolve(found);
    found.push(cursor.value);
    if (found.length === count) resolve(found);
    else cursor.continue();
  };
  request.onerror = () => reject(request.error);
  return promise;
}

function answerOf<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Resolves when the transaction is on disk, rejects when nothing of it will be. */
function completionOf(transaction: IDBTransaction): Promise<void> {
  const completion = Promise.withResolvers<void>();
  // Whoever aborts it does not wait.
  completion.promise.catch(() => {});
  transaction.oncomplete = () => completion.resolve();
  transaction.onabort = () =>
    completion.reject(transaction.error ?? new Error("The commit was given up"));
  return completion.promise;
}

function abort(transaction: IDBTransaction): void {
  try {
    transaction.abort();
  } catch {
    // It has ended by itself.
  }
}
