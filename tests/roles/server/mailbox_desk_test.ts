import { deepStrictEqual, ok, rejects, strictEqual } from "node:assert/strict";
import { toHex } from "../../../src/base/bytes.ts";
import type { MailboxDeskOptions } from "../../../src/roles/server/mailbox_desk.ts";
import { openDataFolder } from "../../../src/roles/data_folder.ts";
import { decodeWaiting } from "../../../src/roles/server/mailbox_records.ts";
import { turns } from "../../support/fake_time.ts";
import {
  bodyOf,
  DAY_MS,
  Inbox,
  MemoryFolder,
  memoryFolder,
  openDesk,
  Outbox,
  peer,
  request,
  TestHost,
  textOf,
} from "./mailbox_scene.ts";

const alice = peer("alice");
const bob = peer("bob");
const carol = peer("carol");

type Folder = MailboxDeskOptions["folder"];

const stores: [string, () => Promise<{ folder: Folder; close(): Promise<void> }>][] = [
  ["in memory", async () => {
    const folder = await memoryFolder();
    return { folder, close: () => Promise.resolve(folder.kv.close()) };
  }],
  ["in a folder", async () => {
    const path = await Deno.makeTempDir();
    const folder = await openDataFolder({ path, kind: "server" });
    return {
      folder,
      async close() {
        await folder.close();
        await Deno.remove(path, { recursive: true });
      },
    };
  }],
];

for (const [where, open] of stores) {
  const story = (name: string, run: (folder: Folder, host: TestHost) => Promise<void>) => {
    Deno.test(`MailboxDesk (${where}) ${name}`, async () => {
      const { folder, close } = await open();
      try {
        await run(folder, new TestHost());
      } finally {
        await close();
      }
    });
  };

  story("delivers what it accepted before a restart, in order", async (folder, host) => {
    const before = await openDesk(folder, host);
    for (let n = 1; n <= 5; n++) {
      const ack = await before.desk.forward(alice, request(bob, n));
      deepStrictEqual([ack.accepted, ack.rejectionReason, ack.lastSequence], [true, null, n]);
    }
    await before.close();

    const { desk, close } = await openDesk(folder, host);
    strictEqual(desk.lastAccepted(alice, bob), 5);
    const inbox = new Inbox(desk, bob);
    await inbox.untilReceived(5);
    deepStrictEqual(inbox.texts(), [1, 2, 3, 4, 5].map((n) => `message ${n}`));
    deepStrictEqual(inbox.received.map(({ sequenceNumber }) => sequenceNumber), [1, 2, 3, 4, 5]);
    ok(inbox.received.every(({ sender }) => sender.equals(alice)));
    strictEqual(inbox.drains, 0);
    await close();
  });

  story("keeps a body of any size, and nothing of it after the purge", async (folder, host) => {
    const { desk, close } = await openDesk(folder, host);
    const sizes = [0, 1, 49_152, 49_153, 65_536, 65_537, 131_072, 999_999];
    for (const [index, size] of sizes.entries()) {
      const body = host.random(size);
      const ack = await desk.forward(alice, request(bob, index + 1, body));
      strictEqual(ack.accepted, true, `size ${size}`);
      const inbox = new Inbox(desk, bob);
      await inbox.untilReceived(1);
      deepStrictEqual(inbox.received[0]!.encryptedPayload, body);
      await inbox.purge(inbox.received[0]!);
      inbox.attachment.detach();
    }
    deepStrictEqual(desk.totals(), { messages: 0, bytes: 0 });
    await close();
    const left: string[] = [];
    for await (const { key } of folder.kv.list({ prefix: ["mailbox"] })) left.push(String(key[1]));
    deepStrictEqual([...new Set(left)].sort(), ["ended", "id", "pair", "receipt", "runs"]);
  });

  story("accepts a repeat and stores it once, even after its end", async (folder, host) => {
    const first = await openDesk(folder, host);
    const message = request(bob, 1);
    const [one, two] = await Promise.all([
      first.desk.forward(alice, message),
      first.desk.forward(alice, message),
    ]);
    deepStrictEqual([one.accepted, two.accepted], [true, true]);
    strictEqual((await first.desk.forward(alice, message)).accepted, true);
    strictEqual(first.desk.totals().messages, 1);
    await first.close();

    const { desk, close } = await openDesk(folder, host);
    strictEqual((await desk.forward(alice, message)).accepted, true);
    const inbox = new Inbox(desk, bob);
    await inbox.untilReceived(1);
    await inbox.purge(inbox.received[0]!);
    const late = await desk.forward(alice, message);
    deepStrictEqual([late.accepted, late.delivered], [true, true]);
    const other = await desk.forward(alice, { ...message, encryptedPayload: bodyOf("other") });
    deepStrictEqual(
      [other.accepted, other.rejectionReason],
      [false, "message ID was used for another body"],
    );
    strictEqual(desk.totals().messages, 0);
    strictEqual(inbox.received.length, 1);
    await close();
  });
}

Deno.test("MailboxDesk refuses in the words and the order of the protocol", async () => {
  const folder = await memoryFolder();
  const stranger = peer("stranger");
  const { desk, close } = await openDesk(folder, new TestHost(), {
    strangers: [stranger],
    limits: { maxPerPeer: 2, maxTotalBytes: 100, largestBody: 60 },
  });
  const refusalOf = async (...args: Parameters<typeof desk.forward>) => {
    desk.linkUp(args[0]);
    const ack = await desk.forward(...args);
    strictEqual(ack.accepted, false);
    return ack.rejectionReason;
  };
  strictEqual(await refusalOf(stranger, request(bob, 1)), "sender is not a paired peer");
  strictEqual(await refusalOf(alice, request(stranger, 1)), "recipient is not a paired peer");
  strictEqual(
    await refusalOf(alice, request(bob, 1, new Uint8Array(61))),
    "message too large (61 bytes, at most 60)",
  );
  strictEqual(
    await refusalOf(alice, request(bob, 1001)),
    "sequence gap 1001 exceeds max skip threshold 1000",
  );
  strictEqual(
    await refusalOf(alice, request(bob, 0)),
    "sequence 0 was already used (last accepted 0)",
  );
  strictEqual((await desk.forward(alice, request(bob, 1000, new Uint8Array(60)))).accepted, true);
  strictEqual(
    await refusalOf(alice, request(bob, 1000)),
    "sequence 1000 was already used (last accepted 1000)",
  );
  strictEqual(await refusalOf(carol, request(bob, 1, new Uint8Array(41))), "quota exceeded");
  strictEqual((await desk.forward(carol, request(bob, 1, new Uint8Array(40)))).accepted, true);
  strictEqual(
    await refusalOf(carol, request(bob, 2, new Uint8Array())),
    "recipient queue full (2 messages)",
  );
  deepStrictEqual(desk.totals(), { messages: 2, bytes: 100 });
  await close();
  folder.kv.close();
});

Deno.test("MailboxDesk holds later messages back after a refusal until the refused number comes", async () => {
  const folder = await memoryFolder();
  const { desk, close } = await openDesk(folder, new TestHost(), { limits: { largestBody: 50 } });
  const acks = await Promise.all([
    desk.forward(alice, request(bob, 1)),
    desk.forward(alice, request(bob, 2, new Uint8Array(51))),
    desk.forward(alice, request(bob, 3)),
    desk.forward(alice, request(bob, 4)),
    desk.forward(alice, request(carol, 1)),
  ]);
  deepStrictEqual(acks.map(({ rejectionReason }) => rejectionReason), [
    null,
    "message too large (51 bytes, at most 50)",
    "waiting for sequence 2",
    "waiting for sequence 2",
    null,
  ]);
  const again = await Promise.all([2, 3, 4].map((n) => desk.forward(alice, request(bob, n))));
  ok(again.every(({ accepted }) => accepted));
  strictEqual((await desk.forward(alice, request(bob, 6, new Uint8Array(51)))).accepted, false);
  strictEqual((await desk.forward(alice, request(bob, 7))).accepted, false);
  desk.linkUp(alice);
  strictEqual((await desk.forward(alice, request(bob, 7))).accepted, true);
  await close();
  folder.kv.close();
});

Deno.test("MailboxDesk keeps the order of a large message and the small ones behind it", async () => {
  const folder = await memoryFolder();
  const { desk, close } = await openDesk(folder, new TestHost());
  const large = bodyOf("large", 900_000);
  const acks = await Promise.all([
    desk.forward(alice, request(bob, 1, large)),
    desk.forward(alice, request(bob, 2, "small")),
    desk.forward(alice, request(bob, 3, large)),
    desk.forward(alice, request(bob, 4, "last")),
  ]);
  ok(acks.every(({ accepted }) => accepted));
  const inbox = new Inbox(desk, bob);
  await inbox.untilReceived(4);
  deepStrictEqual(inbox.texts(), ["large", "small", "large", "last"]);
  await close();
  folder.kv.close();
});

Deno.test("MailboxDesk serves senders by turns and stops at 256 unacknowledged", async () => {
  const folder = await memoryFolder();
  const { desk, close } = await openDesk(folder, new TestHost());
  for (let n = 1; n <= 300; n++) desk.forward(alice, request(bob, n, `alice ${n}`));
  for (let n = 1; n <= 3; n++) await desk.forward(carol, request(bob, n, `carol ${n}`));
  const inbox = new Inbox(desk, bob);
  await inbox.untilReceived(256);
  deepStrictEqual(inbox.texts().slice(0, 6), [
    "alice 1",
    "carol 1",
    "alice 2",
    "carol 2",
    "alice 3",
    "carol 3",
  ]);
  await turns();
  strictEqual(inbox.received.length, 256);
  await inbox.purge(inbox.received[10]!);
  await inbox.untilReceived(257);
  deepStrictEqual(
    inbox.texts().filter((text) => text.startsWith("alice")),
    Array.from({ length: 254 }, (_, index) => `alice ${index + 1}`),
  );
  await close();
  folder.kv.close();
});

Deno.test("MailboxDesk never has two messages of one id under way to a recipient", async () => {
  const folder = await memoryFolder();
  const { desk, close } = await openDesk(folder, new TestHost());
  const message = request(bob, 1, "from alice");
  await desk.forward(alice, message);
  await desk.forward(carol, { ...message, encryptedPayload: bodyOf("from carol") });
  await desk.forward(carol, request(bob, 2, "carol's next"));
  const inbox = new Inbox(desk, bob);
  await inbox.untilReceived(1);
  await turns();
  deepStrictEqual(inbox.texts(), ["from alice"]);
  await inbox.purge(inbox.received[0]!);
  await inbox.untilReceived(3);
  deepStrictEqual(inbox.texts(), ["from alice", "from carol", "carol's next"]);
  strictEqual(inbox.drains, 0);
  await inbox.purge(...inbox.received);
  strictEqual(inbox.drains, 1);
  await close();
  folder.kv.close();
});

Deno.test("MailboxDesk brings unpurged messages again on the next link, and says when drained", async () => {
  const folder = await memoryFolder();
  const { desk, close } = await openDesk(folder, new TestHost());
  const empty = new Inbox(desk, bob);
  await empty.until(() => empty.drains === 1);
  for (let n = 1; n <= 3; n++) await desk.forward(alice, request(bob, n));
  await empty.untilReceived(3);
  await empty.purge(empty.received[1]!);

  const next = new Inbox(desk, bob);
  await next.untilReceived(2);
  deepStrictEqual(next.texts(), ["message 1", "message 3"]);
  await empty.purge(empty.received[0]!);
  strictEqual(next.drains, 0);
  await next.purge(...next.received);
  strictEqual(next.drains, 1);
  strictEqual(empty.drains, 1);
  await close();
  folder.kv.close();
});

Deno.test("MailboxDesk delivers nothing to a congested link until it resumes", async () => {
  const folder = await memoryFolder();
  const { desk, close } = await openDesk(folder, new TestHost());
  const inbox = new Inbox(desk, bob);
  inbox.congested = true;
  await desk.forward(alice, request(bob, 1));
  await turns();
  strictEqual(inbox.received.length, 0);
  inbox.congested = false;
  inbox.attachment.resume();
  await inbox.untilReceived(1);
  await close();
  folder.kv.close();
});

Deno.test("MailboxDesk lets a purge touch nothing but what was sent on that attachment", async () => {
  const folder = await memoryFolder();
  const { desk, close } = await openDesk(folder, new TestHost());
  const forBob = request(bob, 1);
  await desk.forward(alice, forBob);
  const forCarol = new Inbox(desk, carol);
  await forCarol.attachment.purge([forBob.msgId], []);
  const notYet = new Inbox(desk, bob);
  notYet.congested = true;
  await notYet.attachment.purge([forBob.msgId], []);
  strictEqual(desk.totals().messages, 1);
  await close();
  folder.kv.close();
});

Deno.test("MailboxDesk keeps receipts until the sender has acknowledged them", async () => {
  const folder = await memoryFolder();
  const host = new TestHost();
  const first = await openDesk(folder, host);
  const messages = [1, 2, 3].map((n) => request(bob, n));
  for (const message of messages) await first.desk.forward(alice, message);
  const online = new Outbox(first.desk, alice);
  const inbox = new Inbox(first.desk, bob);
  await inbox.untilReceived(3);
  await inbox.attachment.purge([messages[0]!.msgId, messages[1]!.msgId], [messages[2]!.msgId]);
  await online.untilReceived(3);
  const expected = [
    [toHex(messages[0]!.msgId), true, null],
    [toHex(messages[1]!.msgId), true, null],
    [toHex(messages[2]!.msgId), false, "cannot be opened"],
  ];
  deepStrictEqual(online.outcomes(), expected);
  await online.attachment.acknowledge([messages[1]!.msgId]);
  await first.close();

  const { desk, close } = await openDesk(folder, host);
  const later = new Outbox(desk, alice);
  await later.untilReceived(2);
  deepStrictEqual(later.outcomes(), [expected[0], expected[2]]);
  await later.attachment.acknowledge([messages[0]!.msgId, messages[2]!.msgId]);
  const last = new Outbox(desk, alice);
  await turns();
  deepStrictEqual(last.receipts, []);
  await close();
  folder.kv.close();
});

Deno.test("MailboxDesk brings more receipts than one window holds", async () => {
  const folder = await memoryFolder();
  const { desk, close } = await openDesk(folder, new TestHost());
  const count = 600;
  const all = Array.from({ length: count }, (_, index) => request(bob, index + 1));
  await Promise.all(all.map((message) => desk.forward(alice, message)));
  strictEqual(await desk.accounts.purge(bob), count);
  const outbox = new Outbox(desk, alice);
  let acknowledged = 0;
  while (acknowledged < count) {
    await outbox.untilReceived(acknowledged + 1);
    const batch = outbox.receipts.slice(acknowledged);
    ok(batch.length <= 256);
    await outbox.attachment.acknowledge(batch.map(({ msgId }) => msgId));
    acknowledged += batch.length;
  }
  deepStrictEqual(outbox.outcomes().map(([id]) => id), all.map(({ msgId }) => toHex(msgId)));
  ok(outbox.receipts.every(({ rejectionReason }) => rejectionReason === "purged by the operator"));
  await close();
  folder.kv.close();
});

Deno.test("MailboxDesk expires what has waited too long, and tells the sender", async () => {
  const folder = await memoryFolder();
  const host = new TestHost();
  const { desk, close } = await openDesk(folder, host);
  const old = request(bob, 1);
  await desk.forward(alice, old);
  await advance(host, desk, 3 * DAY_MS);
  await desk.forward(alice, request(bob, 2));
  await advance(host, desk, 4 * DAY_MS);
  strictEqual(desk.totals().messages, 2, "exactly the age is not older");
  host.pass(1);
  await desk.sweep();
  strictEqual(desk.totals().messages, 1);
  const outbox = new Outbox(desk, alice);
  await outbox.untilReceived(1);
  deepStrictEqual(outbox.outcomes(), [[toHex(old.msgId), false, "expired"]]);
  await close();
  folder.kv.close();
});

Deno.test("MailboxDesk lets nothing expire after the wall clock jumped, until it ran steadily", async () => {
  const folder = await memoryFolder();
  const host = new TestHost();
  const { desk, close } = await openDesk(folder, host);
  await desk.forward(alice, request(bob, 1));
  await advance(host, desk, 60_000 * 11);
  host.wall += 30 * DAY_MS;
  await desk.sweep();
  strictEqual(desk.totals().messages, 1);
  await advance(host, desk, 59 * 60_000);
  strictEqual(desk.totals().messages, 1);
  host.wall -= 30 * DAY_MS;
  await advance(host, desk, DAY_MS);
  strictEqual(desk.totals().messages, 1);
  await close();

  const restarted = await openDesk(folder, host);
  host.wall += 30 * DAY_MS;
  await restarted.desk.sweep();
  host.pass(9 * 60_000);
  await restarted.desk.sweep();
  strictEqual(restarted.desk.totals().messages, 1);
  await restarted.close();
  folder.kv.close();
});

Deno.test("MailboxDesk makes room in a full queue by dropping what has expired", async () => {
  const folder = await memoryFolder();
  const host = new TestHost();
  const { desk, close } = await openDesk(folder, host, { limits: { maxPerPeer: 1 } });
  await desk.forward(alice, request(bob, 1));
  strictEqual((await desk.forward(carol, request(bob, 1))).accepted, false);
  await advance(host, desk, 7 * DAY_MS);
  host.pass(1);
  strictEqual((await desk.forward(carol, request(bob, 1))).accepted, true);
  await close();
  folder.kv.close();
});

Deno.test("MailboxDesk forgets an id after its time, and the sequence still refuses it", async () => {
  const folder = await memoryFolder();
  const host = new TestHost();
  const { desk, close } = await openDesk(folder, host);
  const message = request(bob, 1);
  await desk.forward(alice, message);
  const inbox = new Inbox(desk, bob);
  await inbox.untilReceived(1);
  await inbox.purge(inbox.received[0]!);
  await advance(host, desk, 8 * DAY_MS);
  strictEqual(
    (await desk.forward(alice, message)).delivered,
    true,
    "kept longer while its receipt waits",
  );
  const outbox = new Outbox(desk, alice);
  await outbox.untilReceived(1);
  await outbox.attachment.acknowledge([message.msgId]);
  await advance(host, desk, 8 * DAY_MS);
  strictEqual(
    (await desk.forward(alice, message)).rejectionReason,
    "sequence 1 was already used (last accepted 1)",
  );
  strictEqual(inbox.received.length, 1);
  await close();
  folder.kv.close();
});

Deno.test("MailboxDesk ends what waits for an unpaired peer and keeps what it sent", async () => {
  const folder = await memoryFolder();
  const host = new TestHost();
  const strangers: ReturnType<typeof peer>[] = [];
  const { desk, close } = await openDesk(folder, host, { strangers });
  const toBob = request(bob, 1);
  await desk.forward(alice, toBob);
  await desk.forward(bob, request(alice, 1, "from bob"));
  const pending = desk.forward(alice, request(bob, 2));
  strangers.push(bob);
  await desk.removePeer(bob);
  await pending;
  deepStrictEqual((await desk.accounts.queues()).map(({ peerId }) => peerId.toString()), [
    alice.toString(),
  ]);
  const outbox = new Outbox(desk, alice);
  await outbox.untilReceived(1);
  deepStrictEqual(outbox.outcomes()[0], [toHex(toBob.msgId), false, "recipient was unpaired"]);
  const inbox = new Inbox(desk, alice);
  await inbox.untilReceived(1);
  deepStrictEqual(inbox.texts(), ["from bob"]);
  await inbox.purge(inbox.received[0]!);
  await close();
  folder.kv.close();
});

Deno.test("MailboxDesk finishes an unpairing that a crash cut short", async () => {
  const folder = await memoryFolder();
  const host = new TestHost();
  const { desk, close } = await openDesk(folder, host);
  await desk.forward(alice, request(bob, 1));
  await close();
  await folder.kv.set(["mailbox", "leaving", bob.bytes], 1);
  const again = await openDesk(folder, host, { strangers: [bob] });
  strictEqual(again.desk.totals().messages, 0);
  await again.close();
  const third = await openDesk(folder, host, { strangers: [bob] });
  await third.close();
  folder.kv.close();
});

Deno.test("MailboxDesk refuses when the disk is nearly full, and recovers", async () => {
  const folder = await memoryFolder();
  const host = new TestHost();
  const { desk, close } = await openDesk(folder, host, { limits: { minFreeBytes: 1000 } });
  folder.free = 1005;
  strictEqual((await desk.forward(alice, request(bob, 1, "12345"))).accepted, true);
  const refused = await desk.forward(alice, request(bob, 2, "123456"));
  strictEqual(refused.rejectionReason, "the mailbox's disk is full");
  folder.free = 10_000;
  strictEqual((await desk.forward(alice, request(bob, 2))).accepted, true);
  await close();
  folder.kv.close();
});

Deno.test("MailboxDesk refuses what follows a message that could not be stored", async () => {
  const inner = await Deno.openKv(":memory:");
  const folder = new MemoryFolder(failingOn(inner, (key) => key[1] === "waiting"));
  const { desk, close } = await openDesk(folder, new TestHost());
  const reasons = async (...acks: ReturnType<typeof desk.forward>[]) =>
    (await Promise.all(acks)).map(({ rejectionReason }) => rejectionReason);
  strictEqual((await desk.forward(alice, request(bob, 1))).accepted, true);
  failing.add(2);
  const third = request(bob, 3);
  deepStrictEqual(
    await reasons(
      desk.forward(alice, request(bob, 2, new Uint8Array(100_000))),
      desk.forward(alice, third),
      desk.forward(alice, request(bob, 4, new Uint8Array(100_000))),
      desk.forward(carol, request(bob, 1)),
    ),
    ["the mailbox's disk is full", "waiting for sequence 2", "waiting for sequence 2", null],
  );
  strictEqual(desk.totals().messages, 2);
  failing.clear();
  deepStrictEqual(await reasons(desk.forward(alice, third)), ["waiting for sequence 2"]);
  deepStrictEqual(
    await reasons(desk.forward(alice, request(bob, 2)), desk.forward(alice, third)),
    [null, null],
  );
  deepStrictEqual(await Array.fromAsync(inner.list({ prefix: ["mailbox", "blob"] })), []);
  await close();
  inner.close();
});

Deno.test("MailboxDesk keeps a message whose purge could not be stored", async () => {
  const inner = await Deno.openKv(":memory:");
  let broken = false;
  const folder = new MemoryFolder(failingOn(inner, (key) => broken && key[1] === "ended"));
  const { desk, close } = await openDesk(folder, new TestHost());
  await desk.forward(alice, request(bob, 1));
  failing.add(0);
  broken = true;
  const inbox = new Inbox(desk, bob);
  await inbox.untilReceived(1);
  await rejects(inbox.purge(inbox.received[0]!), { code: "disk-full" });
  strictEqual(desk.totals().messages, 1);
  failing.clear();
  await inbox.purge(inbox.received[0]!);
  strictEqual(inbox.drains, 1);
  await close();
  inner.close();
});

Deno.test("MailboxDesk takes of an earlier link what is next, and nothing that could pass it", async () => {
  const folder = await memoryFolder();
  const { desk, close } = await openDesk(folder, new TestHost(), {
    limits: { maxTotalBytes: 100 },
  });
  const [first, second] = [desk.linkUp(alice), desk.linkUp(alice)];
  const reasonOf = async (link: number, ...forward: Parameters<typeof request>) =>
    (await desk.forward(alice, request(...forward), link)).rejectionReason;
  strictEqual(await reasonOf(first, bob, 1), null);
  strictEqual(await reasonOf(second, bob, 2, new Uint8Array(101)), "quota exceeded");
  desk.linkUp(alice);
  strictEqual(await reasonOf(second, bob, 3), "waiting for sequence 2");
  const same = request(bob, 2);
  const [older, newer] = await Promise.all([
    desk.forward(alice, same, second),
    desk.forward(alice, same),
  ]);
  deepStrictEqual([older.accepted, newer.accepted], [true, true]);
  strictEqual(desk.totals().messages, 2);
  await close();
  folder.kv.close();
});

Deno.test("MailboxDesk counts a message that is offered again under a new number", async () => {
  const folder = await memoryFolder();
  const host = new TestHost();
  const { desk, close } = await openDesk(folder, host);
  const message = request(bob, 1);
  await desk.forward(alice, message);
  const again = await desk.forward(alice, { ...message, sequenceNumber: 2 });
  deepStrictEqual([again.accepted, again.lastSequence], [true, 2]);
  strictEqual((await desk.forward(alice, request(bob, 2))).accepted, false);
  strictEqual((await desk.forward(alice, request(bob, 3))).accepted, true);
  strictEqual(desk.totals().messages, 2);
  await close();
  const reopened = await openDesk(folder, host);
  strictEqual(reopened.desk.lastAccepted(alice, bob), 3);
  await reopened.close();
  folder.kv.close();
});

Deno.test("MailboxDesk tells the sender when the stored body is damaged", async () => {
  const folder = await memoryFolder();
  const { desk, close } = await openDesk(folder, new TestHost());
  const message = request(bob, 1, new Uint8Array(5_000));
  await desk.forward(alice, message);
  await desk.forward(alice, request(bob, 2));
  for await (const { key } of folder.kv.list({ prefix: ["mailbox", "body"] }, { limit: 1 })) {
    await folder.kv.delete(key);
  }
  const outbox = new Outbox(desk, alice);
  const inbox = new Inbox(desk, bob);
  await inbox.untilReceived(1);
  deepStrictEqual(inbox.texts(), ["message 2"]);
  await outbox.untilReceived(1);
  deepStrictEqual(outbox.outcomes(), [[toHex(message.msgId), false, "damaged in the mailbox"]]);
  await close();
  folder.kv.close();
});

Deno.test("MailboxDesk reports its queues", async () => {
  const folder = await memoryFolder();
  const host = new TestHost();
  const { desk, close } = await openDesk(folder, host);
  await desk.forward(alice, request(bob, 1, "12345"));
  host.pass(90_500);
  await desk.forward(carol, request(bob, 1, "123"));
  deepStrictEqual(await desk.accounts.queues(), [
    { peerId: bob, pendingMessages: 2, oldestMessageAgeSecs: 90, totalBytes: 8 },
  ]);
  deepStrictEqual(desk.totals(), { messages: 2, bytes: 8 });
  await close();
  await rejects(desk.forward(alice, request(bob, 2)), { code: "closed" });
  folder.kv.close();
});

Deno.test("MailboxDesk stores nothing of a body but the ciphertext it was given", async () => {
  const folder = await memoryFolder();
  const { desk, close } = await openDesk(folder, new TestHost());
  const backing = bodyOf("neighbour in the same buffer, then the body");
  const view = backing.subarray(backing.length - 4);
  await desk.forward(alice, request(bob, 1, view));
  for await (const { value } of folder.kv.list({ prefix: ["mailbox"] })) {
    const text = new TextDecoder().decode(value instanceof Uint8Array ? value : undefined);
    ok(!text.includes("neighbour"));
    if (value instanceof Uint8Array) strictEqual(textOf(value), "body");
  }
  await close();
  folder.kv.close();
});

/** Sequences whose commits fail; 0 stands for every other record. */
const failing = new Set<number>();

function sequenceIn(record: unknown): number {
  return decodeWaiting(record, { from: alice, to: bob, order: 0 }).sequence;
}

/** Deno KV on which commits fail that journal a record that `matches`. */
function failingOn(kv: Deno.Kv, matches: (key: Deno.KvKey) => boolean): Deno.Kv {
  return new Proxy(kv, {
    get(target, name) {
      if (name !== "atomic") {
        const value = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      }
      return () => {
        const atomic = target.atomic();
        let fails = false;
        const { set, commit } = atomic;
        atomic.set = (key, value) => {
          for (const [changed, next] of key[1] === "journal" ? Object(value) : []) {
            const sequence = changed[1] === "waiting" && next ? sequenceIn(next) : 0;
            fails ||= matches(changed) && failing.has(sequence);
          }
          return set.call(atomic, key, value);
        };
        atomic.commit = () =>
          fails ? Promise.reject(new TypeError("database or disk is full")) : commit.call(atomic);
        return atomic;
      };
    },
  });
}

/** Lets time pass in steps of ten minutes, as the server's timer sees it. */
async function advance(
  host: TestHost,
  desk: { sweep(): Promise<void> },
  ms: number,
): Promise<void> {
  for (let left = ms; left > 0; left -= 600_000) {
    host.pass(Math.min(left, 600_000));
    await desk.sweep();
  }
}
