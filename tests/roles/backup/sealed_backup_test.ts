import { equal, rejects } from "node:assert/strict";
import { systemHost } from "../../../src/base/host.ts";
import { encryptFile } from "../../../src/roles/backup/age_payload.ts";
import { writeArchive } from "../../../src/roles/backup/archive.ts";
import { restoreBackup } from "../../../src/roles/backup/restore_backup.ts";
import { StoreSnapshot } from "../../../src/roles/backup/store_snapshot.ts";
import { takeBackup } from "../../../src/roles/backup/take_backup.ts";
import { verifyBackup } from "../../../src/roles/backup/verify_backup.ts";
import { openDataFolder } from "../../../src/roles/data_folder.ts";
import { loadIdentity } from "../../../src/roles/identity_store.ts";

const PASSPHRASE = "nine green apples in a row";
const STORE_PASSPHRASE = "seven blue plums in a bowl";
const CHEAP = { workFactor: 10 };

Deno.test("The backup of an encrypted store has its key, wherever the store lies", async () => {
  const base = await Deno.makeTempDir({ prefix: "cairn-sealed-backup-" });
  try {
    const folders = { store: `${base}/store`, files: `${base}/files` };
    const [kind, passphrase] = ["server", STORE_PASSPHRASE] as const;
    const folder = await openDataFolder({ path: folders.store, kind, passphrase });
    await loadIdentity(folder.kv, systemHost);
    await folder.kv.set(["text"], "secret");
    await folder.close();
    await Deno.mkdir(folders.files);
    // Another one, of a store that lay here once, must not take its place.
    await Deno.writeTextFile(`${folders.files}/store.key`, "old");
    for (let n = 0; n < 70; n++) await Deno.writeTextFile(`${folders.files}/a${n}`, "");

    const restored = `${base}/restored`;
    const backup = takeBackup(folders, PASSPHRASE, CHEAP);
    await restoreBackup(backup, { passphrase: PASSPHRASE, kind, folder: restored });
    const copy = await openDataFolder({ path: restored, kind, passphrase });
    equal((await copy.kv.get(["text"])).value, "secret");
    await copy.close();

    using snapshot = await StoreSnapshot.open(folders, systemHost);
    const entries = await Array.fromAsync(snapshot.entries());
    const records = entries.filter(({ type }) => type === "record");
    const keyless = () =>
      encryptFile(writeArchive(snapshot.header, ReadableStream.from(records)), PASSPHRASE, {
        host: systemHost,
        ...CHEAP,
      });
    const refusal = { code: "backup-unusable", message: /lacks the store's key \(store\.key\)/ };
    await rejects(verifyBackup(keyless(), PASSPHRASE), refusal);
    const other = `${base}/other`;
    const options = { passphrase: PASSPHRASE, kind, folder: other };
    await rejects(restoreBackup(keyless(), options), refusal);
    await rejects(Deno.stat(other), Deno.errors.NotFound);

    await Deno.remove(`${folders.store}/store.key`);
    await rejects(Array.fromAsync(takeBackup(folders, PASSPHRASE, CHEAP)), {
      code: "data-folder-unusable",
      message: /its key store\.key cannot be read/,
    });
    equal(snapshot.header.peerId, null);
  } finally {
    await Deno.remove(base, { recursive: true });
  }
});
