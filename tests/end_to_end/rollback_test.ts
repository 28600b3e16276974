import { deepEqual, equal, notDeepEqual, ok } from "node:assert/strict";
import { toHex } from "../../src/base/bytes.ts";
import { decodeMailboxStatus, type ForwardRequest } from "../../src/protocol/forward_messages.ts";
import { MessageType } from "../../src/protocol/message_types.ts";
import { decodeBody } from "../../src/protocol/session/message_body.ts";
import { CrashScene, texts } from "../support/crash_scene.ts";
import { copyFolder, overwriteFolder, replaceFolder } from "../support/folder_copies.ts";
import { type PeerActor } from "../support/peer_actor.ts";

Deno.test("A sender that was copied to another folder encrypts in new sessions only", async () => {
  await using scene = await CrashScene.open(["alice", "bob"]);
  const { alice, bob } = scene.peers;
  const copy = `${scene.folder}/copy of alice`;
  await alice.sendAccepted(bob, "before the copy");
  await copyFolder(alice.folder, copy);
  for (const text of texts("after the copy", 3)) await alice.sendAccepted(bob, text);
  const old = alice.requests();

  alice.folder = copy;
  for (const text of texts("from the copy", 3)) await alice.sendAccepted(bob, text);

  assertNewSessions(old, alice.requests());
  await bob.readAll();
  await scene.assertAllArrived();
});

Deno.test("A copy of a sender does not use the keys of what left the original and never arrived", async () => {
  await using scene = await CrashScene.open(["alice", "bob"]);
  const { alice, bob } = scene.peers;
  const copy = `${scene.folder}/copy of alice`;
  await alice.converse(bob, "before the copy");
  await copyFolder(alice.folder, copy);
  alice.proxy.hold("up", MessageType.ForwardRequest);
  const left = alice.proxy.nextOf("up", MessageType.ForwardRequest);
  const original = alice.send(bob, "lost with its sender");
  await left;
  await original.kill();
  alice.proxy.cut();
  alice.proxy.release();
  bob.forgo("lost with its sender");
  const old = alice.requests();

  alice.folder = copy;
  await alice.sendAccepted(bob, "from the copy");

  assertNewSessions(old, alice.requests());
  await bob.readAll();
  await scene.assertAllArrived();
});

Deno.test("A sender whose folder was overwritten in place by an older copy is told by the server", async () => {
  await using scene = await CrashScene.open(["alice", "bob"]);
  const { alice, bob } = scene.peers;
  const copy = `${scene.folder}/copy of alice`;
  await alice.sendAccepted(bob, "before the copy");
  await copyFolder(alice.folder, copy);
  for (const text of texts("after the copy", 3)) await alice.sendAccepted(bob, text);
  const old = alice.requests();

  await overwriteFolder(alice.folder, copy);
  for (const text of texts("from the copy", 3)) await alice.sendAccepted(bob, text);

  assertNewSessions(old, alice.requests());
  await bob.readAll();
  await scene.assertAllArrived();
});

Deno.test("A sender that was rolled back in the middle of a conversation goes on with it", async () => {
  await using scene = await CrashScene.open(["alice", "bob"]);
  const { alice, bob } = scene.peers;
  const copy = `${scene.folder}/copy of alice`;
  await alice.converse(bob, "before the copy");
  await copyFolder(alice.folder, copy);
  await alice.converse(bob, "after the copy");
  const old = alice.requests();

  await overwriteFolder(alice.folder, copy);
  await alice.sendAccepted(bob, "from the copy");
  assertNewSessions(old, alice.requests());
  await bob.readAll();
  await alice.converse(bob, "and on");

  await scene.assertAllArrived();
});

Deno.test("Senders notice a server whose folder was overwritten in place by an older copy", async () => {
  await using scene = await CrashScene.open(["alice", "bob"]);
  const { alice, bob } = scene.peers;
  const copy = `${scene.folder}/copy of the server`;
  for (const text of texts("before the copy", 2)) await alice.sendAccepted(bob, text);
  await scene.server.stop();
  await copyFolder(scene.server.folder, copy);
  await scene.server.start();
  for (const text of texts("after the copy", 3)) await alice.sendAccepted(bob, text);

  await scene.server.stop();
  await overwriteFolder(scene.server.folder, copy);
  await scene.server.start();
  await alice.sendAccepted(bob, "and one more");

  deepEqual(await scene.server.queues(), { [bob.id.toString()]: 6 });
  await bob.readAll();
  await scene.assertAllArrived();
});

Deno.test("Senders offer again to a restored server what lacks a receipt", async () => {
  await using scene = await CrashScene.open(["alice", "bob", "carol"]);
  const { alice, bob, carol } = scene.peers;
  const copy = `${scene.folder}/copy of the server`;
  await scene.server.stop();
  await copyFolder(scene.server.folder, copy);
  await scene.server.start();
  for (const text of texts("read, without a receipt", 5)) await alice.sendAccepted(bob, text);
  await bob.readAll();
  for (const text of texts("not even read", 3)) await carol.sendAccepted(bob, text);
  const [before] = storeIds(carol);

  await scene.server.stop();
  await replaceFolder(scene.server.folder, copy);
  await scene.server.start();
  const offeredAgain = [
    alice.proxy.next("down", MessageType.ForwardAck, 5),
    carol.proxy.next("down", MessageType.ForwardAck, 3),
  ];
  const senders = [await alice.listenOnline(), await carol.listenOnline()];
  await Promise.all(offeredAgain);
  notDeepEqual(storeIds(carol).at(-1), before);
  deepEqual(await scene.server.queues(), { [bob.id.toString()]: 8 });

  const receipts = [
    alice.proxy.next("up", MessageType.ReceiptAck, 5),
    carol.proxy.next("up", MessageType.ReceiptAck, 3),
  ];
  await bob.readAll();
  await Promise.all(receipts);
  for (const sender of senders) equal(await sender.end(), 0);
  deepEqual([...await alice.stored(["outbox"]), ...await carol.stored(["outbox"])], []);
  await scene.assertAllArrived();
});

function assertNewSessions(old: readonly ForwardRequest[], all: readonly ForwardRequest[]): void {
  const used = new Set(old.map(sessionOf));
  const encryptedSince = all.slice(old.length)
    .filter(({ msgId }) => !old.some((earlier) => toHex(earlier.msgId) === toHex(msgId)));
  ok(encryptedSince.length > 0);
  for (const request of encryptedSince) {
    ok(!used.has(sessionOf(request)), "an old session was used");
  }
}

function sessionOf({ encryptedPayload }: ForwardRequest): string {
  return toHex(decodeBody(encryptedPayload).sessionId);
}

function storeIds({ proxy }: PeerActor): string[] {
  return proxy.all("down", MessageType.MailboxStatus)
    .map(({ payload }) => toHex(decodeMailboxStatus(payload).storeId));
}
