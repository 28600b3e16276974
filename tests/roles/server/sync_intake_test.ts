import { deepEqual, equal } from "node:assert/strict";
import type { PeerId } from "../../../src/protocol/crypto/peer_id.ts";
import type { SyncRequest } from "../../../src/protocol/sync_messages.ts";
import {
  bodyOf,
  Inbox,
  type MemoryFolder,
  memoryFolder,
  openDesk,
  Outbox,
  peer,
  request,
  type Scene,
  TestHost,
  textOf,
} from "./mailbox_scene.ts";

const [alice, bob, carol, stranger] = ["alice", "bob", "carol", "stranger"].map(peer) as [
  PeerId,
  PeerId,
  PeerId,
  PeerId,
];

let requests = 0;

/** One message for several, each with the number that it has for them. */
function syncFor(text: string, ...numbers: [recipient: PeerId, sequence: number][]): SyncRequest {
  const rows = numbers.map(([recipient, sequenceNumber]) => {
    const { msgId } = request(recipient, sequenceNumber);
    return { recipient, msgId, encryptedPayload: bodyOf(`for ${recipient}`), sequenceNumber };
  });
  const id = new Uint8Array(16);
  new DataView(id.buffer).setUint32(12, ++requests);
  return { id, sharedBody: bodyOf(text), rows };
}

function syncTest(
  name: string,
  story: (scene: Scene, folder: MemoryFolder) => Promise<void>,
  limits = {},
): void {
  Deno.test(`SyncIntake ${name}`, async () => {
    const folder = await memoryFolder();
    const scene = await openDesk(folder, new TestHost(), { limits, strangers: [stranger] });
    try {
      await story(scene, folder);
    } finally {
      await scene.close();
      folder.kv.close();
    }
  });
}

/** What a recipient is brought: the body that it shares, or its own. */
async function read(scene: Scene, recipient: PeerId, count: number): Promise<string[]> {
  const inbox = new Inbox(scene.desk, recipient);
  await inbox.untilReceived(count);
  await inbox.purge(...inbox.received);
  inbox.attachment.detach();
  return inbox.received.map(({ encryptedPayload, sharedBody }) =>
    textOf(sharedBody ?? encryptedPayload)
  );
}

async function records(folder: MemoryFolder, ...prefix: string[]): Promise<Deno.KvKey[]> {
  const entries = await Array.fromAsync(folder.kv.list({ prefix: ["mailbox", ...prefix] }));
  return entries.map(({ key }) => key);
}

syncTest(
  "keeps the order with what is forwarded to each, when all comes at once",
  async (scene) => {
    const { desk } = scene;
    const acks = await Promise.all([
      desk.forward(alice, request(bob, 1, "one")),
      desk.sync(alice, syncFor("two", [bob, 2], [carol, 1])),
      desk.forward(alice, request(bob, 3, "three")),
      desk.sync(alice, syncFor("four", [bob, 4], [carol, 2])),
      desk.forward(alice, request(carol, 3, "five")),
    ]);
    deepEqual(acks.map(({ accepted }) => accepted), [true, true, true, true, true]);
    deepEqual(await read(scene, bob, 4), ["one", "two", "three", "four"]);
    deepEqual(await read(scene, carol, 3), ["two", "four", "five"]);
    deepEqual(desk.totals(), { messages: 0, bytes: 0 });
  },
);

syncTest("refuses all for one recipient's sake, and goes on without that one", async (scene) => {
  const { desk } = scene;
  await desk.accounts.setQuota(carol, { messages: 0 });
  const both = syncFor("one", [bob, 1], [carol, 1]);
  const { accepted, answers } = await desk.sync(alice, both);
  equal(accepted, false);
  deepEqual(
    answers.map(({ rejectionReason }) => rejectionReason),
    [null, "recipient queue full (0 messages)"],
  );
  const behind = await desk.forward(alice, request(bob, 2));
  equal(behind.rejectionReason, "waiting for sequence 1");
  const without = { ...both, rows: both.rows.slice(0, 1) };
  equal((await desk.sync(alice, without)).accepted, true);
  await desk.accounts.setQuota(carol, { messages: null });
  const later = { ...both, rows: both.rows.slice(1) };
  equal((await desk.sync(alice, later)).accepted, true);
  deepEqual([await read(scene, bob, 1), await read(scene, carol, 1)], [["one"], ["one"]]);
});

syncTest("knows a repeat, also with other numbers, and says how it has ended", async (scene) => {
  const { desk } = scene;
  const both = syncFor("one", [bob, 1], [carol, 1]);
  equal((await desk.sync(alice, both)).accepted, true);
  deepEqual(await read(scene, bob, 1), ["one"]);
  desk.linkUp(alice);
  const rows = both.rows.map((row) => ({ ...row, sequenceNumber: 2 }));
  const again = await desk.sync(alice, { ...both, rows });
  equal(again.accepted, true);
  deepEqual(again.answers.map(({ delivered, lastSequence }) => [delivered, lastSequence]), [
    [true, 2],
    [undefined, 2],
  ]);
  equal(desk.totals().messages, 1);
  const other = await desk.sync(alice, { ...both, sharedBody: bodyOf("another") });
  deepEqual(other.answers.map(({ rejectionReason }) => rejectionReason), [
    "message ID was used for another body",
    "message ID was used for another body",
  ]);
});

syncTest("names those that are not paired, and stores nothing", async (scene, folder) => {
  const { desk } = scene;
  const ack = await desk.sync(alice, syncFor("one", [bob, 1], [stranger, 1]));
  deepEqual(ack.answers.map(({ rejectionReason }) => rejectionReason), [
    null,
    "recipient is not a paired peer",
  ]);
  const from = await desk.sync(stranger, syncFor("one", [bob, 1]));
  equal(from.answers[0]?.rejectionReason, "sender is not a paired peer");
  deepEqual(await records(folder, "shared"), []);
  equal(desk.totals().messages, 0);
});

syncTest("counts the body once for the mailbox, and in full for each recipient", async (scene) => {
  const { desk } = scene;
  const text = "x".repeat(1_000);
  const one = syncFor(text, [bob, 1], [carol, 1]);
  equal((await desk.sync(alice, one)).accepted, true);
  const own = one.rows.reduce((sum, { encryptedPayload }) => sum + encryptedPayload.length, 0);
  equal(desk.totals().bytes, 1_000 + own);
  equal(desk.accounts.of(bob).bytes, 1_000 + one.rows[0]!.encryptedPayload.length);
  const second = await desk.sync(alice, syncFor(text, [bob, 2], [carol, 2]));
  deepEqual(second.answers.map(({ rejectionReason }) => rejectionReason), [
    "quota exceeded",
    "quota exceeded",
  ]);
}, { maxTotalBytes: 1_500 });

syncTest(
  "tells the sender of a shared body that was damaged on the disk",
  async (scene, folder) => {
    const { desk } = scene;
    await desk.sync(alice, syncFor("the truth", [bob, 1], [carol, 1]));
    const [body] = await records(folder, "shared", "body");
    await folder.kv.set(body!, bodyOf("a liiiie!"));
    const receipts = new Outbox(desk, alice);
    for (const recipient of [bob, carol]) {
      const inbox = new Inbox(desk, recipient);
      await inbox.until(() => inbox.drains > 0);
      deepEqual(inbox.received, []);
    }
    await receipts.untilReceived(2);
    deepEqual(receipts.outcomes().map(([, delivered, reason]) => [delivered, reason]), [
      [false, "damaged in the mailbox"],
      [false, "damaged in the mailbox"],
    ]);
    deepEqual(await records(folder, "shared"), []);
  },
);
