import { deepEqual, equal, ok } from "node:assert/strict";
import { toHex } from "../../src/base/bytes.ts";
import { decodeForwardDeliver } from "../../src/protocol/forward_messages.ts";
import { MessageType } from "../../src/protocol/message_types.ts";
import { CrashScene, lockStore, someTurns, texts } from "../support/crash_scene.ts";
import { type Sent } from "../support/peer_actor.ts";

Deno.test("A server that is killed after it accepted still delivers", async () => {
  await using scene = await CrashScene.open(["alice", "bob"]);
  const { alice, bob } = scene.peers;
  for (const text of texts("hello", 5)) await alice.sendAccepted(bob, text);

  await scene.server.kill();
  await scene.server.start();
  await bob.readAll();

  deepEqual(await scene.server.queues(), {});
  await scene.assertAllArrived();
});

Deno.test("A server that is killed the moment it acknowledges has everything", async () => {
  await using scene = await CrashScene.open(["alice", "bob"]);
  const { alice, bob } = scene.peers;
  const { sender } = await alice.prepare(bob, texts("hello", 5));
  const acks = alice.proxy.next("down", MessageType.ForwardAck, 5);
  alice.proxy.release();
  await acks;
  await scene.server.kill();
  await sender.kill();

  await scene.server.start();

  deepEqual(await scene.server.queues(), { [bob.id.toString()]: 5 });
  await bob.readAll();
  await scene.assertAllArrived();
});

Deno.test("A server acknowledges nothing that is not on its disk yet", async () => {
  await using scene = await CrashScene.open(["alice", "bob"]);
  const { alice, bob } = scene.peers;
  const sender = await alice.listenOnline();
  // Once this is accepted, nothing else is on its way to the server's disk.
  for (const { accepted } of await alice.handOver(bob, ["before"])) await accepted;
  const left = alice.proxy.nextOf("up", MessageType.ForwardRequest);
  {
    using _lock = lockStore(scene.server);
    await alice.handOver(bob, ["hello"]);
    await left;
    await someTurns(scene.server);
    equal(alice.proxy.all("down", MessageType.ForwardAck).length, 1);
    await scene.server.kill();
  }

  const accepted = alice.proxy.nextOf("down", MessageType.ForwardAck);
  await scene.server.start();
  await accepted;
  deepEqual(await scene.server.queues(), { [bob.id.toString()]: 2 });
  equal(await sender.end(), 0);
  await bob.readAll();
  await scene.assertAllArrived();
});

Deno.test("A server that is killed while large messages come in stores each once and leaves no parts", async () => {
  await using scene = await CrashScene.open(["alice", "bob"]);
  const { alice, bob } = scene.peers;
  const large = ["a", "b", "c", "d"].map((letter) => letter.repeat(900_000));
  const { sent } = await alice.prepare(bob, large);
  const first = alice.proxy.nextOf("up", MessageType.ForwardRequest);
  alice.proxy.release();
  await first;
  await scene.server.restartAfterKill();
  await alice.proxy.nextOf("down", MessageType.ForwardAck);
  await scene.server.restartAfterKill();
  await Promise.all(sent.map(({ accepted }) => accepted));
  await scene.server.stop();
  ok((await scene.server.bodyParts()).length > 0);

  await scene.server.start();
  await bob.readAll();
  await scene.server.stop();
  deepEqual(await scene.server.bodyParts(), []);
  await scene.assertAllArrived();
});

Deno.test("A server that is killed before a purge delivers again, and nothing is printed twice", async () => {
  await using scene = await CrashScene.open(["alice", "bob"]);
  const { alice, bob } = scene.peers;
  await alice.listenOnline();
  const sent = await alice.handOver(bob, texts("hello", 5));
  await Promise.all(sent.map(({ accepted }) => accepted));

  bob.proxy.hold("up", MessageType.ForwardPurge);
  const purge = bob.proxy.nextOf("up", MessageType.ForwardPurge);
  const reader = bob.listen();
  await reader.output.first(5);
  await purge;
  await scene.server.kill();
  bob.proxy.release();

  const drained = bob.proxy.nextOf("down", MessageType.MailboxDrained);
  await scene.server.start();
  await drained;
  const deliveries = bob.proxy.all("down", MessageType.ForwardDeliver)
    .map(({ payload }) => toHex(decodeForwardDeliver(payload).msgId));
  equal(deliveries.length, 10);
  deepEqual(deliveries.slice(5), deliveries.slice(0, 5));
  deepEqual(await scene.server.queues(), {});
  equal(await reader.end(), 0);
  await scene.assertAllArrived();
});

Deno.test("A server that is killed before its acknowledgement came has stored once what is offered again", async () => {
  await using scene = await CrashScene.open(["alice", "bob"]);
  const { alice, bob } = scene.peers;
  const { sender, sent } = await alice.prepare(bob, texts("hello", 5));
  const acks = alice.proxy.next("down", MessageType.ForwardAck, 5);
  alice.proxy.release();
  alice.proxy.hold("down", MessageType.ForwardAck);
  await acks;
  await scene.server.kill();
  alice.proxy.release();
  await scene.server.start();

  await Promise.all(sent.map(({ accepted }) => accepted));

  deepEqual(await scene.server.queues(), { [bob.id.toString()]: 5 });
  equal(await sender.end(), 0);
  await bob.readAll();
  await scene.assertAllArrived();
});

Deno.test("Two senders write to one reader that is away while the server is killed three times", async () => {
  await using scene = await CrashScene.open(["alice", "bob", "carol"], 360);
  const { alice, bob, carol } = scene.peers;
  const senders = [await alice.listenOnline(), await carol.listenOnline()];
  const sent: Sent[] = [];
  for (const round of ["first", "second", "third"]) {
    const acknowledged = alice.proxy.nextOf("down", MessageType.ForwardAck);
    const handedOver = [alice, carol].map(async (sender) => {
      sent.push(...await sender.handOver(bob, texts(`${sender.name}, ${round}`, 6)));
    });
    await acknowledged;
    await scene.server.kill();
    await Promise.all(handedOver);
    await scene.server.start();
  }
  await Promise.all(sent.map(({ accepted }) => accepted));
  for (const sender of senders) equal(await sender.end(), 0);

  deepEqual(await scene.server.queues(), { [bob.id.toString()]: 36 });
  await bob.readAll();
  deepEqual(await scene.server.queues(), {});
  await scene.assertAllArrived();
});
