import { deepEqual, equal, notDeepEqual, ok } from "node:assert/strict";
import { toHex, utf8 } from "../../../src/base/bytes.ts";
import { PeerId } from "../../../src/protocol/crypto/peer_id.ts";
import { chooseSession } from "../../../src/protocol/session/session.ts";
import { bytesFor, identityFor } from "../../support/identities.ts";
import { assertNoKeyUsedTwice } from "../../support/key_use.ts";
import { bundlesOf, FakeMailbox, noBundle } from "../../support/mailbox_server.ts";
import { Writer } from "../../support/peer_world.ts";
import { connect, CourierScene, sessionsOf, shown } from "./courier_scene.ts";

const SECOND = 1_000;
const LARGE = "large ".repeat(80_000);

function courierTest(name: string, story: (scene: CourierScene) => Promise<void>): void {
  Deno.test(`Courier ${name}`, async () => {
    await using scene = await CourierScene.open();
    await story(scene);
  });
}

courierTest("asks for the count before the first message, and once a link", async (scene) => {
  const { mailbox, alice } = scene;
  await scene.send("1", "2");
  await scene.connect();
  await alice.events.untilLine("accepted 2");
  deepEqual(mailbox.heard.lines, ["ready", "query", "fetch", "took 1", "took 2"]);
  await scene.send("3");
  await alice.events.untilLine("accepted 3");
  deepEqual(mailbox.heard.lines.slice(5), ["took 3"]);
});

courierTest("brings messages of any size in order, and their reader opens them", async (scene) => {
  const texts = Array.from({ length: 60 }, (_, n) => n % 20 === 0 ? `${n} ${LARGE}` : `${n}`);
  await scene.send(...texts);
  await scene.connect();
  await scene.alice.events.untilLine("accepted 60");
  deepEqual(scene.numbers(), texts.map((_, n) => n + 1));
  const { taken, texts: read } = await scene.read();
  ok(taken.every((each) => each === "stored"));
  deepEqual(read, texts);
  assertNoKeyUsedTwice(scene.mailbox.requests);
});

courierTest("has at most thirty-two requests to one recipient unanswered", async (scene) => {
  const { mailbox } = scene;
  mailbox.answers = () => false;
  await scene.send(...Array.from({ length: 40 }, (_, n) => `${n}`));
  await scene.connect();
  await mailbox.heard.untilLine("took 32");
  await scene.settle();
  equal(mailbox.requests.length, 32);
});

courierTest("keeps a message until its receipt, through restarts", async (scene) => {
  const { mailbox } = scene;
  await scene.send("1", LARGE);
  await scene.connect();
  await scene.alice.events.untilLine("accepted 2");
  await scene.restart();
  deepEqual(await scene.kept(), ["1", LARGE]);
  await scene.connect();
  await mailbox.heard.untilLine("ready", 2);
  await scene.settle();
  equal(mailbox.requests.length, 2, "what the mailbox has is not offered again");
  for (const { msgId } of mailbox.accepted) mailbox.receipt(msgId);
  await mailbox.heard.untilLine("receipt ack", 2);
  deepEqual(scene.alice.events.lines, ["delivered 1", "delivered 2"]);
  deepEqual(mailbox.acknowledgedReceipts, mailbox.accepted.map(({ msgId }) => toHex(msgId)));
  await scene.restart();
  deepEqual(await scene.kept(), []);
  for (const kind of ["outbox", "wire", "blob"]) {
    deepEqual(await scene.alice.records(kind), [], kind);
  }
});

courierTest(
  "acknowledges a receipt for a message that it does not know any more",
  async (scene) => {
    await scene.connect();
    scene.mailbox.receipt(bytesFor("long ago").slice(0, 16));
    await scene.mailbox.heard.untilLine("receipt ack");
    deepEqual(scene.alice.events.lines, []);
  },
);

courierTest("drops a message that cannot reach its reader", async (scene) => {
  const { mailbox } = scene;
  await scene.send("1", "2");
  await scene.connect();
  await scene.alice.events.untilLine("accepted 2");
  mailbox.receipt(mailbox.accepted[0]!.msgId, "expired");
  await mailbox.heard.untilLine("receipt ack");
  deepEqual(scene.alice.events.lines.slice(2), ["dropped 1: refused"]);
  deepEqual(await scene.kept(), ["2"]);
});

courierTest("sends the same bytes again when the acknowledgement was lost", async (scene) => {
  const { mailbox } = scene;
  mailbox.answers = ({ sequenceNumber }) => sequenceNumber === 1;
  await scene.send("1", "2", "3");
  await scene.connect();
  await mailbox.heard.untilLine("took 3");
  await scene.alice.events.untilLine("accepted 1");
  await scene.restart();
  mailbox.answers = () => true;
  await scene.connect();
  await scene.alice.events.untilLine("accepted 3");
  const [, second, third, ...again] = mailbox.requests;
  deepEqual(again, [second, third]);
  equal(mailbox.accepted.length, 3);
  deepEqual((await scene.read(mailbox.requests)).texts, ["1", "2", "3"]);
});

courierTest("takes an answer that is acknowledgement and receipt in one", async (scene) => {
  const { mailbox } = scene;
  mailbox.answers = () => false;
  await scene.send("1");
  await scene.connect();
  await mailbox.heard.untilLine("took 1");
  mailbox.receipt(mailbox.requests[0]!.msgId);
  await mailbox.heard.untilLine("receipt ack");
  deepEqual(await scene.kept(), []);
  mailbox.answers = () => true;
  await scene.send("2");
  await scene.alice.events.untilLine("accepted 2");
});

courierTest("keeps the order and tries again when the recipient's queue is full", async (scene) => {
  const { mailbox, alice, time } = scene;
  mailbox.refuse = ({ sequenceNumber }) =>
    sequenceNumber === 2 ? "recipient queue full (10 messages)" : undefined;
  await scene.send("1", "2", "3", "4");
  await scene.connect();
  await alice.events.untilLine("refused 2: refused");
  await scene.settle();
  deepEqual(mailbox.accepted.map(({ sequenceNumber }) => sequenceNumber), [1]);
  deepEqual(await scene.kept(), ["1", "2", "3", "4"]);
  const before = mailbox.requests.length;

  time.pass(4 * SECOND);
  await scene.settle();
  equal(mailbox.requests.length, before, "not before five seconds");
  time.pass(SECOND);
  await alice.events.untilLine("refused 2: refused", 2);
  time.pass(9 * SECOND);
  await scene.settle();
  equal(alice.events.lines.filter((line) => line.startsWith("refused")).length, 2);
  mailbox.refuse = () => undefined;
  time.pass(SECOND);
  await alice.events.untilLine("accepted 4");
  deepEqual(mailbox.accepted.map(({ sequenceNumber }) => sequenceNumber), [1, 2, 3, 4]);
  deepEqual((await scene.read()).texts, ["1", "2", "3", "4"]);
  assertSameBytesPerId(scene);
});

courierTest("lets one recipient wait without the others", async (scene) => {
  const { mailbox, alice } = scene;
  const carol = PeerId.ofPublicKey(bytesFor("carol"));
  mailbox.refuse = ({ recipient }) => recipient.equals(carol) ? "quota exceeded" : undefined;
  const forBob = mailbox.bundle;
  mailbox.bundle = (peerId) => peerId.equals(carol) ? noBundle("no prekeys yet") : forBob(peerId);
  await alice.outbox.enqueue(carol, "", bytesFor("x"));
  await scene.send("1");
  await scene.connect();
  await alice.events.untilLine("accepted 1");
  await alice.events.untilLine("refused 1: refused");
  equal(alice.outbox.entries(carol).length, 1);
});

for (const reason of ["sequence gap", "already used"]) {
  courierTest(`numbers anew after "${reason}", without encrypting again`, async (scene) => {
    const { mailbox, alice, bob } = scene;
    let refusals = 0;
    mailbox.refuse = ({ sequenceNumber }) => {
      if (reason === "sequence gap" || sequenceNumber !== 3 || refusals++ > 0) return undefined;
      return "sequence 3 was already used (last accepted 2)";
    };
    await scene.send("1", "2");
    await scene.connect();
    await alice.events.untilLine("accepted 2");
    if (reason === "sequence gap") {
      const { storeId } = mailbox;
      await alice.outbox.routes.set(mailboxId(alice.outbox, scene), bob.peerId, {
        storeId,
        highest: 2_000,
      });
    }
    await scene.send("3", "4");
    await alice.events.untilLine("accepted 4");
    deepEqual(mailbox.accepted.map(({ sequenceNumber }) => sequenceNumber), [1, 2, 3, 4]);
    const refused = mailbox.requests.filter((request) => !mailbox.accepted.includes(request));
    ok(refused.length > 0);
    assertSameBytesPerId(scene);
    deepEqual((await scene.read()).texts, ["1", "2", "3", "4"]);
  });
}

courierTest(
  "asks a mailbox that refuses every number not more often than others",
  async (scene) => {
    const { mailbox, alice, time } = scene;
    mailbox.refuse = () => "sequence 1 was already used (last accepted 0)";
    await scene.send("1");
    await scene.connect();
    await alice.events.untilLine("refused 1: refused");
    await scene.settle();
    equal(mailbox.requests.length, 2, "corrected once, then left alone");
    mailbox.refuse = () => undefined;
    time.pass(5 * SECOND);
    await alice.events.untilLine("accepted 1");
  },
);

courierTest("encrypts again when its id means another body to the mailbox", async (scene) => {
  const { mailbox, alice } = scene;
  let refusals = 0;
  mailbox.refuse = () => refusals++ === 0 ? "message ID was used for another body" : undefined;
  await scene.send("1");
  await scene.connect();
  await alice.events.untilLine("accepted 1");
  const [first, second] = mailbox.requests;
  notDeepEqual(first?.msgId, second?.msgId);
  deepEqual((await scene.read()).texts, ["1"]);
  assertNoKeyUsedTwice(mailbox.requests);
});

courierTest("drops what is refused for good, and the next takes its number", async (scene) => {
  const { mailbox, alice } = scene;
  mailbox.refuse = ({ encryptedPayload }) =>
    encryptedPayload.length > 100_000
      ? "message too large (480000 bytes, at most 100000)"
      : undefined;
  await scene.send("1", LARGE, "3", "4");
  await scene.connect();
  await alice.events.untilLine("accepted 4");
  deepEqual(alice.events.lines.filter((line) => line.startsWith("dropped")), [
    "dropped 2: refused",
  ]);
  deepEqual(mailbox.accepted.map(({ sequenceNumber }) => sequenceNumber), [1, 2, 3]);
  deepEqual(await scene.kept(), ["1", "3", "4"]);
  assertSameBytesPerId(scene);
  deepEqual((await scene.read()).texts, ["1", "3", "4"]);
});

courierTest("gives up what its server takes for nobody", async (scene) => {
  const { mailbox, alice } = scene;
  mailbox.refuse = () => "recipient is not a paired peer";
  await scene.send("1", "2");
  await scene.connect();
  await alice.events.untilLine("dropped 2: refused");
  deepEqual(await scene.kept(), []);
  mailbox.refuse = () => undefined;
  await scene.send("3");
  await alice.events.untilLine("accepted 3");
  equal(mailbox.last(scene.bob.peerId), 1);
});

courierTest("keeps everything while the server does not know it any more", async (scene) => {
  const { mailbox, alice, time } = scene;
  mailbox.refuse = () => "sender is not a paired peer";
  await scene.send("1", "2");
  await scene.connect();
  await alice.events.untilLine("refused 1: not-paired");
  deepEqual(await scene.kept(), ["1", "2"]);
  mailbox.refuse = () => undefined;
  time.pass(5 * SECOND);
  await alice.events.untilLine("accepted 2");
});

courierTest("leaves to another server what that one may still have", async (scene) => {
  const { mailbox, alice, bob, time } = scene;
  const other = new FakeMailbox();
  other.storeId = bytesFor("other store").slice(0, 16);
  other.bundle = bundlesOf(await bob.publish());
  other.status = mailbox.status;
  mailbox.answers = () => false;
  mailbox.refuse = ({ sequenceNumber }) =>
    sequenceNumber === 2 ? "recipient is not a paired peer" : undefined;
  await scene.send("1");
  await scene.connect();
  await mailbox.heard.untilLine("took 1");
  const paired = [scene.serverId().toString(), identityFor("other").peerId.toString()];
  scene.servers = () => paired;
  const { conversation, pair } = await connect(alice, other, time, {
    label: "other",
    servers: scene.servers,
  });
  await other.heard.untilLine("ready");
  await scene.settle();
  equal(other.requests.length, 0, "it may be on the first server's disk");

  await scene.restart();
  mailbox.answers = () => true;
  await scene.connect();
  await scene.alice.events.untilLine("accepted 1");
  await scene.send("2");
  await mailbox.heard.untilLine("refused 2");
  await scene.settle();
  pair.cable.cut();
  await conversation.close();
  const second = await connect(scene.alice, other, time, {
    label: "other",
    servers: scene.servers,
  });
  await scene.alice.events.untilLine("accepted 2");
  equal(other.requests.length, 1, "what one server never takes the other one gets");
  assertNoKeyUsedTwice([...mailbox.requests, ...other.requests]);
  second.pair.cable.cut();
  await second.conversation.close();
});

courierTest("waits for prekeys that are not there yet", async (scene) => {
  const { mailbox, alice, time } = scene;
  const { bundle } = mailbox;
  mailbox.bundle = () => noBundle("the peer has published no prekeys");
  await scene.send("1", "2");
  await scene.connect();
  await alice.events.untilLine("refused 2: refused");
  deepEqual(alice.events.lines, ["refused 1: refused", "refused 2: refused"]);
  await scene.settle();
  equal(mailbox.requests.length, 0);
  mailbox.bundle = bundle;
  time.pass(5 * SECOND);
  await alice.events.untilLine("accepted 2");
});

courierTest("drops messages to a peer that the server does not know", async (scene) => {
  scene.mailbox.bundle = () => noBundle("recipient is not a paired peer");
  await scene.send("1", "2");
  await scene.connect();
  await scene.alice.events.untilLine("dropped 2: refused");
  deepEqual(await scene.kept(), []);
});

courierTest("does not encrypt under keys that are not its recipient's own", async (scene) => {
  const { mailbox, alice, bob } = scene;
  const genuine = await bob.publish();
  const mallory = new Writer("mallory", bob.peerId, scene.time, genuine);
  const { bundle } = mailbox;
  const tampered = genuine.signedPart.slice();
  tampered[tampered.length - 1]! ^= 1;
  const bad = [
    { ...genuine, signedPart: tampered },
    { ...genuine, signature: mallory.own.identity.sign(genuine.signedPart) },
    await alice.publish(),
  ];
  await scene.connect();
  for (const [n, publication] of bad.entries()) {
    mailbox.bundle = bundlesOf(publication);
    if (n === 0) await scene.send("secret");
    else scene.time.pass(60 * SECOND);
    await alice.events.untilLine("refused 1: refused", n + 1);
  }
  equal(mailbox.requests.length, 0);
  mailbox.bundle = bundle;
  scene.time.pass(60 * SECOND);
  await alice.events.untilLine("accepted 1");
});

courierTest("does not encrypt under keys that have expired", async (scene) => {
  const { mailbox, alice } = scene;
  await scene.send("1");
  scene.time.wall += 31 * 86_400_000;
  await scene.connect();
  await alice.events.untilLine("refused 1: refused");
  equal(mailbox.requests.length, 0);
});

courierTest("writes in a new session to a reader that could not open the old", async (scene) => {
  const { mailbox, alice } = scene;
  await scene.send("1");
  await scene.connect();
  await alice.events.untilLine("accepted 1");
  mailbox.receipt(mailbox.requests[0]!.msgId, "cannot be opened");
  await mailbox.heard.untilLine("took 2");
  const [first, second] = mailbox.requests;
  notDeepEqual(second?.msgId, first?.msgId);
  equal(sessionsOf(mailbox.requests).length, 2);
  await scene.send("2");
  await alice.events.untilLine("accepted 2");
  equal(sessionsOf(mailbox.requests.slice(1)).length, 1, "what follows goes the new way too");
  const { taken } = await scene.read(mailbox.requests);
  deepEqual(taken, ["stored", "stored", "stored"]);
  deepEqual((await scene.read([])).texts, ["1", "2"], "the repeat is the same message inside");
});

courierTest("writes what could not be opened in one new session", async (scene) => {
  const { mailbox, alice } = scene;
  await scene.send(...Array.from({ length: 20 }, (_, n) => `${n}`));
  await scene.connect();
  await alice.events.untilLine("accepted 20");
  for (const { msgId } of [...mailbox.accepted]) mailbox.receipt(msgId, "cannot be opened");
  await mailbox.heard.until(() => mailbox.accepted.length === 40);
  equal(sessionsOf(mailbox.requests.slice(20)).length, 1);
});

courierTest("gives a message up that its reader failed to open six times", async (scene) => {
  const { mailbox } = scene;
  await scene.send("1");
  await scene.connect();
  for (let n = 1; n <= 6; n++) {
    await mailbox.heard.until(() => mailbox.requests.length >= n);
    if (n === 3) {
      // A restart does not make it begin to count again.
      await scene.alice.events.untilLine("accepted 1", n);
      await scene.restart();
      await scene.connect();
    }
    mailbox.receipt(mailbox.requests[n - 1]!.msgId, "cannot be opened");
    await mailbox.heard.untilLine("receipt ack", n);
  }
  equal(scene.alice.events.lines.at(-1), "dropped 1: refused");
  equal(mailbox.requests.length, 6);
  equal(sessionsOf(mailbox.requests).length, 6);
  deepEqual(await scene.kept(), []);
});

courierTest("starts a new session after five hundred unanswered messages", async (scene) => {
  const { mailbox, alice } = scene;
  await scene.send(...Array.from({ length: 502 }, (_, n) => `${n}`));
  await scene.connect();
  await alice.events.untilLine("accepted 502");
  equal(mailbox.heard.lines.filter((line) => line === "fetch").length, 2);
  equal(sessionsOf(mailbox.requests.slice(0, 500)).length, 1);
  equal(sessionsOf(mailbox.requests.slice(500)).length, 1);
  equal(sessionsOf(mailbox.requests).length, 2);
  const { texts } = await scene.read();
  deepEqual(texts, Array.from({ length: 502 }, (_, n) => `${n}`));
});

courierTest("offers nothing twice while it waits for answers and keys run out", async (scene) => {
  const { mailbox, alice, bob } = scene;
  await scene.send("1");
  await scene.connect();
  await alice.events.untilLine("accepted 1");
  const session = chooseSession(alice.sessions.list(bob.peerId))!;
  const { operations, apply } = alice.sessions.step(bob.peerId, { ...session, unanswered: 498 });
  await alice.commit.commit(operations);
  apply();
  mailbox.answers = () => false;
  mailbox.bundle = () => noBundle("the peer has published no prekeys");
  await scene.send("2", "3", "4");
  await mailbox.heard.untilLine("fetch", 2);
  await scene.settle();
  await scene.send("5");
  await scene.settle();
  deepEqual(scene.numbers(), [1, 2, 3]);
});

courierTest("meets a session that crosses its own on the one with the lower id", async (scene) => {
  const { mailbox, alice, bob, time } = scene;
  const bobs = new FakeMailbox();
  bobs.bundle = bundlesOf(await alice.publish());
  await bob.outbox.enqueue(alice.peerId, "", utf8("from bob 1"));
  await scene.send("from alice 1");
  await scene.connect();
  const { conversation, pair } = await connect(bob, bobs, time);
  await alice.events.untilLine("accepted 1");
  await bob.events.untilLine("accepted 1");
  const opened = sessionsOf([...mailbox.requests, ...bobs.requests]);
  equal(opened.length, 2);

  await alice.inbox.take({ ...bobs.accepted[0]!, sender: bob.peerId });
  await bob.inbox.take({ ...mailbox.accepted[0]!, sender: alice.peerId });
  await scene.send("from alice 2");
  await bob.outbox.enqueue(alice.peerId, "", utf8("from bob 2"));
  conversation.poke(alice.peerId);
  await alice.events.untilLine("accepted 2");
  await bob.events.untilLine("accepted 2");
  const [lower] = opened.toSorted();
  deepEqual(sessionsOf([mailbox.requests[1]!, bobs.requests[1]!]), [lower]);
  await alice.inbox.take({ ...bobs.accepted[1]!, sender: bob.peerId });
  await bob.inbox.take({ ...mailbox.accepted[1]!, sender: alice.peerId });
  deepEqual(await shown(alice), ["from bob 1", "from bob 2"]);
  deepEqual(await shown(bob), ["from alice 1", "from alice 2"]);
  pair.cable.cut();
  await conversation.close();
});

function mailboxId(outbox: CourierScene["alice"]["outbox"], scene: CourierScene): PeerId {
  const server = outbox.entries(scene.bob.peerId)[0]?.wire?.server ?? "";
  const peerId = PeerId.parse(server);
  if (!peerId) throw new Error("Nothing was encrypted yet");
  return peerId;
}

function assertSameBytesPerId({ mailbox }: CourierScene): void {
  const bodies = new Map<string, string>();
  for (const { msgId, encryptedPayload } of mailbox.requests) {
    const body = toHex(encryptedPayload);
    equal(bodies.get(toHex(msgId)) ?? body, body);
    bodies.set(toHex(msgId), body);
  }
  equal(new Set(bodies.values()).size, bodies.size);
  assertNoKeyUsedTwice(mailbox.requests);
}
