/** Servers and peers whose stores are encrypted by a passphrase. */

import { deepEqual, equal, rejects } from "node:assert/strict";
import { fromUtf8, utf8 } from "../../src/base/bytes.ts";
import { createServer, Node, type ServerOptions } from "../../src/mod.ts";
import { restoreBackup } from "../../src/roles/backup/restore_backup.ts";
import { takeBackup } from "../../src/roles/backup/take_backup.ts";
import { within } from "../support/deadline.ts";
import { searchFiles } from "../support/secret_search.ts";

const PSK = "correct horse battery staple";
const STORE_PASSPHRASE = "seven blue doors without a key";
const BACKUP_PASSPHRASE = "nine green apples in a row";
const TEXTS = ["waits in the mailbox", "waits in parts ".repeat(12_000), "waits in the outbox"];

async function withFolder(story: (base: string) => Promise<void>): Promise<void> {
  const base = await Deno.makeTempDir({ prefix: "cairn-encrypted-" });
  try {
    await story(base);
  } finally {
    await Deno.remove(base, { recursive: true });
  }
}

async function startServer(storagePath: string, options: Partial<ServerOptions> = {}) {
  const server = createServer({
    storagePath,
    listenAddr: "127.0.0.1:0",
    management: { enabled: false },
    psk: PSK,
    ...options,
  });
  await server.start();
  return server;
}

function urlOf(server: Awaited<ReturnType<typeof startServer>>): string {
  return `ws://127.0.0.1:${server.addresses.links.port}/link`;
}

/** Alice writes to bob, who is away; then all end. */
async function work(base: string, storePassphrase?: string): Promise<void> {
  const own = storePassphrase === undefined ? {} : { storePassphrase };
  const server = await startServer(`${base}/server`, own);
  const join = async (name: string) => {
    const node = await Node.create({
      storagePath: `${base}/${name}`,
      serverUrl: urlOf(server),
      ...own,
    });
    await node.start();
    await node.pairWithPsk(PSK, server.peerId);
    return node;
  };
  const [alice, bob] = [await join("alice"), await join("bob")];
  await bob.close();
  for (const text of TEXTS.slice(0, 2)) {
    await (await alice.send(bob.peerId, "chat", utf8(text))).accepted;
  }
  await server.close();
  await alice.send(bob.peerId, "chat", utf8(TEXTS[2] ?? ""));
  await alice.close();
}

/** All come back, and bob reads what alice wrote. */
async function goOn(base: string, storePassphrase: string): Promise<void> {
  const server = await startServer(`${base}/server`, { storePassphrase });
  const serverUrl = urlOf(server);
  const open = (name: string) =>
    Node.create({ storagePath: `${base}/${name}`, serverUrl, storePassphrase });
  const [alice, bob] = [await open("alice"), await open("bob")];
  try {
    const came: string[] = [];
    const all = Promise.withResolvers<void>();
    bob.on("message", ({ data }) => {
      if (came.push(fromUtf8(data)) === TEXTS.length) all.resolve();
    });
    await alice.start();
    await bob.start();
    await within(AbortSignal.timeout(120_000), all.promise, () => `the rest after ${came.length}`);
    deepEqual(came, TEXTS);
  } finally {
    await Promise.all([alice.close(), bob.close()]);
    await server.close();
  }
}

Deno.test("An encrypted store works as others do, and its files tell nothing of what is in it", async () => {
  await withFolder(async (base) => {
    await work(base, STORE_PASSPHRASE);
    for (const name of ["server", "alice", "bob"]) {
      const found = await searchFiles(`${base}/${name}`, [
        { name: "a text", value: "waits in" },
        { name: "the pre-shared key", value: PSK },
        { name: "a record of the identity", value: "x3dhSecret" },
        { name: "a record of a pairing", value: "mechanism" },
        { name: "the passphrase", value: STORE_PASSPHRASE },
      ]);
      deepEqual(found, [], name);
    }
    await goOn(base, STORE_PASSPHRASE);
  });
});

Deno.test("An encrypted store is opened by its passphrase only", async () => {
  await withFolder(async (base) => {
    const storagePath = `${base}/peer`;
    await Node.create({ storagePath, storePassphrase: STORE_PASSPHRASE }).then((node) =>
      node.close()
    );
    const code = "data-folder-unusable";
    await rejects(Node.create({ storagePath }), {
      code,
      message: /it is encrypted: give its passphrase in CAIRN_STORE_PASSPHRASE/,
    });
    await rejects(Node.create({ storagePath, storePassphrase: "another passphrase" }), {
      code,
      message: /the passphrase \(CAIRN_STORE_PASSPHRASE\) does not open its key/,
    });
    await rejects(startServer(`${base}/server`, { storePassphrase: "short" }), {
      code: "invalid-option",
    });
    await Deno.rename(`${storagePath}/store.key`, `${storagePath}/elsewhere`);
    await rejects(Node.create({ storagePath, storePassphrase: STORE_PASSPHRASE }), {
      code,
      message: /its key store\.key cannot be read/,
    });
  });
});

Deno.test("A store in clear is encrypted by restoring its backup, and its backups stay so", async () => {
  await withFolder(async (base) => {
    const alice = await Node.create({ storagePath: `${base}/clear` });
    await alice.close();
    await rejects(
      Node.create({ storagePath: `${base}/clear`, storePassphrase: STORE_PASSPHRASE }),
      {
        code: "data-folder-unusable",
        message: /it is not encrypted/,
      },
    );
    const identity = [{ name: "a record of the identity", value: "x3dhSecret" }];
    deepEqual(await searchFiles(`${base}/clear`, identity), ["a record of the identity"]);
    const restore = async (name: string, to: string, storePassphrase?: string) => {
      const folders = { store: `${base}/${name}`, files: `${base}/${name}` };
      const backup = takeBackup(folders, BACKUP_PASSPHRASE, { workFactor: 10 });
      const folder = `${base}/${to}`;
      const target = {
        passphrase: BACKUP_PASSPHRASE,
        kind: "peer",
        folder,
        storePassphrase,
      } as const;
      const { peerId } = await restoreBackup(backup, target);
      deepEqual(await searchFiles(folder, identity), []);
      return peerId;
    };
    equal(await restore("clear", "encrypted", STORE_PASSPHRASE), alice.peerId.toString());
    equal(await restore("encrypted", "restored"), null);
    const storagePath = `${base}/restored`;
    const again = await Node.create({ storagePath, storePassphrase: STORE_PASSPHRASE });
    equal(again.peerId.toString(), alice.peerId.toString());
    await again.close();
  });
});
