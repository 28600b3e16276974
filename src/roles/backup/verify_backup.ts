import { FORMAT_VERSION } from "../store_record.ts";
import { KEY_FILE } from "../store_seal.ts";
import { unusable } from "./age_header.ts";
import { decryptFile } from "./age_payload.ts";
import { type ArchiveEntry, ArchiveReader, type BackupHeader } from "./archive.ts";
import { ByteReader } from "./byte_reader.ts";

/** What was found in a backup. */
export interface BackupSummary extends BackupHeader {
  readonly records: number;
  readonly files: number;
}

/**
 * Reads all of a backup and changes nothing. What it holds is authentic and complete when this
 * resolves.
 *
 * @throws {CairnError} `backup-unusable`, with the reason.
 */
export async function verifyBackup(
  encrypted: AsyncIterable<Uint8Array>,
  passphrase: string,
): Promise<BackupSummary> {
  return await readBackup(encrypted, passphrase, () => {}, () => {});
}

/** Reads all of a backup; `begin` may refuse it, and `take` is called with each entry. */
export async function readBackup(
  encrypted: AsyncIterable<Uint8Array>,
  passphrase: string,
  begin: (header: BackupHeader) => void | Promise<void>,
  take: (entry: ArchiveEntry) => void | Promise<void>,
): Promise<BackupSummary> {
  const reader = new ByteReader(decryptFile(encrypted, passphrase));
  try {
    const archive = await ArchiveReader.open(reader);
    const { header } = archive;
    if (header.format > FORMAT_VERSION) {
      throw unusable(
        `A newer version of cairn made the backup (format ${header.format}, this one reads up to ` +
          `${FORMAT_VERSION}): update this one`,
      );
    }
    await begin(header);
    let hasKey = false;
    for await (const entry of archive.entries()) {
      hasKey ||= entry.type === "file" && entry.name === KEY_FILE;
      await take(entry);
    }
    if (header.peerId === null && !hasKey) {
      throw unusable(
        `This backup of an encrypted store lacks the store's key (${KEY_FILE}), without which ` +
          "nothing in it can be read: use another backup",
      );
    }
    return { ...header, ...archive.count };
  } finally {
    await reader.close();
  }
}
