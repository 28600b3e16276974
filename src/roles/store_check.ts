import { DatabaseSync } from "node:sqlite";
import { equalBytes, utf8 } from "../base/bytes.ts";
import { diskFull } from "./disk_full.ts";
import { freeBytes } from "./disk_space.ts";
import {
  corrupt,
  type Marker,
  ROOM_TO_OPEN,
  statOf,
  STORE_FILE,
  unusable,
} from "./store_record.ts";

/** Above this size only samples are checked: reading all of it would delay the start too long. */
const CHECK_ALL_BELOW = 64 * 1024 * 1024;
/** So many records are looked at from each end of each kind. */
const SAMPLE = 1_000;
/** Deno KV ends the whole process on an integer that has not 8 bytes; cairn stores none. */
const MISENCODED = "(v_encoding NOT IN (1, 2, 3) OR (v_encoding = 2 AND length(v) <> 8))";
const SQLITE_HEADER = utf8("SQLite format 3\0");
/** Result codes of SQLite that speak of the file's contents (sqlite.org/rescode.html). */
const DAMAGE = new Set([11, 26]);
const DISK_FULL = 13;

/**
 * Looks at the store without opening it for writing, since opening an empty file fills it.
 *
 * @throws {CairnError} `data-folder-corrupt` when it is damaged, as far as a look of bounded length
 * tells; `disk-full` when there is no room even to look.
 */
export async function checkStoreFile(
  path: string,
  marker: Marker | undefined,
  checkAllBelow = CHECK_ALL_BELOW,
): Promise<void> {
  const file = `${path}/${STORE_FILE}`;
  const stat = await statOf(file);
  if (stat === undefined || stat.size === 0) {
    if (marker !== undefined) {
      throw corrupt(file, stat === undefined ? "it is missing" : "it is empty");
    }
    return;
  }
  if (!stat.isFile) throw unusable(path, `${STORE_FILE} is not a file`);
  const header = new Uint8Array(SQLITE_HEADER.length);
  using handle = await Deno.open(file);
  await handle.read(header);
  if (!equalBytes(header, SQLITE_HEADER)) throw corrupt(file, "it is not a store");
  let isSound: boolean;
  try {
    const database = new DatabaseSync(file, { readOnly: true });
    try {
      isSound = stat.size > checkAllBelow ? samplesAreSound(database) : allIsSound(database);
    } finally {
      database.close();
    }
  } catch (error) {
    const code = resultCode(error);
    if (code !== undefined && DAMAGE.has(code)) throw corrupt(file, "it is damaged", error);
    if (code === DISK_FULL || await freeBytes(path) < ROOM_TO_OPEN) throw diskFull(error);
    throw unusable(path, `${STORE_FILE} cannot be read`, error);
  }
  if (!isSound) throw corrupt(file, "it is damaged");
}

/**
 * Gives back the space of the log that a killed process left beside a sound store: SQLite writes it
 * into the store when its last user leaves.
 */
export async function foldLog(path: string): Promise<void> {
  const file = `${path}/${STORE_FILE}`;
  if (await statOf(file) === undefined) return;
  try {
    const database = new DatabaseSync(file);
    try {
      database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    } finally {
      database.close();
    }
  } catch {
    // Without room for that either, opening the store says so.
  }
}

/** The primary result code of SQLite in an error of node:sqlite. */
function resultCode(error: unknown): number | undefined {
  const code = error instanceof Error && "errcode" in error ? error.errcode : undefined;
  return typeof code === "number" ? code & 0xff : undefined;
}

function allIsSound(database: DatabaseSync): boolean {
  if (database.prepare("PRAGMA integrity_check(1)").get()?.["integrity_check"] !== "ok") {
    return false;
  }
  if (!hasRecords(database)) return true;
  return database.prepare(`SELECT 1 FROM kv WHERE ${MISENCODED} LIMIT 1`).get() === undefined;
}

/** Both ends of each kind of record; SQLite reports a damaged page on the way by an error. */
function samplesAreSound(database: DatabaseSync): boolean {
  const pages = Number(database.prepare("PRAGMA page_count").get()?.["page_count"]);
  if (!(pages > 0)) return false;
  if (!hasRecords(database)) return true;
  const next = database.prepare("SELECT k FROM kv WHERE k > ? ORDER BY k LIMIT 1");
  const misencoded = (order: "ASC" | "DESC") =>
    database.prepare(
      `SELECT max(${MISENCODED}) AS bad FROM (SELECT v, v_encoding FROM kv ` +
        `WHERE k > ? AND k < ? ORDER BY k ${order} LIMIT ${SAMPLE})`,
    );
  const ends = [misencoded("ASC"), misencoded("DESC")];
  for (let after = new Uint8Array(0);;) {
    const key = next.get(after)?.["k"];
    if (key === undefined) return true;
    if (!(key instanceof Uint8Array)) return false;
    const end = endOfKind(key);
    if (ends.some((sample) => sample.get(after, end)?.["bad"] === 1)) return false;
    after = end;
  }
}

function hasRecords(database: DatabaseSync): boolean {
  return database.prepare("SELECT 1 FROM sqlite_master WHERE name = 'kv'").get() !== undefined;
}

/**
 * Behind all keys that begin with the same texts, at most two. In Deno KV's keys a text is `02`, its
 * bytes, and `00`; nothing that follows is as high as `FF`.
 */
function endOfKind(key: Uint8Array): Uint8Array<ArrayBuffer> {
  let end = 0;
  for (let part = 0; part < 2 && key[end] === 2; part++) {
    const zero = key.indexOf(0, end);
    if (zero < 0) break;
    end = zero + 1;
  }
  const kind = new Uint8Array(end + 1);
  kind.set(key.subarray(0, end));
  kind[end] = 0xff;
  return kind;
}
