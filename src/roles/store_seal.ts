import { concatBytes } from "../base/bytes.ts";
import { CairnError } from "../base/errors.ts";
import type { Host } from "../base/host.ts";
import { requirePassphrase } from "./backup/age_header.ts";
import { decryptFile, encryptFile } from "./backup/age_payload.ts";
import {
  explainStoreFailure,
  META_KEY,
  statOf,
  type StoreRecord,
  syncPath,
  unusable,
} from "./store_record.ts";
import { ValueSeal } from "./value_seal.ts";

/** The key of the values in a store, encrypted with its passphrase. */
export const KEY_FILE = "store.key";
const KEY_BYTES = 32;

/**
 * What encrypts the values of the store in `folder`, when they are encrypted; makes the key of a
 * store that nobody used before. `undefined` for a store in clear.
 *
 * @throws {CairnError} `data-folder-unusable` when passphrase and store do not go together,
 * `invalid-option` for a short passphrase.
 */
export async function openSeal(
  kv: Deno.Kv,
  { folder, passphrase, host }: { folder: string; passphrase: string | undefined; host: Host },
): Promise<ValueSeal | undefined> {
  const found = await readRecord(kv, folder);
  if (found === null) {
    // Never replaced: it may be the key of a store that was moved away, or of one begun just before.
    const hasKey = await statOf(`${folder}/${KEY_FILE}`) !== undefined;
    if (!hasKey) {
      return passphrase === undefined ? undefined : await makeSeal(folder, passphrase, host);
    }
    if (passphrase !== undefined) return await readSeal(folder, passphrase, host);
    throw unusable(
      folder,
      `it holds the key of an encrypted store (${KEY_FILE}), but no such store: put the store back, ` +
        "or name another folder",
    );
  }
  if (!found.sealed) {
    if (passphrase === undefined) return undefined;
    throw unusable(
      folder,
      "it is not encrypted, and a passphrase for it is given (CAIRN_STORE_PASSPHRASE): to encrypt it, " +
        "make a backup and restore that with this passphrase into another folder",
    );
  }
  if (passphrase === undefined) {
    throw unusable(folder, "it is encrypted: give its passphrase in CAIRN_STORE_PASSPHRASE");
  }
  return await readSeal(folder, passphrase, host);
}

async function readSeal(folder: string, passphrase: string, host: Host): Promise<ValueSeal> {
  const file = `${folder}/${KEY_FILE}`;
  let encrypted: Uint8Array;
  try {
    encrypted = await Deno.readFile(file);
  } catch (cause) {
    throw unusable(folder, `its key ${KEY_FILE} cannot be read; without it nothing can`, cause);
  }
  try {
    const key = concatBytes(...await Array.fromAsync(decryptFile(pieces(encrypted), passphrase)));
    return new ValueSeal(key, host);
  } catch (cause) {
    throw unusable(
      folder,
      `the passphrase (CAIRN_STORE_PASSPHRASE) does not open its key, or ${KEY_FILE} is damaged`,
      cause,
    );
  }
}

/** Makes the key of a store that has none; it is on the disk when this resolves. */
export async function makeSeal(folder: string, passphrase: string, host: Host): Promise<ValueSeal> {
  requirePassphrase(passphrase);
  const key = host.random(KEY_BYTES);
  const parts = await Array.fromAsync(encryptFile(pieces(key), passphrase, { host }));
  const file = `${folder}/${KEY_FILE}`;
  try {
    await Deno.writeFile(`${file}.new`, concatBytes(...parts), { mode: 0o600 });
    await syncPath(`${file}.new`);
    await Deno.rename(`${file}.new`, file);
    await syncPath(folder);
  } catch (cause) {
    throw new CairnError("data-folder-unusable", `Cannot write ${file}`, { cause });
  }
  return new ValueSeal(key, host);
}

async function readRecord(kv: Deno.Kv, folder: string): Promise<StoreRecord | null> {
  try {
    return (await kv.get<StoreRecord>(META_KEY)).value;
  } catch (error) {
    throw explainStoreFailure(folder, error);
  }
}

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}
