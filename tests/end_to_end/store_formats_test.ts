/** Stores of every format that was ever written go on where their programs stopped. */

import { deepEqual, equal, rejects } from "node:assert/strict";
import { fromUtf8 } from "../../src/base/bytes.ts";
import { type Host, systemHost } from "../../src/base/host.ts";
import { createServer, Node } from "../../src/mod.ts";
import { restoreBackup } from "../../src/roles/backup/restore_backup.ts";
import { takeBackup } from "../../src/roles/backup/take_backup.ts";
import { type DataFolderKind, openDataFolder } from "../../src/roles/data_folder.ts";
import { PEER_MIGRATIONS } from "../../src/roles/peer/peer_migration.ts";
import { openRemoteStore } from "../../src/roles/remote_store.ts";
import { SERVER_MIGRATIONS } from "../../src/roles/server/mailbox_migration.ts";
import { FORMAT_VERSION, type StoreRecord } from "../../src/roles/store_record.ts";
import { runCairn } from "../cli/run_cairn.ts";
import { within } from "../support/deadline.ts";
import { KvConnectServer } from "../support/kv_connect.ts";
import { dumpRecords, dumpStore, loadRecords, loadStores } from "../support/store_dump.ts";

const VECTORS = new URL("../vectors/", import.meta.url);
const [SHARED, SHARED_LATER] = ["for both ".repeat(9_000), "for both in the outbox"];

/** What the reader has yet to be shown; from format 3 on some of it is for a second one, too. */
function textsOf(format: number): string[] {
  const waiting = ["one", "two ".repeat(2_000), "three ".repeat(9_000), "four"];
  const alone = ["in the inbox", ...waiting, "in the outbox"];
  return format < 3 ? alone : [...alone.slice(0, -1), SHARED, "in the outbox", SHARED_LATER];
}

/** The stores of every dump. */
const STORES: Readonly<Record<string, DataFolderKind>> = {
  server: "server",
  sender: "peer",
  reader: "peer",
};

function storesOf(format: number): typeof STORES {
  return format < 3 ? STORES : { ...STORES, tablet: "peer" };
}
const PASSPHRASE = "nine green apples in a row";

async function dumpOf(format: number): Promise<string> {
  return await Deno.readTextFile(new URL(`store_format_${format}.jsonl`, VECTORS));
}

/** Makes the stores of a format in a folder of their own, for as long as the test lasts. */
async function withStores(format: number, story: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempDir({ prefix: "cairn-format-" });
  try {
    await loadStores(await dumpOf(format), path);
    await story(path);
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

/** The clock of the minutes after the dump: later on keys and messages would have expired. */
function hostOf(dump: string): Host {
  const times = [...dump.matchAll(/"sentAt":(\d+)/g)].map(([, time]) => Number(time));
  const start = systemHost.monotonic();
  const end = Math.max(...times);
  return { ...systemHost, now: () => Math.floor(end + systemHost.monotonic() - start) };
}

for (let format = 1; format <= FORMAT_VERSION; format++) {
  Deno.test(`A server, a sender and a reader go on with stores of format ${format}`, async () => {
    const host = hostOf(await dumpOf(format));
    await withStores(format, async (path) => {
      await goOn(path, format, host);
      for (const store of Object.keys(storesOf(format))) {
        const copies = (await Array.fromAsync(Deno.readDir(`${path}/${store}`)))
          .filter(({ name }) => name.includes("format"));
        equal(copies.length, format < FORMAT_VERSION ? 1 : 0, store);
      }
    });
  });

  Deno.test(`They go on from backups of their stores of format ${format}`, async () => {
    const host = hostOf(await dumpOf(format));
    await withStores(format, async (path) => {
      for (const [store, kind] of Object.entries(storesOf(format))) {
        const from = `${path}/${store}`;
        const backup = takeBackup({ store: from, files: from }, PASSPHRASE, {
          host,
          workFactor: 10,
        });
        const folder = `${path}/restored/${store}`;
        const summary = await restoreBackup(backup, { passphrase: PASSPHRASE, kind, folder });
        equal(summary.format, format);
      }
      await goOn(`${path}/restored`, format, host);
    });
  });
}

/** What waited is delivered, to the end: each message once and in order. */
async function goOn(path: string, format: number, host: Host): Promise<void> {
  const server = createServer({
    storagePath: `${path}/server`,
    listenAddr: "127.0.0.1:0",
    management: { enabled: false },
    host,
  });
  await server.start();
  const serverUrl = `ws://127.0.0.1:${server.addresses.links.port}/link`;
  const open = (store: string) => Node.create({ storagePath: `${path}/${store}`, serverUrl, host });
  const sender = await open("sender");
  const reader = await open("reader");
  const tablet = "tablet" in storesOf(format) ? await open("tablet") : undefined;
  const texts = textsOf(format);
  const expected = texts.length + (tablet ? 2 : 0);
  try {
    const came: string[] = [];
    const all = Promise.withResolvers<void>();
    const second: string[] = [];
    for (const [node, shown] of [[reader, came], [tablet, second]] as const) {
      node?.on("message", ({ data }) => {
        shown.push(fromUtf8(data));
        if (came.length + second.length === expected) all.resolve();
      });
    }
    const receipts = Promise.withResolvers<void>();
    let receipted = 0;
    sender.on("delivered", () => {
      if (++receipted === expected - 1) receipts.resolve();
    });
    await sender.start();
    await reader.start();
    await tablet?.start();
    const deadline = AbortSignal.timeout(240_000);
    await within(deadline, all.promise, () => `the rest after ${came.length}`);
    await within(deadline, receipts.promise, () => `receipts after ${receipted}`);
    deepEqual(came, texts);
    if (tablet) deepEqual(second, [SHARED, SHARED_LATER]);
  } finally {
    await Promise.all([sender.close(), reader.close(), tablet?.close()]);
    await server.close();
  }
}

for (const [store, kind] of Object.entries(STORES)) {
  Deno.test(`The copy of a ${store}'s store that was migrated is the store of before`, async () => {
    await withStores(1, async (path) => {
      const before = await dumpStore(store, `${path}/${store}`);
      await open(`${path}/${store}`, kind).then((folder) => folder.close());
      const copy = `${path}/${store}/cairn.kv.format-1`;
      equal((await Deno.stat(copy)).mode! & 0o777, 0o600);
      await Deno.mkdir(`${path}/copy`);
      await Deno.rename(copy, `${path}/copy/cairn.kv`);
      equal(await dumpStore(store, `${path}/copy`), before);
    });
  });

  Deno.test(`A ${store}'s store of a later format is refused with the reason, and stays`, async () => {
    await withStores(FORMAT_VERSION, async (path) => {
      const folder = `${path}/${store}`;
      {
        using kv = await Deno.openKv(`${folder}/cairn.kv`);
        const { value } = await kv.get<object>(["cairn", "meta"]);
        await kv.set(["cairn", "meta"], { ...value, version: FORMAT_VERSION + 1 });
      }
      const before = await dumpStore(store, folder);
      await rejects(start(folder, kind), {
        code: "data-folder-unusable",
        message: new RegExp(
          `a newer version of cairn wrote it \\(format ${
            FORMAT_VERSION + 1
          }, this one reads up to ` +
            `${FORMAT_VERSION}\\); update this one, or put the copy back that the update made`,
        ),
      });
      equal(await dumpStore(store, folder), before);
    });
  });
}

Deno.test("Who goes back to the copy that an update made goes on from there", async () => {
  await withStores(1, async (path) => {
    for (const [store, kind] of Object.entries(STORES)) {
      const folder = `${path}/${store}`;
      await open(folder, kind).then((opened) => opened.close());
      await Deno.copyFile(`${folder}/cairn.kv.format-1`, `${folder}/cairn.kv.back`);
      await Deno.rename(`${folder}/cairn.kv.back`, `${folder}/cairn.kv`);
    }
    await goOn(path, 1, hostOf(await dumpOf(1)));
  });
});

Deno.test("A store that a KV Connect server keeps is copied and migrated as one in a file is", async () => {
  await using server = new KvConnectServer();
  const folder = await Deno.makeTempDir({ prefix: "cairn-format-" });
  Deno.env.set("DENO_KV_ACCESS_TOKEN", server.token);
  const remote = { url: server.url, kind: "server", host: systemHost } as const;
  try {
    using kv = await Deno.openKv(server.url);
    const only = (store: string) => Promise.resolve(store === "server" ? kv : undefined);
    await loadRecords(await dumpOf(1), only);
    const before = await dumpRecords("server", kv);
    await rejects(openRemoteStore({ ...remote, folder, migrations: new Map() }), {
      code: "data-folder-unusable",
      message: /^The store http.* its format 1 is older than this version of cairn can read/,
    });
    // What was done before a crash is no hindrance.
    await Deno.writeTextFile(`${folder}/remote_store.kv.format-1.gathered`, "half a copy");

    const store = await openRemoteStore({ ...remote, folder, migrations: SERVER_MIGRATIONS });
    equal(store.restored, false);
    await store.close();
    deepEqual(mailboxOf(await dumpRecords("server", kv)), await migrated(async () => {}));
    equal((await kv.get<StoreRecord>(["cairn", "meta"])).value?.version, FORMAT_VERSION);
    const files = (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name);
    deepEqual(files.toSorted(), ["lock", "remote_store.json", "remote_store.kv.format-1"]);

    const copy = `${folder}/remote_store.kv.format-1`;
    equal((await Deno.stat(copy)).mode! & 0o777, 0o600);
    await Deno.mkdir(`${folder}/copy`);
    await Deno.rename(copy, `${folder}/copy/cairn.kv`);
    const withoutOwn = (dump: string) =>
      dump.split("\n").filter((line) => !line.includes('"cairn"'));
    deepEqual(withoutOwn(await dumpStore("server", `${folder}/copy`)), withoutOwn(before));
    const reopened = await openDataFolder({
      path: `${folder}/copy`,
      kind: "server",
      migrations: SERVER_MIGRATIONS,
    });
    equal(reopened.restored, true, "what was sent after the copy is missing in it");
    await reopened.close();
  } finally {
    Deno.env.delete("DENO_KV_ACCESS_TOKEN");
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("The program itself brings an older store up to date, with what it may do by then", async () => {
  await withStores(1, async (path) => {
    const { code, stderr } = await runCairn(["peer", "list", "--data-dir", `${path}/sender`]);
    deepEqual([code, stderr], [0, ""]);
    const dump = await dumpStore("sender", `${path}/sender`);
    equal(dump.includes(`"kind":"peer","version":${FORMAT_VERSION},`), true);
  });
});

Deno.test("A migration that was cut short is done again to the same end", async () => {
  const whole = await migrated(async () => {});
  const again = await migrated(async (path) => {
    using kv = await Deno.openKv(`${path}/server/cairn.kv`);
    // The messages have moved, and nobody has counted them yet.
    const dying = new Proxy(kv, {
      get(target, name) {
        if (name === "set") return () => Promise.reject(new Error("The process is dead"));
        const value = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    await rejects(SERVER_MIGRATIONS.get(1)!(dying), /is dead/);
    const waiting = await Array.fromAsync(kv.list({ prefix: ["mailbox", "waiting"] }));
    equal(waiting.length, 4);
  });
  deepEqual(again, whole);
});

Deno.test("A store of a format that nothing leads from is refused, and stays as it is", async () => {
  await withStores(1, async (path) => {
    const before = await dumpStore("server", `${path}/server`);
    await rejects(openDataFolder({ path: `${path}/server`, kind: "server" }), {
      code: "data-folder-unusable",
      message: /its format 1 is older than this version of cairn can read/,
    });
    equal(await dumpStore("server", `${path}/server`), before);
  });
});

function open(path: string, kind: DataFolderKind) {
  const migrations = kind === "server" ? SERVER_MIGRATIONS : PEER_MIGRATIONS;
  return openDataFolder({ path, kind, migrations });
}

/** As a program does that uses the library. */
async function start(storagePath: string, kind: DataFolderKind): Promise<void> {
  if (kind === "peer") {
    await Node.create({ storagePath }).then((node) => node.close());
  } else {
    const server = createServer({ storagePath, listenAddr: "127.0.0.1:0" });
    await server.start();
    await server.close();
  }
}

/** The mailbox records of a server's store of format 1 after `before` and a migration. */
async function migrated(before: (path: string) => Promise<void>): Promise<string[]> {
  let records: string[] = [];
  await withStores(1, async (path) => {
    await before(path);
    await open(`${path}/server`, "server").then((folder) => folder.close());
    records = mailboxOf(await dumpStore("server", `${path}/server`));
  });
  return records;
}

function mailboxOf(dump: string): string[] {
  return dump.split("\n").filter((line) => line.includes('"mailbox"'));
}
