/** What `backup` and `restore` do, whether of a server or of a peer. */

import { requirePassphrase } from "../roles/backup/age_header.ts";
import { restoreBackup } from "../roles/backup/restore_backup.ts";
import { type BackupSummary, verifyBackup } from "../roles/backup/verify_backup.ts";
import type { DataFolderKind } from "../roles/store_record.ts";
import { readingFrom, writingTo } from "./backup_output.ts";
import { OPTIONS } from "./options.ts";
import { readPassphrase } from "./passphrase.ts";
import type { Settings } from "./settings.ts";
import { printLine, writeToStandardError } from "./standard_output.ts";

/** Writes what `bytes` makes to `file`, and checks it on the way. */
export async function backUp(
  settings: Settings,
  file: string,
  bytes: (passphrase: string) => AsyncIterable<Uint8Array>,
): Promise<number> {
  const passphrase = await readPassphrase(settings, { twice: true, isInputTaken: false });
  requirePassphrase(passphrase);
  const summary = await writingTo(
    file,
    { isText: false },
    (passage) => verifyBackup(passage(bytes(passphrase)), passphrase),
  );
  const said = `Backup of ${describe(summary)}`;
  if (file === "-") writeToStandardError(`${said}\n`);
  else await printLine(`${said}, in ${file}`);
  return 0;
}

/** Makes the data folder that `folder` names of the backup in `file`, or only checks it. */
export async function restore(
  settings: Settings,
  file: string,
  kind: DataFolderKind,
  folder: () => string,
): Promise<number> {
  const passphrase = await readPassphrase(settings, { twice: false, isInputTaken: file === "-" });
  if (settings.value(OPTIONS.restoreVerify)) {
    await printLine(
      `Whole and right: ${describe(await verifyBackup(readingFrom(file), passphrase))}`,
    );
    return 0;
  }
  const path = folder();
  const storePassphrase = settings.value(OPTIONS.storePassphrase);
  const target = { passphrase, kind, folder: path, storePassphrase };
  const summary = await restoreBackup(readingFrom(file), target);
  await printLine(`Restored ${describe(summary)}, in ${path}`);
  return 0;
}

function describe({ kind, peerId, takenAt, format, records }: BackupSummary): string {
  const at = `${new Date(takenAt).toISOString().slice(0, 19)}Z`;
  return `${kind} ${
    peerId ?? "(encrypted)"
  } as of ${at} (store format ${format}, ${records} records)`;
}
