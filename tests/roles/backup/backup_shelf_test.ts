import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { createServer } from "../../../src/mod.ts";
import { systemHost } from "../../../src/base/host.ts";
import { BackupShelf } from "../../../src/roles/backup/backup_shelf.ts";
import { takeBackup } from "../../../src/roles/backup/take_backup.ts";
import { openDataFolder } from "../../../src/roles/data_folder.ts";
import { loadIdentity } from "../../../src/roles/identity_store.ts";
import { EventListener } from "../../support/event_listener.ts";
import { identityFor } from "../../support/identities.ts";

const PASSPHRASE = "nine green apples in a row";
const OWNER = identityFor("server").peerId;
const NAME = `cairn-server-${OWNER.toString().slice(0, 12)}`;
const NOW = Date.UTC(2026, 10, 21, 14, 38);

async function withFolder(story: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempDir({ prefix: "cairn-shelf-" });
  try {
    await story(path);
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

async function namesIn(folder: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name).sort();
}

Deno.test("The oldest backups go once a new one was read back, and only those of this server", async () => {
  await withFolder(async (base) => {
    const folder = await openDataFolder({ path: `${base}/data`, kind: "server" });
    await loadIdentity(folder.kv, systemHost);
    await folder.close();
    const shelf = new BackupShelf({ folder: `${base}/backups`, owner: OWNER, keep: 2 });
    equal(await shelf.latest(), undefined);
    const others = ["cairn-server-QmAnother123-20200101T000000Z.age", "holiday.jpg"];
    const older = ["20260101T000000Z", "20260201T000000Z"].map((time) => `${NAME}-${time}.age`);
    const names = [...others, ...older, `${NAME}-20260301T000000Z.age.partial`];
    for (const name of names) await Deno.writeTextFile(`${base}/backups/${name}`, "");
    equal(await shelf.latest(), Date.UTC(2026, 1, 1));

    const damaged = ReadableStream.from([new Uint8Array(1_000)]);
    await rejects(shelf.put(damaged, PASSPHRASE, NOW), { code: "backup-unusable" });
    deepEqual(await namesIn(`${base}/backups`), [...older, ...others].sort());

    const folders = { store: `${base}/data`, files: `${base}/data` };
    const backup = ReadableStream.from(takeBackup(folders, PASSPHRASE, { workFactor: 10 }));
    const { path, bytes } = await shelf.put(backup, PASSPHRASE, NOW);
    const made = `${NAME}-20261121T143800Z.age`;
    deepEqual(await namesIn(`${base}/backups`), [older[1], made, ...others].sort());
    equal(path, `${base}/backups/${made}`);
    const { size, mode } = await Deno.stat(path);
    deepEqual([size, mode! & 0o777], [bytes, 0o600]);
    equal(await shelf.latest(), NOW);
  });
});

Deno.test("Names from the future never cost the backup that was just made", async () => {
  await withFolder(async (base) => {
    const folder = await openDataFolder({ path: `${base}/data`, kind: "server" });
    await loadIdentity(folder.kv, systemHost);
    await folder.close();
    const shelf = new BackupShelf({ folder: `${base}/backups`, owner: OWNER, keep: 2 });
    await shelf.latest();
    const times = ["20260101T000000Z", "20260201T000000Z", "20370101T000000Z", "20380101T000000Z"];
    for (const time of times) await Deno.writeTextFile(`${base}/backups/${NAME}-${time}.age`, "");
    const folders = { store: `${base}/data`, files: `${base}/data` };
    const backup = ReadableStream.from(takeBackup(folders, PASSPHRASE, { workFactor: 10 }));
    await shelf.put(backup, PASSPHRASE, NOW);
    deepEqual(await namesIn(`${base}/backups`), [
      `${NAME}-20260201T000000Z.age`,
      `${NAME}-20261121T143800Z.age`,
    ]);
  });
});

Deno.test("A server takes backups by itself and tells of them", async () => {
  await withFolder(async (base) => {
    const token = "token-of-this-test";
    const server = createServer({
      storagePath: `${base}/data`,
      listenAddr: "127.0.0.1:0",
      management: { port: 0, token },
      backups: { folder: `${base}/backups`, passphrase: PASSPHRASE, every: 86_400_000, keep: 3 },
    });
    await server.start();
    try {
      const { port = 0 } = server.addresses.management ?? {};
      const url = `http://127.0.0.1:${port}`;
      const headers = { authorization: `Bearer ${token}` };
      const deadline = AbortSignal.timeout(300_000);
      const ask = async () => await (await fetch(`${url}/metrics`, { headers })).text();
      const made = 'cairn_server_backups_total{outcome="made"} 1';
      const events = await EventListener.open(`${url}/events`, headers, deadline);
      // It may be there already.
      if (!(await ask()).includes(made)) {
        const data = await events.until((type) => type === "backup.made");
        const [name = ""] = await namesIn(`${base}/backups`);
        equal(Reflect.get(Object(data), "path"), `${base}/backups/${name}`);
      }
      await events.leave();
      const metrics = await ask();
      ok(metrics.includes(made), metrics);
      ok(metrics.includes('cairn_server_backups_total{outcome="failed"} 0'));
      const time = /cairn_server_backup_last_timestamp_seconds (\d+)/.exec(metrics)?.[1];
      ok(Math.abs(Number(time) * 1000 - Date.now()) < 120_000, metrics);
    } finally {
      await server.close();
    }
  });
});

Deno.test("A server that is to take backups with a short passphrase does not start", async () => {
  await withFolder(async (base) => {
    const server = createServer({
      storagePath: `${base}/data`,
      listenAddr: "127.0.0.1:0",
      management: { enabled: false },
      backups: { folder: `${base}/backups`, passphrase: "short", every: 1_000, keep: 3 },
    });
    await rejects(server.start(), { code: "invalid-option", message: /at least 12 characters/ });
  });
});
