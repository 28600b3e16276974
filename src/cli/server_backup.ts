/** The verbs of `cairn server` that copy all of it, and make a server of such a copy. */

import { CairnError } from "../base/errors.ts";
import { takeBackup } from "../roles/backup/take_backup.ts";
import { takeLock } from "../roles/data_folder.ts";
import { parseStoreLocation } from "../roles/store_location.ts";
import { backUp, restore } from "./backup_verbs.ts";
import { findServerDataDir, makeServerDataDir } from "./data_dir.ts";
import { ManagementClient } from "./management_client.ts";
import { OPTIONS } from "./options.ts";
import type { Settings } from "./settings.ts";

/** `cairn server backup FILE`: of the running server, or of the data folder of one that is not. */
export async function serverBackup(settings: Settings, file: string): Promise<number> {
  return await backUp(settings, file, (passphrase) => serverBytes(settings, passphrase));
}

/** `cairn server restore FILE`: makes the data folder of a backup. */
export async function serverRestore(settings: Settings, file: string): Promise<number> {
  return await restore(settings, file, "server", () => makeServerDataDir(settings));
}

async function* serverBytes(settings: Settings, passphrase: string): AsyncGenerator<Uint8Array> {
  const files = findServerDataDir(settings);
  const store = storeFolder(settings, files);
  const lock = settings.isSet(OPTIONS.mgmtUrl) ? undefined : await lockIfIdle(store);
  if (lock === undefined) {
    const request = { method: "POST", body: { passphrase } } as const;
    const client = new ManagementClient(settings);
    return yield* client.stream("/backup", "application/octet-stream", request);
  }
  try {
    yield* takeBackup({ store, files }, passphrase);
  } finally {
    lock.close();
  }
}

/** @throws {CairnError} `invalid-option` when the store is elsewhere. */
function storeFolder(settings: Settings, dataDir: string): string {
  const kvUrl = settings.value(OPTIONS.kvUrl);
  const location = kvUrl === undefined ? undefined : parseStoreLocation(kvUrl);
  if (location?.kind !== "remote") return location?.path ?? dataDir;
  throw new CairnError(
    "invalid-option",
    `${settings.howToSet(OPTIONS.kvUrl)}: the store is kept elsewhere, and is backed up there`,
  );
}

/** The lock of a folder that no server uses; `undefined` also where there is none. */
async function lockIfIdle(folder: string): Promise<Deno.FsFile | undefined> {
  try {
    if (!(await Deno.stat(folder)).isDirectory) return undefined;
    return await takeLock(folder);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    if (error instanceof CairnError && error.code === "data-folder-in-use") return undefined;
    throw error;
  }
}
