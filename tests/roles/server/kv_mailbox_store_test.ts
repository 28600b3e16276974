import { hash } from "node:crypto";
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { GroupCommit } from "../../../src/roles/group_commit.ts";
import { KvMailboxStore } from "../../../src/roles/server/kv_mailbox_store.ts";
import type { MailboxMessage } from "../../../src/roles/server/mailbox_records.ts";
import { peer, TestHost } from "./mailbox_scene.ts";

const [alice, bob] = [peer("alice"), peer("bob")];

interface Shop {
  readonly kv: Deno.Kv;
  readonly commit: GroupCommit;
  open(): Promise<KvMailboxStore>;
}

/** The same story on a store in memory and on one in a file. */
function storeTest(name: string, story: (shop: Shop) => Promise<void>): void {
  for (const where of ["memory", "file"]) {
    Deno.test(`KvMailboxStore (${where}) ${name}`, async () => {
      const path = where === "memory" ? ":memory:" : await Deno.makeTempFile();
      const kv = await Deno.openKv(path);
      const commit = new GroupCommit(kv);
      let seed = 1;
      let last: KvMailboxStore | undefined;
      const open = async () => {
        await last?.close();
        return last = await KvMailboxStore.open(kv, commit, new TestHost(seed++));
      };
      await story({ kv, commit, open });
      await last?.close();
      await commit.close();
      kv.close();
      if (where === "file") await Deno.remove(path);
    });
  }
}

storeTest("gives orders that only rise, across openings", async ({ open }) => {
  const first = await open();
  const orders = [first.nextOrder(), first.nextOrder()];
  const second = await open();
  orders.push(second.nextOrder(), second.nextOrder());
  deepStrictEqual(orders, orders.toSorted((a, b) => a - b));
  strictEqual(new Set(orders).size, 4);
  ok(orders.every(Number.isSafeInteger));
});

storeTest("finds a waiting message again with all that memory needs", async (shop) => {
  const store = await shop.open();
  const messages = [];
  for (const size of [0, 10, 6_000, 60_000]) {
    const { message, ops } = await prepare(store, size);
    await shop.commit.commit(ops);
    messages.push(message);
  }
  deepStrictEqual((await store.waiting(alice, bob, -1, 10)).messages, messages, "in the journal");
  const reopened = await shop.open();
  const page = await reopened.waiting(alice, bob, -1, 10);
  deepStrictEqual(page, { messages, damaged: [], last: messages[3]!.order, isLast: true });
  const behind = await reopened.waiting(alice, bob, messages[0]!.order, 2);
  deepStrictEqual(behind.messages, messages.slice(1, 3));
  strictEqual(behind.isLast, false);
  for (const message of messages) {
    deepStrictEqual(await reopened.readBody(message), new Uint8Array(message.size).fill(7));
    const record = await reopened.findId(alice, bob, message.msgId);
    deepStrictEqual(record, { hash: message.hash });
  }
  strictEqual(await reopened.findId(bob, alice, messages[0]!.msgId), null);
  const pairs = (await Array.fromAsync(reopened.pairs())).map(({ record }) => record.value);
  const highestId = messages[3]!.msgId;
  deepStrictEqual(pairs, [
    { lastAccepted: 1, at: 1000, highestId, messages: 4, bytes: 66_010 },
  ]);
});

storeTest("turns a message into a remembered id and a receipt in one commit", async (shop) => {
  const store = await shop.open();
  for (const size of [10, 6_000, 200_000, 500_000]) {
    const { message, ops, pair } = await prepare(store, size);
    await shop.commit.commit(ops);
    const outcome = { delivered: false, reason: "expired" } as const;
    const receipt = store.nextOrder();
    await shop.commit.commit(
      store.endOps(message, outcome, { at: 2000, forgetAt: 3000 }, receipt, pair),
    );
    deepStrictEqual((await store.waiting(alice, bob, -1, 10)).messages, []);
    strictEqual(await store.isWaiting(message), false);
    if (size > 4_096) strictEqual(await store.readBody(message), undefined);
    deepStrictEqual(await store.findId(alice, bob, message.msgId), {
      hash: message.hash,
      end: { ...outcome, at: 2000, receipt },
    });
    deepStrictEqual(await store.receipts(alice, -1, 10), [
      { order: receipt, msgId: message.msgId, outcome },
    ]);
    deepStrictEqual(await store.receipts(alice, receipt, 10), []);
    const [ended] = await store.ended(10);
    strictEqual(ended!.forgetAt, 3000);
    await shop.commit.commit(store.forgetOps(ended!, receipt));
  }
  await store.close();
  const left = (await Array.fromAsync(shop.kv.list({ prefix: [] }))).map(({ key }) => key[1]);
  deepStrictEqual(left, ["pair", "runs"]);
});

storeTest("lists what may be forgotten first in front", async (shop) => {
  const store = await shop.open();
  for (const forgetAt of [5000, 300, 40_000]) {
    const { message, ops, pair } = await prepare(store, 1);
    await shop.commit.commit(ops);
    const times = { at: 0, forgetAt };
    await shop.commit.commit(store.endOps(message, { delivered: true }, times, null, pair));
  }
  const [first, second] = await store.ended(2);
  deepStrictEqual([first!.forgetAt, second!.forgetAt], [300, 5000]);
  await shop.commit.commit(store.rememberOps(first!, 6000));
  deepStrictEqual((await store.ended(3)).map(({ forgetAt }) => forgetAt), [5000, 6000, 40_000]);
});

storeTest("leaves nothing of a body whose message was never added", async (shop) => {
  const store = await shop.open();
  await store.prepareBody(new Uint8Array(500_000));
  await shop.open();
  deepStrictEqual(await Array.fromAsync(shop.kv.list({ prefix: ["mailbox", "blob"] })), []);
});

let ids = 0;

async function prepare(store: KvMailboxStore, size: number) {
  const bytes = new Uint8Array(size).fill(7);
  const body = await store.prepareBody(bytes);
  const known = await Array.fromAsync(store.pairs());
  const pair = (known[0] ?? store.newPair(alice, bob)).record;
  const msgId = new Uint8Array(16).fill(++ids);
  const message: MailboxMessage = {
    order: store.nextOrder(),
    id: msgId.toHex(),
    sender: alice.toString(),
    size,
    acceptedAt: 1000,
    msgId,
    from: alice,
    to: bob,
    sequence: 1,
    hash: new Uint8Array(hash("sha256", bytes, "buffer")),
    body: body.value,
  };
  return { message, pair, ops: store.addOps(message, pair, body) };
}
