import { systemHost } from "../../base/host.ts";
import { type EncryptionOptions, requirePassphrase } from "./age_header.ts";
import { encryptFile } from "./age_payload.ts";
import { writeArchive } from "./archive.ts";
import { type SnapshotFolders, StoreSnapshot } from "./store_snapshot.ts";

/**
 * The bytes of a backup of a data folder, encrypted with `passphrase`, as the folder was at the
 * first call of `next`. Memory stays small whatever the size. End it early with `return`.
 *
 * @throws {CairnError} `invalid-option` for a short passphrase; what is wrong with the folder.
 */
export async function* takeBackup(
  folders: SnapshotFolders,
  passphrase: string,
  { host = systemHost, ...cost }: Partial<EncryptionOptions> = {},
): AsyncGenerator<Uint8Array, void> {
  requirePassphrase(passphrase);
  using snapshot = await StoreSnapshot.open(folders, host);
  yield* encryptFile(writeArchive(snapshot.header, snapshot.entries()), passphrase, {
    host,
    ...cost,
  });
}
