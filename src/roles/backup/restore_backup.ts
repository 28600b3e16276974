import { toHex, utf8 } from "../../base/bytes.ts";
import { CairnError } from "../../base/errors.ts";
import { type Host, systemHost } from "../../base/host.ts";
import { makeFolder, takeLock } from "../data_folder.ts";
import { mapDiskFull } from "../disk_full.ts";
import {
  type DataFolderKind,
  type Marker,
  statOf,
  STORE_FILE,
  syncPath,
  unusable,
} from "../store_record.ts";
import { MARKER_FILE } from "../store_record.ts";
import { makeSeal } from "../store_seal.ts";
import { unusable as unusableBackup } from "./age_header.ts";
import type { ArchiveEntry, BackupHeader } from "./archive.ts";
import { RestoredStore } from "./restored_store.ts";
import { type BackupSummary, readBackup } from "./verify_backup.ts";

/** Where a store is made before it is put into its place; what is left of it is of no use. */
const WORK = "restoring";
/** What an empty folder may hold: of ours, and of a disk that was made for it. */
const NOTHING = new Set(["lock", WORK, "lost+found"]);

/**
 * Makes the data folder `folder` of a backup. It is put into place when all was read and is on the
 * disk; a folder that holds anything is refused, and stays as it is when this fails. Who opens it
 * finds a restored store: a server gets another store id, so that peers send again what lacks a
 * receipt, and a peer begins new sessions.
 * `storePassphrase` encrypts the store, which was in clear.
 *
 * @throws {CairnError} `backup-unusable`, `data-folder-unusable`, `data-folder-in-use`, `disk-full`.
 */
export async function restoreBackup(
  encrypted: AsyncIterable<Uint8Array>,
  options: {
    readonly passphrase: string;
    readonly kind: DataFolderKind;
    readonly folder: string;
    readonly storePassphrase?: string | undefined;
    readonly host?: Host;
  },
): Promise<BackupSummary> {
  const { folder } = options;
  const existed = await statOf(folder) !== undefined;
  await makeFolder(folder);
  const lock = await takeLock(folder);
  const work = `${folder}/${WORK}`;
  let isDone = false;
  try {
    await requireEmpty(folder);
    await remove(work);
    await Deno.mkdir(work, { mode: 0o700 });
    const summary = await fill(work, encrypted, options);
    await putInPlace(work, folder);
    isDone = true;
    return summary;
  } catch (error) {
    throw mapDiskFull(error);
  } finally {
    await remove(work);
    if (!isDone && !existed) await remove(folder);
    lock.close();
  }
}

async function fill(
  work: string,
  encrypted: AsyncIterable<Uint8Array>,
  { passphrase, kind, storePassphrase, host = systemHost }: Parameters<typeof restoreBackup>[1],
): Promise<BackupSummary> {
  using stack = new DisposableStack();
  let store: RestoredStore | undefined;
  const begin = async (header: BackupHeader) => {
    if (header.kind !== kind) {
      throw unusableBackup(
        `This is the backup of a ${header.kind}: restore it with cairn ${header.kind} restore`,
      );
    }
    const isClear = header.peerId !== null;
    const seal = storePassphrase !== undefined && isClear
      ? await makeSeal(work, storePassphrase, host)
      : undefined;
    store = stack.use(await RestoredStore.create(work, seal));
  };
  const take = async (entry: ArchiveEntry) => {
    if (entry.type === "record") store?.add(entry);
    else await writeFile(`${work}/${entry.name}`, entry.content);
  };
  const summary = await readBackup(encrypted, passphrase, begin, take);
  if (store === undefined) throw new Error("A backup without a beginning");
  const { folderId, generation } = await store.finish(kind);
  // Another generation than the store's own says that it was restored, whatever the file's name is.
  const marker: Marker = { kind, folderId: toHex(folderId), generation: generation + 1 };
  await writeFile(`${work}/${MARKER_FILE}`, utf8(`${JSON.stringify(marker)}\n`));
  return summary;
}

/** The store comes last: a marker without it is refused, and not taken for a folder of its own. */
async function putInPlace(work: string, folder: string): Promise<void> {
  await syncPath(`${work}/${STORE_FILE}`);
  await syncPath(work);
  const names = (await Array.fromAsync(Deno.readDir(work))).map(({ name }) => name);
  const others = names.filter((name) => name !== MARKER_FILE && name !== STORE_FILE);
  const moved: string[] = [];
  try {
    for (const name of [MARKER_FILE, ...others, STORE_FILE]) {
      await Deno.rename(`${work}/${name}`, `${folder}/${name}`);
      moved.push(`${folder}/${name}`);
    }
    await Deno.chmod(folder, 0o700).catch(() => {
      // A folder of somebody else's, which was handed to us to write in.
    });
    await syncPath(folder);
  } catch (error) {
    for (const path of moved.reverse()) await remove(path);
    throw error;
  }
}

async function requireEmpty(folder: string): Promise<void> {
  for await (const { name } of Deno.readDir(folder)) {
    if (NOTHING.has(name)) continue;
    throw unusable(
      folder,
      `it is not empty (it holds ${name}); a backup is only restored into an empty folder`,
    );
  }
}

async function writeFile(path: string, content: Uint8Array): Promise<void> {
  await Deno.writeFile(path, content, { createNew: true, mode: 0o600 });
  await syncPath(path);
}

async function remove(path: string): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) {
      throw new CairnError("data-folder-unusable", `Cannot remove ${path}`, { cause: error });
    }
  }
}
