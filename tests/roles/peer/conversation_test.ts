import { deepEqual, equal } from "node:assert/strict";
import { toHex } from "../../../src/base/bytes.ts";
import { encodePairRevoke } from "../../../src/protocol/pairing_messages.ts";
import { MessageType } from "../../../src/protocol/message_types.ts";
import { turns } from "../../support/fake_time.ts";
import { identityFor } from "../../support/identities.ts";
import { type Delivery, Writer } from "../../support/peer_world.ts";
import { CourierScene, shown } from "./courier_scene.ts";

const MINUTE = 60_000;

function conversationTest(
  name: string,
  story: (scene: CourierScene, carol: Writer) => Promise<void>,
): void {
  Deno.test(`ServerConversation ${name}`, async () => {
    await using scene = await CourierScene.open();
    const { alice, time } = scene;
    await story(scene, new Writer("carol", alice.peerId, time, await alice.publish()));
  });
}

conversationTest("publishes its keys and is ready when the mailbox has them", async (scene) => {
  const { mailbox } = scene;
  mailbox.status = { oneTimePrekeysLeft: 0, signedPrekeyId: null };
  await scene.connect();
  await mailbox.heard.untilLine("ready");
  deepEqual(mailbox.heard.lines, ["publish all", "ready"]);
  equal(mailbox.publications[0]?.oneTimePrekeys.length, 100);
  mailbox.status = { ...mailbox.status, oneTimePrekeysLeft: 20 };
  mailbox.sendStatus();
  await mailbox.heard.untilLine("publish");
  equal(mailbox.publications[1]?.oneTimePrekeys.length, 80);
});

conversationTest(
  "lets the server purge what is stored, in as few messages as it can",
  async (scene, carol) => {
    const { mailbox } = scene;
    const deliveries = Array.from({ length: 100 }, (_, n) => carol.write(`${n}`));
    await scene.connect();
    for (const delivery of deliveries) mailbox.deliver(delivery);
    await mailbox.heard.until(() => mailbox.purged.length === 100);
    deepEqual(mailbox.purged, idsOf(deliveries));
    deepEqual(await shown(scene.alice), deliveries.map((_, n) => `${n}`));
    equal(mailbox.heard.lines.filter((line) => line === "purge").length <= 2, true);
  },
);

conversationTest("does not let the server purge what is not on disk", async (scene, carol) => {
  const { mailbox, alice } = scene;
  const [first, second] = [carol.write("1"), carol.write("2")];
  const { pair } = await scene.connect();
  await mailbox.heard.untilLine("ready");
  const ended = new Promise<string>((resolve) => pair.far.onClose = resolve);
  alice.commit.dieAfter(1);
  mailbox.deliver(first);
  mailbox.deliver(second);
  equal(await ended, "going-away");
  await scene.restart();
  deepEqual(await shown(scene.alice), ["1"]);
  deepEqual(mailbox.purged, []);
  await scene.connect();
  for (const delivery of [first, second]) mailbox.deliver(delivery);
  await mailbox.heard.until(() => mailbox.purged.length === 2);
  deepEqual(await shown(scene.alice), ["1", "2"]);
});

conversationTest("reports what it cannot open as failed", async (scene, carol) => {
  const { mailbox } = scene;
  const [good, bad] = [carol.write("1"), carol.write("2")];
  await scene.connect();
  mailbox.deliver(good);
  mailbox.deliver({ ...bad, encryptedPayload: bad.encryptedPayload.slice(1) });
  await mailbox.heard.until(() => mailbox.failed.length === 1);
  deepEqual(mailbox.purged, idsOf([good]));
  deepEqual(mailbox.failed, idsOf([bad]));
});

conversationTest("closes gaps when the mailbox is drained", async (scene, carol) => {
  const { mailbox } = scene;
  await scene.connect();
  mailbox.deliver(carol.write("2", { sequence: 2 }));
  await mailbox.heard.untilLine("purge");
  deepEqual(await shown(scene.alice), []);
  const released = new Promise<void>((resolve) => scene.alice.inbox.onRelease = resolve);
  mailbox.drained();
  await released;
  deepEqual(await shown(scene.alice), ["2"]);
});

conversationTest("looks again at a gap that it kept for a resent message", async (scene, carol) => {
  const { mailbox, time, alice } = scene;
  const [first, second, third] = ["1", "2", "3"].map((text) => carol.write(text));
  await scene.connect();
  mailbox.deliver(first!);
  mailbox.deliver({ ...second!, encryptedPayload: second!.encryptedPayload.slice(1) });
  mailbox.deliver(third!);
  await mailbox.heard.until(() => mailbox.purged.length === 2);
  mailbox.drained();
  await scene.settle();
  deepEqual(await shown(alice), ["1"]);
  const released = new Promise<void>((resolve) => alice.inbox.onRelease = resolve);
  await time.elapse(9 * MINUTE);
  await scene.settle();
  deepEqual(await shown(alice), ["1"]);
  await time.elapse(MINUTE);
  await released;
  deepEqual(await shown(alice), ["1", "3"]);
});

conversationTest("stores and purges what is under way when it is closed", async (scene, carol) => {
  const { mailbox } = scene;
  const delivery = carol.write("1");
  const { conversation, pair } = await scene.connect();
  await mailbox.heard.untilLine("ready");
  mailbox.deliver(delivery);
  const before = scene.alice.commit.count;
  while (scene.alice.commit.count === before) await turns(1);
  await conversation.close();
  await mailbox.heard.untilLine("purge");
  deepEqual(mailbox.purged, idsOf([delivery]));
  mailbox.deliver(carol.write("2"));
  await scene.settle();
  deepEqual(await shown(scene.alice), ["1"], "and takes no more");
  pair.near.close("going-away");
});

conversationTest("ends a link whose server breaks the protocol", async (scene, carol) => {
  const { mailbox } = scene;
  const breaches: [string, (send: (type: number, payload: Uint8Array) => void) => void][] = [
    ["malformed delivery", (send) => send(MessageType.ForwardDeliver, new Uint8Array(3))],
    ["malformed status", (send) => send(MessageType.MailboxStatus, new Uint8Array(3))],
    ["malformed receipt", (send) => send(MessageType.ForwardAck, new Uint8Array(3))],
    ["revocation of another peer", (send) => {
      const { peerId } = identityFor("bob");
      send(MessageType.PairRevoke, encodePairRevoke({ peerId }));
    }],
  ];
  for (const [what, breach] of breaches) {
    const { pair } = await scene.connect();
    const ended = new Promise<string>((resolve) => pair.far.onClose = resolve);
    breach((type, payload) => pair.far.send(type, payload));
    equal(await ended, "protocol-error", what);
  }
  await scene.connect();
  mailbox.deliver(carol.write("1"));
  await mailbox.heard.untilLine("purge");
});

conversationTest("tells when the server has ended the pairing", async (scene) => {
  const { pair } = await scene.connect();
  const { peerId } = identityFor("mailbox");
  pair.far.send(MessageType.PairRevoke, encodePairRevoke({ peerId }));
  await scene.mailbox.heard.untilLine("revoked");
});

function idsOf(deliveries: readonly Delivery[]): string[] {
  return deliveries.map(({ msgId }) => toHex(msgId));
}
