import { getLogger } from "@logtape/logtape";
import { CairnError } from "../base/errors.ts";
import { type Host, systemHost } from "../base/host.ts";
import { mapDiskFull } from "./disk_full.ts";
import { type DiskReserve, freeBytes, ReserveFile } from "./disk_space.ts";
import { checkStoreFile, foldLog } from "./store_check.ts";
import {
  adoptStore,
  type DataFolderKind,
  openStoreFile,
  readMarker,
  ROOM_TO_OPEN,
  type StoreRecord,
  unusable,
  writeStoreRecord,
} from "./store_record.ts";
import { sealedKv } from "./sealed_kv.ts";
import type { Migrations } from "./store_migration.ts";
import { openSeal } from "./store_seal.ts";

export type { DataFolderKind };

const log = getLogger(["cairn", "data-folder"]);

/** An open data folder; this process is its only owner until {@linkcode DataFolder.close}. */
export interface DataFolder {
  readonly path: string;
  /** Whether somebody else keeps the store, and `path` only what is beside it. */
  readonly isRemote: boolean;
  readonly kv: Deno.Kv;
  /** 16 random bytes; another value after the folder was restored or copied. */
  readonly storeId: Uint8Array;
  /** Whether this opening found the store restored from a backup, or copied. */
  readonly restored: boolean;
  readonly reserve: DiskReserve;
  /** Rejects when another server has taken the store over; a store in a file cannot be. */
  readonly lost?: Promise<never>;
  /** Bytes the disk can still take; `Infinity` where the system does not say. */
  freeBytes(): Promise<number>;
  /** Closes the store and frees the lock. Does nothing the second time. */
  close(): Promise<void>;
}

/**
 * Opens the data folder at `path`, creating it (mode 0700) when absent.
 *
 * @throws {CairnError} `data-folder-in-use` while another process has it; `data-folder-unusable`
 * when it cannot be written, is of another kind, of a newer format, of an older one from which
 * `migrations` do not lead here, or does not go with `passphrase`; `data-folder-corrupt` when a
 * file in it is damaged or missing (nothing is changed then); `disk-full`.
 */
export async function openDataFolder(
  options: {
    path: string;
    kind: DataFolderKind;
    host?: Host;
    migrations?: Migrations;
    /** Of a store whose values are encrypted; one that nobody used before becomes such a store. */
    passphrase?: string | undefined;
  },
): Promise<DataFolder> {
  const { path, kind, host = systemHost, migrations = new Map(), passphrase } = options;
  await makeFolder(path);
  const lock = await takeLock(path);
  let kv: Deno.Kv | undefined;
  try {
    const reserve = new ReserveFile(path);
    // Looking at a store takes room, too, and without any a sound one seems damaged.
    if (await freeBytes(path) < ROOM_TO_OPEN) await reserve.release();
    const marker = await readMarker(path);
    await checkStoreFile(path, marker);
    if (await freeBytes(path) < ROOM_TO_OPEN) await foldLog(path);
    kv = await openStoreFile(path);
    const seal = await openSeal(kv, { folder: path, passphrase, host });
    if (seal) kv = sealedKv(kv, seal);
    const sealed = seal !== undefined;
    const facts = { path, kind, host, marker, migrations, sealed };
    const { record, restored } = await adoptStore(kv, facts);
    await reserve.refill();
    if (restored) {
      log.warn("The store in {path} was restored or copied; it continues under a new store id", {
        path,
      });
    }
    return new OpenFolder(path, kv, lock, reserve, record, restored);
  } catch (error) {
    kv?.close();
    lock.close();
    throw mapDiskFull(error);
  }
}

class OpenFolder implements DataFolder {
  readonly isRemote = false;
  readonly path: string;
  readonly kv: Deno.Kv;
  readonly restored: boolean;
  readonly reserve: DiskReserve;
  readonly #lock: Deno.FsFile;
  readonly #record: StoreRecord;
  #closed = false;

  constructor(
    path: string,
    kv: Deno.Kv,
    lock: Deno.FsFile,
    reserve: DiskReserve,
    record: StoreRecord,
    restored: boolean,
  ) {
    this.path = path;
    this.kv = kv;
    this.#lock = lock;
    this.reserve = reserve;
    this.#record = record;
    this.restored = restored;
  }

  get storeId(): Uint8Array {
    return this.#record.storeId;
  }

  freeBytes(): Promise<number> {
    return freeBytes(this.path);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      await writeStoreRecord(this.kv, this.path, {
        ...this.#record,
        generation: this.#record.generation + 1,
      });
    } catch (error) {
      log.warn("The data folder was closed without its last record: {error}", { error });
    } finally {
      this.kv.close();
      this.#lock.close();
    }
  }
}

/** Makes the folder, mode 0700, when it is not there. */
export async function makeFolder(path: string): Promise<void> {
  try {
    await Deno.mkdir(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw unusable(
      path,
      "it cannot be created; is it a file, or is its parent not writable?",
      error,
    );
  }
}

/** Locks the folder for this process until the file is closed. */
export async function takeLock(path: string): Promise<Deno.FsFile> {
  let file: Deno.FsFile;
  try {
    file = await Deno.open(`${path}/lock`, { create: true, write: true, mode: 0o600 });
  } catch (error) {
    throw unusable(path, "this user cannot write to it; give it to the user who runs cairn", error);
  }
  if (await file.tryLock(true)) return file;
  file.close();
  throw new CairnError(
    "data-folder-in-use",
    `The data folder ${path} is in use by another cairn process: stop that one or name another folder`,
  );
}
