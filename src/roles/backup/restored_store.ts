import { DatabaseSync } from "node:sqlite";
import type { DataFolderKind, StoreRecord } from "../store_record.ts";
import { META_KEY, requireUsable, STORE_FILE } from "../store_record.ts";
import type { ArchiveEntry } from "./archive.ts";

/** Records go into the store in transactions of so many bytes. */
const STEP_BYTES = 8 * 1024 * 1024;

type RecordEntry = Extract<ArchiveEntry, { type: "record" }>;

/** A store that is filled with the records of a backup. Nobody else may have it open. */
export class RestoredStore implements Disposable {
  readonly #folder: string;
  readonly #database: DatabaseSync;
  readonly #insert: ReturnType<DatabaseSync["prepare"]>;
  #step = 0;
  #isOpen = true;

  private constructor(folder: string, database: DatabaseSync) {
    this.#folder = folder;
    this.#database = database;
    // Nothing that could be lost: a restoring that was cut short begins again.
    database.exec("PRAGMA journal_mode = DELETE; PRAGMA journal_mode = OFF");
    database.exec("PRAGMA synchronous = OFF; BEGIN");
    this.#insert = database.prepare(
      "INSERT INTO kv (k, v, v_encoding, version, seq, expiration_ms) VALUES (?, ?, ?, 1, 0, -1)",
    );
  }

  /** An empty store in `folder`, mode 0600, as this version of Deno makes one. */
  static async create(folder: string): Promise<RestoredStore> {
    const file = `${folder}/${STORE_FILE}`;
    (await Deno.open(file, { createNew: true, write: true, mode: 0o600 })).close();
    (await Deno.openKv(file)).close();
    return new RestoredStore(folder, new DatabaseSync(file));
  }

  add({ key, value, encoding }: RecordEntry): void {
    this.#insert.run(key, value, encoding);
    this.#step += key.length + value.length;
    if (this.#step < STEP_BYTES) return;
    this.#database.exec("COMMIT; BEGIN");
    this.#step = 0;
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
    return value;
  }

  [Symbol.dispose](): void {
    if (this.#isOpen) this.#database.close();
    this.#isOpen = false;
  }
}
