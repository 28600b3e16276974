import { ok, throws } from "node:assert/strict";
import { MessageType } from "../../src/protocol/message_types.ts";
import { CrashScene, texts } from "../support/crash_scene.ts";
import { assertNoKeyUsedTwice, keyNameOf } from "../support/key_use.ts";

Deno.test("No key encrypts twice while both sides write and everyone is killed in turn", async () => {
  await using scene = await CrashScene.open(["alice", "bob"]);
  const { alice, bob } = scene.peers;
  let atAlice = await alice.listenOnline();
  let atBob = await bob.listenOnline();
  const bothWrite = async (label: string) => [
    ...await alice.handOver(bob, texts(`${label}, alice`, 8)),
    ...await bob.handOver(alice, texts(`${label}, bob`, 8)),
  ];
  await bothWrite("first");
  await scene.server.kill();
  await bothWrite("while the server is away");
  await scene.server.start();
  await bothWrite("second");
  await alice.kill(atAlice);
  atAlice = await alice.listenOnline();
  await bothWrite("third");
  await bob.kill(atBob);
  atBob = await bob.listenOnline();
  const last = await bothWrite("last");
  await Promise.all(last.map(({ accepted }) => accepted));
  await alice.kill(atAlice);
  await bob.kill(atBob);
  await alice.readAll();
  await bob.readAll();

  await scene.assertAllArrived();
  const keys = new Set(
    [...alice.requests(), ...bob.requests()].map((request) => keyNameOf(request.encryptedPayload)),
  );
  ok(keys.size >= 80);
});

Deno.test("A sender that is killed goes on in its session behind the keys that it has used", async () => {
  await using scene = await CrashScene.open(["alice", "bob"]);
  const { alice, bob } = scene.peers;
  await alice.converse(bob, "weather");
  for (const round of ["first", "second", "third"]) {
    const sender = await alice.listenOnline();
    const left = alice.proxy.next("up", MessageType.ForwardRequest, 3);
    await alice.handOver(bob, texts(round, 3));
    await left;
    await alice.kill(sender);
  }
  await alice.sendAccepted(bob, "and one more");

  await bob.readAll();
  await scene.assertAllArrived();
});

Deno.test("The watch over keys sees a key that encrypts twice", async () => {
  await using scene = await CrashScene.open(["alice", "bob"]);
  const { alice, bob } = scene.peers;
  await alice.sendAccepted(bob, "hello");
  const [request] = alice.requests();
  ok(request);
  assertNoKeyUsedTwice([request, request]);
  const encryptedPayload = request.encryptedPayload.slice();
  encryptedPayload[encryptedPayload.length - 1]! ^= 1;
  throws(
    () => assertNoKeyUsedTwice([request, { ...request, encryptedPayload }]),
    /encrypted twice/,
  );
});
