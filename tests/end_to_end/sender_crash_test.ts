import { deepEqual, equal, rejects } from "node:assert/strict";
import { toHex } from "../../src/base/bytes.ts";
import type { ForwardRequest } from "../../src/protocol/forward_messages.ts";
import { sha256 } from "../../src/protocol/crypto/primitives.ts";
import { MessageType } from "../../src/protocol/message_types.ts";
import { CrashScene, lockStore, someTurns, texts } from "../support/crash_scene.ts";

Deno.test("A sender that is killed before the acknowledgement offers the same bytes again", async () => {
  await using scene = await CrashScene.open(["alice", "bob"]);
  const { alice, bob } = scene.peers;
  const { sender, sent } = await alice.prepare(bob, texts("hello", 5));
  const acks = alice.proxy.next("down", MessageType.ForwardAck, 5);
  alice.proxy.release();
  alice.proxy.hold("down", MessageType.ForwardAck);
  await acks;
  deepEqual(await scene.server.queues(), { [bob.id.toString()]: 5 });
  await sender.kill();
  alice.proxy.cut();
  alice.proxy.release();
  for (const { accepted } of sent) await rejects(accepted);

  await alice.sendAccepted(bob, "and one more");

  const requests = alice.requests().map(offered);
  deepEqual(requests.slice(5, 10), requests.slice(0, 5));
  equal(requests.length, 11);
  deepEqual(await scene.server.queues(), { [bob.id.toString()]: 6 });
  await bob.readAll();
  await scene.assertAllArrived();
});

Deno.test("A sender that is killed after the acknowledgement learns later of the delivery", async () => {
  await using scene = await CrashScene.open(["alice", "bob"]);
  const { alice, bob } = scene.peers;
  const sender = await alice.listenOnline();
  const sent = await alice.handOver(bob, texts("hello", 5));
  await Promise.all(sent.map(({ accepted }) => accepted));
  await sender.kill();
  equal((await alice.stored(["outbox"])).length, 5);

  await bob.readAll();
  const receipts = alice.proxy.next("down", MessageType.ForwardAck, 5);
  const answers = alice.proxy.next("up", MessageType.ReceiptAck, 5);
  alice.proxy.hold("down", MessageType.MailboxStatus);
  const again = await alice.listenOnline();
  await receipts;
  alice.proxy.release(); // The status and all receipts arrive at once.
  await answers;
  equal(await again.end(), 0);

  equal(alice.requests().length, 5, "nothing was offered again");
  deepEqual(await alice.stored(["outbox"]), []);
  deepEqual(await alice.stored(["wire"]), []);
  await scene.assertAllArrived();
});

Deno.test("A sender that is killed between encrypting and sending sends the same bytes", async () => {
  await using scene = await CrashScene.open(["alice", "bob"]);
  const { alice, bob } = scene.peers;
  await alice.converse(bob, "weather");
  const before = alice.requests().length;
  const { sender } = await alice.prepare(bob, texts("hello", 5));
  const held = alice.proxy.next("up", MessageType.ForwardRequest, 5);
  alice.proxy.release();
  alice.proxy.hold("up", MessageType.ForwardRequest);
  await held;
  await sender.kill();
  alice.proxy.cut();
  alice.proxy.release();
  deepEqual(await scene.server.queues(), {}, "nothing has reached the server");

  await alice.sendAccepted(bob, "and one more");

  const requests = alice.requests().slice(before).map(offered);
  equal(requests.length, 11);
  deepEqual(requests.slice(5, 10), requests.slice(0, 5));
  await bob.readAll();
  await scene.assertAllArrived();
});

Deno.test("Nothing leaves a sender before it is on its disk that it was encrypted", async () => {
  await using scene = await CrashScene.open(["alice", "bob"]);
  const { alice, bob } = scene.peers;
  await alice.converse(bob, "weather");
  const before = alice.requests().length;
  const { sender } = await alice.prepare(bob, texts("hello", 5));
  {
    using _lock = lockStore(alice);
    const report = alice.proxy.nextOf("down", MessageType.SequenceReport);
    alice.proxy.release();
    await report;
    await someTurns(alice);
    equal(alice.requests().length, before);
    await sender.kill();
  }

  await alice.sendAccepted(bob, "and one more");

  await bob.readAll();
  await scene.assertAllArrived();
});

Deno.test("A sender that is killed before it has a session encrypts nothing twice", async () => {
  await using scene = await CrashScene.open(["alice", "bob"]);
  const { alice, bob } = scene.peers;
  const sender = await alice.listenOnline();
  alice.proxy.hold("down", MessageType.PrekeyBundle);
  const bundle = alice.proxy.nextOf("down", MessageType.PrekeyBundle);
  await alice.handOver(bob, texts("hello", 5));
  await bundle;
  await sender.kill();
  alice.proxy.cut();
  alice.proxy.release();

  await alice.sendAccepted(bob, "and one more");

  equal(alice.requests().length, 6);
  await bob.readAll();
  await scene.assertAllArrived();
});

/** What must be the same when a message is offered again. */
function offered({ msgId, encryptedPayload, sequenceNumber }: ForwardRequest): string {
  return `${sequenceNumber} ${toHex(msgId)} ${toHex(sha256(encryptedPayload))}`;
}
