import { deepEqual, equal, notDeepEqual, ok, rejects } from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { setImmediate } from "node:timers/promises";
import { concatBytes } from "../../../src/base/bytes.ts";
import { systemHost } from "../../../src/base/host.ts";
import { encryptFile } from "../../../src/roles/backup/age_payload.ts";
import { BackupDesk } from "../../../src/roles/backup/backup_desk.ts";
import { byteStream } from "../../../src/roles/backup/byte_stream.ts";
import { writeArchive } from "../../../src/roles/backup/archive.ts";
import { restoreBackup } from "../../../src/roles/backup/restore_backup.ts";
import { StoreSnapshot } from "../../../src/roles/backup/store_snapshot.ts";
import { takeBackup } from "../../../src/roles/backup/take_backup.ts";
import { verifyBackup } from "../../../src/roles/backup/verify_backup.ts";
import { openDataFolder } from "../../../src/roles/data_folder.ts";
import { loadIdentity } from "../../../src/roles/identity_store.ts";
import { FORMAT_VERSION } from "../../../src/roles/store_record.ts";
import { within } from "../../support/deadline.ts";

const PASSPHRASE = "nine green apples in a row";
const CHEAP = { workFactor: 10 };

/** A folder in use and a place for others; gone with the test. */
async function withFolder(
  story: (scene: {
    readonly kv: Deno.Kv;
    readonly path: string;
    readonly storeId: Uint8Array;
    readonly other: string;
    backup(): AsyncGenerator<Uint8Array, void>;
  }) => Promise<void>,
): Promise<void> {
  const base = await Deno.makeTempDir({ prefix: "cairn-backup-" });
  const path = `${base}/server`;
  const folder = await openDataFolder({ path, kind: "server" });
  try {
    await loadIdentity(folder.kv, systemHost);
    const backup = () => takeBackup({ store: path, files: path }, PASSPHRASE, CHEAP);
    const { kv, storeId } = folder;
    await story({ kv, path, storeId, other: `${base}/restored`, backup });
  } finally {
    await folder.close();
    await Deno.remove(base, { recursive: true });
  }
}

async function* stream(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}

async function all(source: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  return concatBytes(...await Array.fromAsync(source));
}

function restored(bytes: Uint8Array, folder: string, kind: "server" | "peer" = "server") {
  return restoreBackup(stream(bytes), { passphrase: PASSPHRASE, kind, folder });
}

Deno.test("A folder is restored with all its records, and known as a restored one", async () => {
  await withFolder(async ({ kv, path, storeId, other, backup }) => {
    await kv.set(["x", 1, 2n, true, Uint8Array.of(0, 255)], { text: "ü", bytes: Uint8Array.of(1) });
    await kv.set(["large"], new Uint8Array(65_000).fill(7));
    await kv.set(["counter"], new Deno.KvU64(7n));
    await Deno.writeTextFile(`${path}/mgmt_token`, "token\n");

    const summary = await restored(await all(backup()), other);

    const records = (await Array.fromAsync(kv.list({ prefix: [] }))).length;
    deepEqual([summary.kind, summary.records, summary.files], ["server", records, 1]);
    for await (const { name } of Deno.readDir(other)) {
      equal((await Deno.stat(`${other}/${name}`)).mode! & 0o777, 0o600, name);
    }
    equal((await Deno.stat(other)).mode! & 0o777, 0o700);
    equal(await Deno.readTextFile(`${other}/mgmt_token`), "token\n");
    const folder = await openDataFolder({ path: other, kind: "server" });
    try {
      ok(folder.restored);
      notDeepEqual(folder.storeId, storeId);
      for await (const { key, value } of kv.list({ prefix: [] })) {
        if (key[0] !== "cairn") deepEqual((await folder.kv.get(key)).value, value, String(key));
      }
      equal((await folder.kv.set(["written since"], 1)).ok, true);
    } finally {
      await folder.close();
    }
  });
});

Deno.test("A backup is of the moment at which it begins, whatever is written meanwhile", async () => {
  await withFolder(async ({ kv, backup, other }) => {
    for (let i = 0; i < 40; i++) await kv.set(["before", i], new Uint8Array(60_000));
    const taking = backup();
    const parts = [(await taking.next()).value!];
    for (let i = 0; i < 40; i++) {
      await kv.atomic().delete(["before", i]).set(["after", i], new Uint8Array(60_000)).commit();
    }
    parts.push(await all(taking));
    await restored(concatBytes(...parts), other);
    using copy = await Deno.openKv(`${other}/cairn.kv`);
    equal((await Array.fromAsync(copy.list({ prefix: ["before"] }))).length, 40);
    equal((await Array.fromAsync(copy.list({ prefix: ["after"] }))).length, 0);
  });
});

Deno.test("A backup holds what a killed process left in the log of its store", async () => {
  await withFolder(async ({ kv, path, other }) => {
    await kv.set(["in the log"], 1);
    await Deno.mkdir(`${other}-killed`);
    for (const name of ["cairn.kv", "cairn.kv-wal", "store.json"]) {
      await Deno.copyFile(`${path}/${name}`, `${other}-killed/${name}`);
    }
    const folders = { store: `${other}-killed`, files: `${other}-killed` };
    await restored(await all(takeBackup(folders, PASSPHRASE, CHEAP)), other);
    using copy = await Deno.openKv(`${other}/cairn.kv`);
    equal((await copy.get(["in the log"])).value, 1);
  });
});

Deno.test("Only an empty folder is restored into, and stays as it is when that fails", async () => {
  await withFolder(async ({ path, other, backup }) => {
    const bytes = await all(backup());
    await rejects(restored(bytes, path), { code: "data-folder-in-use" });

    await rejects(restored(bytes.subarray(0, -1), other), { code: "backup-unusable" });
    await rejects(Deno.stat(other), Deno.errors.NotFound);

    await Deno.mkdir(`${other}/lost+found`, { recursive: true });
    await rejects(restored(bytes, other, "peer"), {
      code: "backup-unusable",
      message: "This is the backup of a server: restore it with cairn server restore",
    });
    await Deno.writeTextFile(`${other}/photo.jpg`, "");
    await rejects(restored(bytes, other), {
      code: "data-folder-unusable",
      message: /it is not empty \(it holds photo\.jpg\)/,
    });
    await Deno.remove(`${other}/photo.jpg`);
    const names = (await Array.fromAsync(Deno.readDir(other))).map(({ name }) => name).sort();
    deepEqual(names, ["lock", "lost+found"]);

    // What a restoring that was killed left behind is in nobody's way.
    await Deno.mkdir(`${other}/restoring`);
    await Deno.writeTextFile(`${other}/restoring/cairn.kv`, "half");
    await restored(bytes, other);
    const folder = await openDataFolder({ path: other, kind: "server" });
    await folder.close();
  });
});

Deno.test("A restoring that fails at its very end leaves nothing behind", async () => {
  await withFolder(async ({ path, other, backup }) => {
    // Its name is that of the folder in which a store is made: it cannot be put into its place.
    await Deno.writeTextFile(`${path}/restoring`, "");
    await Deno.mkdir(other);
    await rejects(restored(await all(backup()), other));
    deepEqual((await Array.fromAsync(Deno.readDir(other))).map(({ name }) => name), ["lock"]);
  });
});

Deno.test("The backup of a later store format is refused with the reason", async () => {
  await withFolder(async ({ path, other }) => {
    using snapshot = await StoreSnapshot.open({ store: path, files: path }, systemHost);
    const later = { ...snapshot.header, format: FORMAT_VERSION + 1 };
    const archive = writeArchive(later, snapshot.entries());
    const bytes = await all(encryptFile(archive, PASSPHRASE, { host: systemHost, ...CHEAP }));
    const message = /^A newer version of cairn made the backup \(format \d+, this one reads up to/;
    await rejects(restored(bytes, other), { code: "backup-unusable", message });
    await rejects(verifyBackup(stream(bytes), PASSPHRASE), { code: "backup-unusable", message });
  });
});

Deno.test("A folder without a store, without an identity or with a damaged one is refused", async () => {
  const base = await Deno.makeTempDir();
  try {
    const backup = (path: string) =>
      all(takeBackup({ store: path, files: path }, PASSPHRASE, CHEAP));
    await rejects(backup(base), { code: "data-folder-unusable", message: /holds nothing yet/ });
    await openDataFolder({ path: base, kind: "peer" }).then((folder) => folder.close());
    await rejects(backup(base), { code: "data-folder-unusable", message: /holds no identity/ });
    const folder = await openDataFolder({ path: base, kind: "peer" });
    await loadIdentity(folder.kv, systemHost);
    await folder.close();
    const database = new DatabaseSync(`${base}/cairn.kv`);
    database.exec("UPDATE kv SET v_encoding = 9 WHERE v_encoding = 1");
    database.close();
    await rejects(backup(base), { code: "data-folder-corrupt" });
  } finally {
    await Deno.remove(base, { recursive: true });
  }
});

Deno.test("One backup is taken at a time, and one that was given up lets the next in", async () => {
  await withFolder(async ({ path }) => {
    const desk = new BackupDesk({ store: path, files: path }, systemHost);
    await rejects(desk.open("short"), { code: "invalid-option" });
    const first = await desk.open(PASSPHRASE);
    await rejects(desk.open(PASSPHRASE), { code: "refused", message: /Another backup/ });
    await first.cancel();
    const second = await desk.open(PASSPHRASE);
    equal((await verifyBackup(second, PASSPHRASE)).kind, "server");
    await desk.close();
    await rejects(desk.open(PASSPHRASE), { code: "closed" });
  });
});

Deno.test("A backup that is asked for while the server ends is refused", async () => {
  await withFolder(async ({ path }) => {
    const desk = new BackupDesk({ store: path, files: path }, systemHost);
    const refused = rejects(desk.open(PASSPHRASE), { code: "closed" });
    await desk.close();
    await refused;
  });
});

Deno.test("A stream that nobody reads is given up, and what it holds is freed", async () => {
  const freed = Promise.withResolvers<void>();
  async function* endless(): AsyncGenerator<Uint8Array, void> {
    while (true) yield await Promise.resolve(new Uint8Array(1));
  }
  const reader = byteStream(endless(), { stallMs: 20, onEnd: freed.resolve }).getReader();
  await reader.read();
  await within(AbortSignal.timeout(120_000), freed.promise, () => "the end of the stream");
  await rejects(reader.read(), /Nobody takes/);
});

Deno.test("A stream that is cancelled while it is read ends once", async () => {
  const gate = Promise.withResolvers<void>();
  async function* slow(): AsyncGenerator<Uint8Array, void> {
    await gate.promise;
    yield new Uint8Array(1);
  }
  let ends = 0;
  const reader = byteStream(slow(), { stallMs: 60_000, onEnd: () => ends++ }).getReader();
  const reading = reader.read();
  await setImmediate();
  const cancelling = reader.cancel();
  gate.resolve();
  await Promise.all([reading, cancelling]);
  await setImmediate();
  equal(ends, 1);
});
