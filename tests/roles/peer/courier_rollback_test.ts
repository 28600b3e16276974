import { deepEqual, equal, ok } from "node:assert/strict";
import { bytesFor } from "../../support/identities.ts";
import { assertNoKeyUsedTwice } from "../../support/key_use.ts";
import { CourierScene, sessionsOf } from "./courier_scene.ts";

const LARGE = "large ".repeat(80_000);

function rollbackTest(name: string, story: (scene: CourierScene) => Promise<void>): void {
  Deno.test(`Courier ${name}`, async () => {
    await using scene = await CourierScene.open();
    await story(scene);
  });
}

rollbackTest(
  "offers a restored mailbox everything that lacks a receipt, in order",
  async (scene) => {
    const { mailbox } = scene;
    await scene.send("1", "2", "3", "4");
    await scene.connect();
    await scene.alice.events.untilLine("accepted 4");
    mailbox.receipt(mailbox.accepted[1]!.msgId);
    await mailbox.heard.untilLine("receipt ack");
    const before = [...mailbox.requests];

    mailbox.storeId = bytesFor("restored").slice(0, 16);
    mailbox.rollBack(scene.bob.peerId, 1);
    await scene.restart();
    await scene.send("5");
    await scene.connect();
    await scene.alice.events.untilLine("accepted 5");
    const again = mailbox.requests.slice(before.length);
    deepEqual(
      again.slice(0, 3).map(({ msgId, encryptedPayload }) => ({ msgId, encryptedPayload })),
      [0, 2, 3].map((n) => before[n]!)
        .map(({ msgId, encryptedPayload }) => ({ msgId, encryptedPayload })),
    );
    equal(again.length, 4);
    deepEqual((await scene.read([...before, ...again])).texts, ["1", "2", "3", "4", "5"]);
    assertNoKeyUsedTwice(mailbox.requests);
    equal(mailbox.publications.length, 0, "nothing was rolled back here");
  },
);

rollbackTest("offers a mailbox that went back unnoticed what it has lost", async (scene) => {
  const { mailbox } = scene;
  await scene.send("1", "2", "3", "4");
  await scene.connect();
  await scene.alice.events.untilLine("accepted 4");
  const before = [...mailbox.requests];
  mailbox.rollBack(scene.bob.peerId, 2);
  await scene.restart();
  await scene.send("5");
  await scene.connect();
  await scene.alice.events.untilLine("accepted 5");
  deepEqual(mailbox.requests.slice(4, 6), before.slice(2));
  deepEqual(mailbox.accepted.map(({ sequenceNumber }) => sequenceNumber), [1, 2, 3, 4, 5]);
  deepEqual((await scene.read()).texts, ["1", "2", "3", "4", "5"]);
  equal(mailbox.publications.length, 0, "nothing was rolled back here");
});

rollbackTest("notices from the count that its own folder was rolled back", async (scene) => {
  const { mailbox } = scene;
  await goBack(scene);
  const oldKeys = await keyIds(scene);
  await scene.send("b4");
  await scene.connect();
  await scene.alice.events.untilLine("accepted 4");
  await scene.send("b5");
  await scene.alice.events.until(() => scene.alice.events.lines.length === 2);

  equal(mailbox.heard.lines.filter((line) => line === "publish all").length, 1);
  const newKeys = await keyIds(scene);
  ok(newKeys.length > 100);
  deepEqual(newKeys.filter((id) => oldKeys.includes(id)), []);
  const [past, present] = [mailbox.requests.slice(0, 5), mailbox.requests.slice(5)];
  deepEqual(present.map(({ sequenceNumber }) => sequenceNumber), [6, 7]);
  const old = sessionsOf(past);
  deepEqual(sessionsOf(present).filter((id) => old.includes(id)), []);
  deepEqual((await scene.read()).texts, ["a1", "a2", "a3", "a4", "a5", "b4", "b5"]);
  const last = scene.alice.outbox.entries(scene.bob.peerId).at(-1);
  ok(last && last.sequence > 1_000_000, "no number of the lost time is used again");
});

Deno.test("Courier finds out again that it went back, whatever commit a crash prevents", async () => {
  let outcome: string | void = "died";
  let survived = 0;
  for (; outcome === "died"; survived++) {
    await using scene = await CourierScene.open();
    const { mailbox } = scene;
    await goBack(scene);
    await scene.send("b4");
    const { commit, events } = scene.alice;
    commit.dieAfter(survived);
    await scene.connect();
    outcome = await Promise.race([commit.death, events.untilLine("accepted 4")]);
    await scene.restart();
    await scene.send("b5");
    await scene.connect();
    await untilAllAccepted(scene);

    assertNoKeyUsedTwice(mailbox.requests);
    ok(mailbox.heard.lines.includes("publish all"));
    const past = sessionsOf(mailbox.requests.slice(0, 5));
    deepEqual(sessionsOf(mailbox.requests.slice(5)).filter((id) => past.includes(id)), []);
    const { texts } = await scene.read();
    deepEqual(texts, ["a1", "a2", "a3", "a4", "a5", "b4", "b5"], `commit ${survived}`);
  }
  ok(survived > 5, `${survived} commits`);
});

Deno.test("Courier loses nothing and uses no key twice, whatever commit a crash prevents", async () => {
  const texts = ["1", LARGE, "3", "4"];
  let outcome: string | void = "died";
  let survived = 0;
  for (; outcome === "died"; survived++) {
    await using scene = await CourierScene.open();
    const { mailbox } = scene;
    await scene.send(...texts);
    const { commit, events } = scene.alice;
    commit.dieAfter(survived);
    await scene.connect();
    outcome = await Promise.race([commit.death, events.untilLine("accepted 4")]);
    const left = [...mailbox.requests];
    await scene.restart();
    for (const { msgId, encryptedPayload } of left) {
      const wire = scene.alice.outbox.byOuterId(msgId)?.wire;
      ok(wire, "what has left is on disk");
      deepEqual(await scene.alice.outbox.wires.read(wire), encryptedPayload);
    }
    await scene.connect();
    await untilAllAccepted(scene);
    assertNoKeyUsedTwice(mailbox.requests);
    equal(mailbox.accepted.length, 4, `commit ${survived}`);
    deepEqual((await scene.read()).texts, texts, `commit ${survived}`);
  }
  ok(survived > 10, `${survived} commits`);
});

Deno.test("Courier does not take a crash for a rollback, whatever commit it prevents", async () => {
  let outcome: string | void = "died";
  let survived = 0;
  for (; outcome === "died"; survived++) {
    await using scene = await CourierScene.open();
    const { mailbox } = scene;
    // The second is refused for good: the numbers behind it are given anew.
    mailbox.refuse = ({ encryptedPayload }) =>
      encryptedPayload.length > 100_000 ? "message too large (480000 bytes)" : undefined;
    await scene.send("1", LARGE, "3");
    const { commit, events } = scene.alice;
    commit.dieAfter(survived);
    await scene.connect();
    outcome = await Promise.race([commit.death, events.untilLine("accepted 3")]);
    await scene.restart();
    await scene.connect();
    await untilAllAccepted(scene);
    await scene.send("4");
    await untilAllAccepted(scene);
    equal(mailbox.publications.length, 0, `no new keys after commit ${survived}`);
    assertNoKeyUsedTwice(mailbox.requests);
    deepEqual((await scene.read()).texts, ["1", "3", "4"], `commit ${survived}`);
  }
  ok(survived > 10, `${survived} commits`);
});

/** Alice writes five messages and goes back to the state after the third. */
async function goBack(scene: CourierScene): Promise<void> {
  await scene.connect();
  await scene.send("a1", "a2", "a3");
  await scene.alice.events.untilLine("accepted 3");
  const copy = await scene.alice.copy();
  await scene.send("a4", "a5");
  await scene.alice.events.untilLine("accepted 5");
  await scene.restore(copy);
}

async function keyIds(scene: CourierScene): Promise<number[]> {
  return (await scene.alice.records("prekey"))
    .filter(([key]) => key.length === 3).map(([key]) => Number(key[2]));
}

async function untilAllAccepted(scene: CourierScene): Promise<void> {
  const { outbox, events } = scene.alice;
  await events.until(() =>
    outbox.entries(scene.bob.peerId).every(({ wire }) => wire?.accepted === true)
  );
}
