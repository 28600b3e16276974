import { deepEqual, equal, ok } from "node:assert/strict";
import { decodeForwardDeliver, encodeForwardDeliver } from "../../src/protocol/forward_messages.ts";
import { MessageType } from "../../src/protocol/message_types.ts";
import { CrashScene, lockStore, someTurns, texts } from "../support/crash_scene.ts";
import { parseLine, type PeerActor } from "../support/peer_actor.ts";

Deno.test("A reader that is killed before its purge left prints again only what it had not acknowledged", async () => {
  await using scene = await CrashScene.open(["alice", "bob"]);
  const { alice, bob } = scene.peers;
  const ids = await sendAll(alice, bob, texts("hello", 5));
  bob.proxy.hold("up", MessageType.ForwardPurge);
  const purge = bob.proxy.nextOf("up", MessageType.ForwardPurge);
  const reader = bob.listen();
  await reader.output.first(5);
  await purge;
  const open = await bob.kill(reader);
  bob.proxy.release();
  deepEqual(await scene.server.queues(), { [bob.id.toString()]: 5 });
  ok(open.length <= 1, "what comes before the last line was acknowledged");
  deepEqual(open, ids.slice(ids.length - open.length));

  const drained = bob.proxy.nextOf("down", MessageType.MailboxDrained);
  const again = bob.listen();
  await drained;
  await again.output.first(open.length);
  equal(await again.end(), 0);

  deepEqual(again.output.all.map((line) => parseLine(line).id), open);
  equal(bob.proxy.all("down", MessageType.ForwardDeliver).length, 10);
  deepEqual(await scene.server.queues(), {});
  await scene.assertAllArrived();
});

Deno.test("A reader purges nothing that is not on its disk yet", async () => {
  await using scene = await CrashScene.open(["alice", "bob"]);
  const { alice, bob } = scene.peers;
  await sendAll(alice, bob, texts("hello", 5));
  bob.proxy.hold("down", MessageType.ForwardDeliver);
  const held = bob.proxy.next("down", MessageType.ForwardDeliver, 5);
  const reader = await bob.listenOnline();
  await held;
  {
    using _lock = lockStore(bob);
    bob.proxy.release();
    await someTurns(bob);
    deepEqual(bob.proxy.all("up", MessageType.ForwardPurge), []);
    await reader.kill();
  }
  deepEqual(await bob.stored(["inbox"]), []);
  bob.proxy.cut();

  await bob.readAll();

  await scene.assertAllArrived();
});

Deno.test("A reader that is killed while nobody takes its lines prints everything after it", async () => {
  await using scene = await CrashScene.open(["alice", "bob"]);
  const { alice, bob } = scene.peers;
  const fillsEveryPipe = "x".repeat(900_000);
  const ids = await sendAll(alice, bob, [fillsEveryPipe, ...texts("hello", 4)]);
  const drained = bob.proxy.nextOf("down", MessageType.MailboxDrained);
  const reader = bob.listen({ blockOutput: true });
  await drained;
  deepEqual(await bob.kill(reader), ids);
  deepEqual(await scene.server.queues(), {});

  await bob.readAll();

  deepEqual(bob.printed().map(({ id }) => id), ids);
  equal(bob.proxy.all("down", MessageType.ForwardDeliver).length, 5);
  await scene.assertAllArrived();
});

Deno.test("A reader that is killed after its purge gets nothing twice", async () => {
  await using scene = await CrashScene.open(["alice", "bob"]);
  const { alice, bob } = scene.peers;
  await sendAll(alice, bob, texts("hello", 5));
  const drained = bob.proxy.nextOf("down", MessageType.MailboxDrained);
  const reader = bob.listen();
  await reader.output.first(5);
  await drained;
  const open = await bob.kill(reader);
  ok(open.length <= 1, "what comes before the last line was acknowledged");

  await sendAll(alice, bob, texts("and then", 2));
  await bob.readAll();

  equal(bob.proxy.all("down", MessageType.ForwardDeliver).length, 7);
  await scene.assertAllArrived();
});

Deno.test("A reader that is killed again and again while it reads misses nothing", async () => {
  await using scene = await CrashScene.open(["alice", "bob"]);
  const { alice, bob } = scene.peers;
  await sendAll(alice, bob, texts("hello", 30));
  for (const lines of [1, 4, 7]) {
    const reader = bob.listen();
    await reader.output.first(lines);
    await bob.kill(reader);
  }

  await bob.readAll();

  deepEqual(await scene.server.queues(), {});
  await scene.assertAllArrived();
});

Deno.test("A message that arrives damaged is encrypted again and takes its old place", async () => {
  await using scene = await CrashScene.open(["alice", "bob"]);
  const { alice, bob } = scene.peers;
  await sendAll(alice, bob, texts("hello", 5));
  const sender = await alice.listenOnline();
  bob.proxy.alterNext("down", MessageType.ForwardDeliver, (payload) => {
    const delivery = decodeForwardDeliver(payload);
    const encryptedPayload = delivery.encryptedPayload.slice();
    encryptedPayload[encryptedPayload.length - 1]! ^= 1;
    return encodeForwardDeliver({ ...delivery, encryptedPayload });
  });

  await bob.readAll();

  equal(await sender.end(), 0);
  equal(alice.requests().length, 6);
  await scene.assertAllArrived({ unopened: 1 });
});

/** Hands the messages over and waits until the server holds them; their ids. */
async function sendAll(
  from: PeerActor,
  to: PeerActor,
  messages: readonly string[],
): Promise<string[]> {
  const sender = await from.listenOnline();
  const sent = await from.handOver(to, messages);
  await Promise.all(sent.map(({ accepted }) => accepted));
  equal(await sender.end(), 0);
  return sent.map(({ id }) => id);
}
