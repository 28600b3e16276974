import { fromHex, toHex } from "../base/bytes.ts";
import { CairnError } from "../base/errors.ts";
import type { Host } from "../base/host.ts";
import { copyPath, copyStore, migrateStore, type Migrations } from "./store_migration.ts";
import { isDamage } from "./store_damage.ts";
import { diskFull, isDiskFull, mapDiskFull } from "./disk_full.ts";
import { freeBytes, ReserveFile } from "./disk_space.ts";

/** Which program keeps its data in a folder. */
export type DataFolderKind = "server" | "peer";

/** The format of what this version writes, and the highest one that it reads. */
export const FORMAT_VERSION = 3;
export const META_KEY = ["cairn", "meta"];
export const STORE_FILE = "cairn.kv";
export const MARKER_FILE = "store.json";
/** What opening a store takes at least, its side files included. */
export const ROOM_TO_OPEN = 128 * 1024;
/** The record inside the store. */
export interface StoreRecord {
  readonly kind: DataFolderKind;
  readonly version: number;
  /** Whether all other values are encrypted. */
  readonly sealed?: true;
  /** Stays the same for the life of the folder and of its copies. */
  readonly folderId: Uint8Array;
  readonly storeId: Uint8Array;
  /** Counts openings and closings, here and in the marker: an older store file shows. */
  readonly generation: number;
  /** What file this was when last opened; a copy is another file. */
  readonly file: string | null;
}

/** The record beside the store, which tells an emptied store from a new one. */
export interface Marker {
  readonly kind: DataFolderKind;
  readonly folderId: string;
  readonly generation: number;
}

export async function readMarker(path: string): Promise<Marker | undefined> {
  const file = `${path}/${MARKER_FILE}`;
  let text: string;
  try {
    text = await Deno.readTextFile(file);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw unusable(path, `${MARKER_FILE} cannot be read`, error);
  }
  try {
    const value: Partial<Marker> = JSON.parse(text);
    const { kind, folderId, generation } = value;
    if (
      (kind === "server" || kind === "peer") && typeof folderId === "string" &&
      fromHex(folderId).length === 16 && typeof generation === "number"
    ) return { kind, folderId, generation };
  } catch {
    // Falls through: whatever cannot be read as a marker is damaged.
  }
  throw corrupt(file, "it is damaged");
}

export async function openStoreFile(path: string): Promise<Deno.Kv> {
  const file = `${path}/${STORE_FILE}`;
  try {
    // SQLite gives its side files the mode of the main file, so that is set before it is opened.
    (await Deno.open(file, { create: true, write: true, mode: 0o600 })).close();
    return await Deno.openKv(file);
  } catch (error) {
    const explained = explainStoreFailure(path, error);
    if (explained instanceof CairnError) throw explained;
    // SQLite calls it an I/O error when the file that it maps into memory finds no room.
    if (await freeBytes(path) < ROOM_TO_OPEN) throw diskFull(error);
    throw unusable(path, `${STORE_FILE} cannot be opened for writing`, error);
  }
}

/** Reads the store's record, or writes the first; settles whether the store was restored. */
export async function adoptStore(
  kv: Deno.Kv,
  { path, kind, host, marker, migrations, sealed }: {
    path: string;
    kind: DataFolderKind;
    host: Host;
    marker: Marker | undefined;
    migrations: Migrations;
    /** Whether the values of a store that nobody used before are encrypted. */
    sealed: boolean;
  },
): Promise<{ record: StoreRecord; restored: boolean }> {
  const file = `${path}/${STORE_FILE}`;
  const identity = await fileIdentity(file);
  let found: StoreRecord | null;
  let empty: boolean;
  try {
    found = (await kv.get<StoreRecord>(META_KEY)).value;
    empty = (await kv.list({ prefix: [] }, { limit: 1 }).next()).done === true;
  } catch (error) {
    throw explainStoreFailure(path, error);
  }

  if (found === null) {
    if (marker !== undefined) throw corrupt(file, "it has lost its contents");
    if (!empty) throw unusable(path, `${STORE_FILE} holds the data of another program`);
    const first = firstRecord(kind, host, identity);
    const record: StoreRecord = sealed ? { ...first, sealed } : first;
    await writeStoreRecord(kv, path, record);
    return { record, restored: false };
  }

  requireUsable(found, { kind, path, store: file });
  if (marker !== undefined && marker.folderId !== toHex(found.folderId)) {
    throw corrupt(file, `it belongs to another folder than ${MARKER_FILE} beside it`);
  }
  if (found.version < FORMAT_VERSION) {
    await migrateStore(kv, {
      name: `The data folder ${path}`,
      from: found.version,
      to: FORMAT_VERSION,
      migrations,
      copy: () => copyStore(file, copyPath(file, found.version)),
    });
  }
  const otherFile = found.file !== null && identity !== null && found.file !== identity;
  const older = marker !== undefined && marker.generation !== found.generation;
  const restored = otherFile || older;
  const record: StoreRecord = {
    ...found,
    version: FORMAT_VERSION,
    storeId: restored ? host.random(16) : found.storeId,
    generation: Math.max(found.generation, marker?.generation ?? 0) + 1,
    file: identity,
  };
  try {
    await writeStoreRecord(kv, path, record);
  } catch (error) {
    if (!isDiskFull(error) || !(await new ReserveFile(path).release())) throw error;
    await writeStoreRecord(kv, path, record);
  }
  return { record, restored };
}

/** The record of a store that nobody used before. */
export function firstRecord(kind: DataFolderKind, host: Host, file: string | null): StoreRecord {
  return {
    kind,
    version: FORMAT_VERSION,
    folderId: host.random(16),
    storeId: host.random(16),
    generation: 1,
    file,
  };
}

/** @throws {CairnError} when the record is damaged, of a newer format or of another kind. */
export function requireUsable(
  found: StoreRecord,
  { kind, path, store }: { kind: DataFolderKind; path: string; store: string },
): void {
  if (!isWhole(found)) throw corrupt(store, "it is damaged");
  if (found.version > FORMAT_VERSION) {
    throw unusable(
      path,
      `a newer version of cairn wrote it (format ${found.version}, this one reads up to ` +
        `${FORMAT_VERSION}); update this one, or put the copy back that the update made`,
    );
  }
  if (found.kind !== kind) {
    throw unusable(path, `it belongs to a cairn ${found.kind}; name another folder`);
  }
}

/** A flipped bit may leave a record that can be read and lacks a field. */
function isWhole({ kind, version, folderId, storeId, generation }: Partial<StoreRecord>): boolean {
  return typeof kind === "string" && Number.isSafeInteger(version) &&
    Number.isSafeInteger(generation) &&
    [folderId, storeId].every((id) => id instanceof Uint8Array && id.length === 16);
}

/**
 * Writes the record and the marker beside it, or neither when the disk is full. The record comes
 * first, since a marker without a store would read as a loss; a crash between the two shows at the
 * next opening as a restored store, which is safe.
 */
export async function writeStoreRecord(
  kv: Deno.Kv,
  path: string,
  record: StoreRecord,
): Promise<void> {
  const markerFile = `${path}/${MARKER_FILE}`;
  await writeMarker(`${markerFile}.new`, record);
  await kv.set(META_KEY, record);
  await Deno.rename(`${markerFile}.new`, markerFile);
}

async function writeMarker(path: string, record: StoreRecord): Promise<void> {
  const marker: Marker = {
    kind: record.kind,
    folderId: toHex(record.folderId),
    generation: record.generation,
  };
  const file = await Deno.open(path, {
    create: true,
    write: true,
    truncate: true,
    mode: 0o600,
  });
  try {
    await file.write(new TextEncoder().encode(JSON.stringify(marker) + "\n"));
    await file.sync();
  } finally {
    file.close();
  }
}

/**
 * Names the file itself, not its path. The time of birth tells a copy that happens to get the same
 * inode number on a fresh disk; device numbers may change with a reboot, so they only stand in.
 */
async function fileIdentity(file: string): Promise<string | null> {
  const { ino, dev, birthtime } = await Deno.stat(file);
  if (ino === null) return null;
  return birthtime === null ? `${ino}@${dev}` : `${ino}+${birthtime.getTime()}`;
}

/** Brings a file, or the names in a folder, to the disk. */
export async function syncPath(path: string): Promise<void> {
  using file = await Deno.open(path);
  await file.sync();
}

export async function statOf(file: string): Promise<Deno.FileInfo | undefined> {
  try {
    return await Deno.stat(file);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Says what to do about an error of the store; errors of other kinds unchanged. */
export function explainStoreFailure(path: string, error: unknown): unknown {
  return isDamage(error)
    ? corrupt(`${path}/${STORE_FILE}`, "it is damaged", error)
    : mapDiskFull(error);
}

export function unusable(path: string, why: string, cause?: unknown): CairnError {
  return new CairnError(
    "data-folder-unusable",
    `The data folder ${path} cannot be used: ${why}`,
    { cause },
  );
}

export function corrupt(file: string, why: string, cause?: unknown): CairnError {
  return new CairnError(
    "data-folder-corrupt",
    `Cannot open ${file}: ${why}. Nothing was changed. ` +
      "Restore the folder from a backup, or move it away to start with an empty one",
    { cause },
  );
}
