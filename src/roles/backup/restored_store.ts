import { DatabaseSync } from "node:sqlite";
import { equalBytes } from "../../base/bytes.ts";
import { keyBytes } from "../kv_key_bytes.ts";
import { sealStored } from "../sealed_kv.ts";
import type { ValueSeal } from "../value_seal.ts";
import type { DataFolderKind, StoreRecord } from "../store_record.ts";
import { META_KEY, requireUsable, STORE_FILE } from "../store_record.ts";
import type { ArchiveEntry } from "./archive.ts";

/** Where keys of records begin that are never encrypted. */
const CLEAR = keyBytes(META_KEY.slice(0, 1));
/** Records go into the store in transactions of so many bytes. */
const STEP_BYTES = 8 * 1024 * 1024;

/** Deno KV's encoding of bytes. */
const BYTES = 3;

type RecordEntry = Extract<ArchiveEntry, { type: "record" }>;

/** A store that is filled with the records of a backup. Nobody else may have it open. */
export class RestoredStore implements Disposable {
  readonly #folder: string;
  readonly #database: DatabaseSync;
  readonly #insert: ReturnType<DatabaseSync["prepare"]>;
  readonly #seal: ValueSeal | undefined;
  #step = 0;
  #isOpen = true;

  private constructor(folder: string, database: DatabaseSync, seal: ValueSeal | undefined) {
    this.#folder = folder;
    this.#database = database;
    this.#seal = seal;
    // Nothing that could be lost: a restoring that was cut short begins again.
    database.exec("PRAGMA journal_mode = DELETE; PRAGMA journal_mode = OFF");
    database.exec("PRAGMA synchronous = OFF; BEGIN");
    this.#insert = database.prepare(
      "INSERT INTO kv (k, v, v_encoding, version, seq, expiration_ms) VALUES (?, ?, ?, 1, 0, -1)",
    );
  }

  /** An empty store in `folder`, mode 0600, as this version of Deno makes one; `seal` encrypts it. */
  static async create(folder: string, seal?: ValueSeal): Promise<RestoredStore> {
    const file = `${folder}/${STORE_FILE}`;
    (await Deno.open(file, { createNew: true, write: true, mode: 0o600 })).close();
    (await Deno.openKv(file)).close();
    return new RestoredStore(folder, new DatabaseSync(file), seal);
  }

  add(entry: RecordEntry): void {
    const { key, value, encoding } = this.#sealed(entry);
    this.#insert.run(key, value, encoding);
    this.#step += key.length + value.length;
    if (this.#step < STEP_BYTES) return;
    this.#database.exec("COMMIT; BEGIN");
    this.#step = 0;
  }

  #sealed(entry: RecordEntry): Omit<RecordEntry, "type"> {
    const isClear = equalBytes(entry.key.subarray(0, CLEAR.length), CLEAR);
    if (!this.#seal || isClear) return entry;
    return { key: entry.key, value: sealStored(this.#seal, entry), encoding: BYTES };
  }

  /**
   * Ends the filling. Returns what the store says of itself.
   * @throws {CairnError} when it is not the store of a `kind` that this version can open.
   */
  async finish(kind: DataFolderKind): Promise<StoreRecord> {
    this.#database.exec("COMMIT");
    this[Symbol.dispose]();
    const store = `${this.#folder}/${STORE_FILE}`;
    using kv = await Deno.openKv(store);
    const { value } = await kv.get<StoreRecord>(META_KEY);
    if (value === null) throw new Error("The backup holds a store without a record of itself");
    requireUsable(value, { kind, path: this.#folder, store });
    if (this.#seal) await kv.set(META_KEY, { ...value, sealed: true } satisfies StoreRecord);
    return value;
  }

  [Symbol.dispose](): void {
    if (this.#isOpen) this.#database.close();
    this.#isOpen = false;
  }
}
