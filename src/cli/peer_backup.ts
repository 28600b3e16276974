/** `cairn peer backup` and `cairn peer restore`: a peer's identity and data. */

import { takeBackup } from "../roles/backup/take_backup.ts";
import { backUp, restore } from "./backup_verbs.ts";
import { peerDataDir } from "./data_dir.ts";
import type { Settings } from "./settings.ts";

/** `cairn peer backup FILE`: as the peer is at this moment, whether it listens or not. */
export async function peerBackup(settings: Settings, file: string): Promise<number> {
  const folder = peerDataDir(settings);
  const folders = { store: folder, files: folder };
  return await backUp(settings, file, (passphrase) => takeBackup(folders, passphrase));
}

/** `cairn peer restore FILE`: makes the data folder of a backup. */
export async function peerRestore(settings: Settings, file: string): Promise<number> {
  return await restore(settings, file, "peer", () => peerDataDir(settings));
}
