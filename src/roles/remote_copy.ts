import { GroupCommit } from "./group_commit.ts";
import { mapDiskFull } from "./disk_full.ts";
import { META_KEY } from "./store_record.ts";
import { copyStore, exists } from "./store_migration.ts";

/** What names no file: a folder with this copy in it is taken for a restored one. */
const NO_FILE = "copied from elsewhere";
const RECORDS_AT_ONCE = 1_000;

/**
 * Copies a store that a server keeps into the file `path`, which a data folder can have as its
 * store, unless it is there already.
 *
 * @throws {CairnError} `disk-full` without room for it.
 */
export async function copyRemoteStore(kv: Deno.Kv, path: string): Promise<string> {
  if (await exists(path)) return path;
  const gathered = `${path}.gathered`;
  await removeFile(gathered);
  try {
    await gather(kv, gathered);
    return await copyStore(gathered, path);
  } catch (error) {
    throw mapDiskFull(error);
  } finally {
    await removeFile(gathered);
  }
}

async function gather(kv: Deno.Kv, file: string): Promise<void> {
  (await Deno.open(file, { createNew: true, write: true, mode: 0o600 })).close();
  using into = await Deno.openKv(file);
  const commit = new GroupCommit(into);
  let writing: Promise<void>[] = [];
  try {
    for await (const { key, value } of kv.list<unknown>({ prefix: [] }, { batchSize: 500 })) {
      const isMeta = key.length === META_KEY.length && META_KEY.every((part, i) => part === key[i]);
      const copied = isMeta ? { ...Object(value), file: NO_FILE } : value;
      const written = commit.commit([{ type: "set", key, value: copied }]);
      // It may fail while the list is read; whoever awaits it below hears of that.
      written.catch(() => {});
      writing.push(written);
      if (writing.length < RECORDS_AT_ONCE) continue;
      await Promise.all(writing);
      writing = [];
    }
    await Promise.all(writing);
  } finally {
    await Promise.allSettled(writing);
    await commit.close();
  }
}

/** With what SQLite keeps beside it. */
async function removeFile(file: string): Promise<void> {
  for (const path of [file, `${file}-wal`, `${file}-shm`, `${file}-journal`]) {
    await Deno.remove(path).catch((error) => {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    });
  }
}
