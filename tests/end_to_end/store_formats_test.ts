/** Stores of every format that was ever written go on where their programs stopped. */

import { deepEqual, equal, rejects } from "node:assert/strict";
import { fromUtf8 } from "../../src/base/bytes.ts";
import { type Host, systemHost } from "../../src/base/host.ts";
import { createServer, Node } from "../../src/mod.ts";
import { openDataFolder } from "../../src/roles/data_folder.ts";
import { SERVER_MIGRATIONS } from "../../src/roles/server/mailbox_migration.ts";
import { FORMAT_VERSION } from "../../src/roles/store_record.ts";
import { within } from "../support/deadline.ts";
import { dumpStore, loadStores } from "../support/store_dump.ts";

const VECTORS = new URL("../vectors/", import.meta.url);
const [SHARED, SHARED_LATER] = ["for both ".repeat(9_000), "for both in the outbox"];

/** What the reader has yet to be shown; from format 3 on some of it is for a second one, too. */
function textsOf(format: number): string[] {
  const waiting = ["one", "two ".repeat(2_000), "three ".repeat(9_000), "four"];
  const alone = ["in the inbox", ...waiting, "in the outbox"];
  return format < 3 ? alone : [...alone.slice(0, -1), SHARED, "in the outbox", SHARED_LATER];
}

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
      const server = createServer({
        storagePath: `${path}/server`,
        listenAddr: "127.0.0.1:0",
        management: { enabled: false },
        host,
      });
      await server.start();
      const serverUrl = `ws://127.0.0.1:${server.addresses.links.port}/link`;
      const sender = await Node.create({ storagePath: `${path}/sender`, serverUrl, host });
      const reader = await Node.create({ storagePath: `${path}/reader`, serverUrl, host });
      const tablet = format < 3
        ? undefined
        : await Node.create({ storagePath: `${path}/tablet`, serverUrl, host });
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
        const deadline = AbortSignal.timeout(60_000);
        await within(deadline, all.promise, () => `the rest after ${came.length}`);
        await within(deadline, receipts.promise, () => `receipts after ${receipted}`);
        deepEqual(came, texts);
        if (tablet) deepEqual(second, [SHARED, SHARED_LATER]);
      } finally {
        await Promise.all([sender.close(), reader.close(), tablet?.close()]);
        await server.close();
      }
      const copies = (await Array.fromAsync(Deno.readDir(`${path}/server`)))
        .filter(({ name }) => name.includes("format"));
      equal(copies.length, format < FORMAT_VERSION ? 1 : 0);
    });
  });
}

Deno.test("The copy of a store that was migrated is the store of before", async () => {
  await withStores(1, async (path) => {
    const before = await dumpStore("server", `${path}/server`);
    await openServer(path).then((folder) => folder.close());
    const copy = `${path}/server/cairn.kv.format-1`;
    equal((await Deno.stat(copy)).mode! & 0o777, 0o600);
    await Deno.mkdir(`${path}/copy`);
    await Deno.rename(copy, `${path}/copy/cairn.kv`);
    equal(await dumpStore("server", `${path}/copy`), before);
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

function openServer(path: string) {
  return openDataFolder({
    path: `${path}/server`,
    kind: "server",
    migrations: SERVER_MIGRATIONS,
  });
}

/** The mailbox records of a server's store of format 1 after `before` and a migration. */
async function migrated(before: (path: string) => Promise<void>): Promise<string[]> {
  let records: string[] = [];
  await withStores(1, async (path) => {
    await before(path);
    await openServer(path).then((folder) => folder.close());
    const dump = await dumpStore("server", `${path}/server`);
    records = dump.split("\n").filter((line) => line.includes('"mailbox"'));
  });
  return records;
}
