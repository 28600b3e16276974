/** Reads all of a data folder as it was at one moment, while it goes on being used. */

import { DatabaseSync } from "node:sqlite";
import { setImmediate } from "node:timers/promises";
import { deserialize } from "node:v8";
import { Buffer } from "node:buffer";
import { getLogger } from "@logtape/logtape";
import { concatBytes, utf8 } from "../../base/bytes.ts";
import { CairnError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import { Identity } from "../../protocol/crypto/identity.ts";
import { VERSION } from "../../version.ts";
import { freeBytes } from "../disk_space.ts";
import {
  corrupt,
  explainStoreFailure,
  statOf,
  STORE_FILE,
  type StoreRecord,
  unusable,
} from "../store_record.ts";
import { KEY_FILE } from "../store_seal.ts";
import { type ArchiveEntry, type BackupHeader, isArchived, MAX_FILE_BYTES } from "./archive.ts";

const log = getLogger(["cairn", "backup"]);

/** So much is read before others get a turn. */
const TURN_BYTES = 256 * 1024;
/** How often the room on the disk is looked at. */
const LOOK_BYTES = 16 * 1024 * 1024;
/** While a moment is read, what is written since collects in the store's log. */
const LARGEST_LOG = 64 * 1024 * 1024;
const MAX_FILES = 64;
const META = ["cairn", "meta"];
const IDENTITY = ["identity"];

/** Where a data folder has its parts. */
export interface SnapshotFolders {
  /** Folder of the store, and of its key when it is encrypted. */
  readonly store: string;
  /** Folder of the small files beside it, mostly the same. */
  readonly files: string;
}

/**
 * One moment of a data folder: SQLite shows a reader the state at its first read, whatever is
 * written meanwhile, by this process or another.
 */
export class StoreSnapshot implements Disposable {
  readonly header: BackupHeader;
  readonly #database: DatabaseSync;
  readonly #folders: SnapshotFolders;

  private constructor(database: DatabaseSync, folders: SnapshotFolders, header: BackupHeader) {
    this.#database = database;
    this.#folders = folders;
    this.header = header;
  }

  /** @throws {CairnError} when there is no store, or it is damaged. */
  static async open(folders: SnapshotFolders, host: Host): Promise<StoreSnapshot> {
    const file = `${folders.store}/${STORE_FILE}`;
    if (await statOf(file) === undefined) {
      throw unusable(folders.store, "it holds nothing yet that could be backed up");
    }
    let database: DatabaseSync | undefined;
    try {
      // Not for reading only, for then SQLite could not read the log that a killed process left.
      database = new DatabaseSync(file, { timeout: 5_000 });
      database.exec("PRAGMA query_only = 1; BEGIN");
      return new StoreSnapshot(database, folders, headerOf(database, folders.store, host));
    } catch (error) {
      database?.close();
      throw explainStoreFailure(folders.store, error);
    }
  }

  /** The files, then all records in the order of their keys. */
  async *entries(): AsyncGenerator<ArchiveEntry, void> {
    yield* this.#files();
    try {
      yield* this.#records();
    } catch (error) {
      throw explainStoreFailure(this.#folders.store, error);
    }
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }

  async *#records(): AsyncGenerator<ArchiveEntry, void> {
    const rows = this.#database.prepare("SELECT k, v, v_encoding FROM kv ORDER BY k").iterate();
    let unlooked = 0;
    let turn = 0;
    for (const { k: key, v: value, v_encoding: encoding } of rows) {
      const isRecord = key instanceof Uint8Array && value instanceof Uint8Array &&
        (encoding === 1 || encoding === 2 || encoding === 3);
      if (!isRecord) throw corrupt(`${this.#folders.store}/${STORE_FILE}`, "it is damaged");
      yield { type: "record", key, value, encoding };
      turn += key.length + value.length;
      if (turn < TURN_BYTES) continue;
      unlooked += turn;
      turn = 0;
      await setImmediate();
      if (unlooked < LOOK_BYTES) continue;
      unlooked = 0;
      await this.#requireRoom();
    }
  }

  async *#files(): AsyncGenerator<ArchiveEntry, void> {
    if (this.header.peerId === null) yield await this.#key();
    const folder = this.#folders.files;
    const names = (await Array.fromAsync(Deno.readDir(folder)))
      .filter(({ name, isFile }) => isFile && isArchived(name) && name !== KEY_FILE)
      .map(({ name }) => name).sort();
    for (const [index, name] of names.entries()) {
      const path = `${folder}/${name}`;
      const { size } = await Deno.stat(path);
      if (index < MAX_FILES && size <= MAX_FILE_BYTES) {
        yield { type: "file", name, content: await Deno.readFile(path) };
      } else {log.warn("{path} is not part of the backup: it is too large, or one of too many", {
          path,
        });}
    }
  }

  /** The key of an encrypted store, which lies beside it. @throws {CairnError}. */
  async #key(): Promise<ArchiveEntry> {
    const { store } = this.#folders;
    try {
      return { type: "file", name: KEY_FILE, content: await Deno.readFile(`${store}/${KEY_FILE}`) };
    } catch (cause) {
      throw unusable(
        store,
        `its key ${KEY_FILE} cannot be read; a backup without it could never be read`,
        cause,
      );
    }
  }

  /** @throws {CairnError} `disk-full` when the log grew because of us, and has no more room. */
  async #requireRoom(): Promise<void> {
    const { store } = this.#folders;
    const log = (await statOf(`${store}/${STORE_FILE}-wal`))?.size ?? 0;
    if (log < LARGEST_LOG || await freeBytes(store) > LARGEST_LOG) return;
    throw new CairnError(
      "disk-full",
      "The backup was given up, for what is written meanwhile fills the disk of the data folder: " +
        "free some space, or write the backup to a faster place",
    );
  }
}

function headerOf(database: DatabaseSync, folder: string, host: Host): BackupHeader {
  const read = (key: readonly string[]) => {
    const row = database.prepare("SELECT v FROM kv WHERE k = ?").get(rawKey(key));
    return row?.["v"] instanceof Uint8Array ? deserialized(row["v"], folder) : {};
  };
  const { kind, version: format, sealed }: Partial<StoreRecord> = read(META);
  const { seed }: { seed?: unknown } = sealed ? {} : read(IDENTITY);
  const hasSeed = seed instanceof Uint8Array && seed.length === 32;
  const isWhole = (kind === "server" || kind === "peer") && typeof format === "number" &&
    (sealed || hasSeed);
  if (!isWhole) throw unusable(folder, "it holds no identity that could be backed up");
  return {
    kind,
    format,
    peerId: hasSeed ? Identity.fromSeed(seed).peerId.toString() : null,
    takenAt: host.now(),
    madeBy: VERSION,
  };
}

function deserialized(bytes: Uint8Array, folder: string): object {
  try {
    const value: unknown = deserialize(Buffer.from(bytes));
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch (cause) {
    throw corrupt(`${folder}/${STORE_FILE}`, "it is damaged", cause);
  }
}

/** A key of texts as Deno KV writes it. */
function rawKey(parts: readonly string[]): Uint8Array {
  return concatBytes(
    ...parts.flatMap((part) => [Uint8Array.of(2), utf8(part), Uint8Array.of(0)]),
  );
}
