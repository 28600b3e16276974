import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { fromUtf8, utf8 } from "../../../src/base/bytes.ts";
import { CairnError } from "../../../src/base/errors.ts";
import type { PeerId } from "../../../src/protocol/crypto/peer_id.ts";
import { checkOf } from "../../../src/roles/peer/message_check.ts";
import type { OutboxEntry } from "../../../src/roles/peer/outbox_entry.ts";
import { bytesFor, identityFor } from "../../support/identities.ts";
import { Crash, PeerWorld } from "../../support/peer_world.ts";
import { TestHost } from "../server/mailbox_scene.ts";

const [bob, carol] = [identityFor("bob").peerId, identityFor("carol").peerId];
const server = identityFor("server").peerId;
const LARGE = utf8("large ".repeat(80_000));
const ID_LENGTH = 16;

class Scene implements AsyncDisposable {
  constructor(public alice: PeerWorld) {}

  get outbox(): PeerWorld["outbox"] {
    return this.alice.outbox;
  }

  enqueue(text: string | Uint8Array, to = bob): Promise<OutboxEntry> {
    return this.outbox.enqueue(to, "chat", typeof text === "string" ? utf8(text) : text);
  }

  /** Gives an entry a ciphertext, without a session. */
  async seal(entry: OutboxEntry, body: Uint8Array = bytesFor("body")): Promise<void> {
    const label = `outer ${entry.sequence}`;
    await this.outbox.wires.seal(
      entry,
      {
        server: server.toString(),
        outerId: bytesFor(label).slice(0, ID_LENGTH),
        storeId: bytesFor("store").slice(0, ID_LENGTH),
        sessionId: bytesFor("session").slice(0, ID_LENGTH),
      },
      body,
      { operations: [], apply: () => {} },
    );
  }

  async texts(to = bob): Promise<string[]> {
    const entries = this.outbox.entries(to);
    return await Promise.all(
      entries.map(async (each) => fromUtf8(await this.outbox.read(each) ?? utf8("damaged"))),
    );
  }

  async restart(): Promise<void> {
    this.alice = await this.alice.reopen();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.alice[Symbol.asyncDispose]();
  }
}

function outboxTest(name: string, story: (scene: Scene) => Promise<void>): void {
  Deno.test(`Outbox ${name}`, async () => {
    await using scene = new Scene(await PeerWorld.open("alice", new TestHost()));
    await story(scene);
  });
}

outboxTest("keeps messages, in order per recipient, through a restart", async (scene) => {
  const first = await scene.enqueue("1");
  await scene.enqueue("to carol", carol);
  await scene.enqueue(LARGE);
  await scene.enqueue("3");
  await scene.restart();
  deepEqual(await scene.texts(), ["1", fromUtf8(LARGE), "3"]);
  deepEqual(await scene.texts(carol), ["to carol"]);
  deepEqual(scene.outbox.recipients().map(String).toSorted(), [`${bob}`, `${carol}`].toSorted());
  const [again] = scene.outbox.entries(bob);
  deepEqual(again, first);
  const sequences = scene.outbox.entries(bob).map(({ sequence }) => sequence);
  deepEqual(sequences, [1, 2, 3]);
  equal((await scene.enqueue("4")).sequence, 4);
  equal((await scene.enqueue("carol 2", carol)).sequence, 2);
});

outboxTest("takes a message only when it is on disk", async (scene) => {
  for (const survived of [0, 1]) {
    scene.alice.commit.dieAfter(survived);
    await rejects(scene.enqueue(LARGE), Crash);
    deepEqual(scene.outbox.entries(bob), []);
    await scene.restart();
    deepEqual(await scene.texts(), []);
    deepEqual(await scene.alice.records("blob"), []);
  }
});

outboxTest("keeps the order of messages that are queued at once", async (scene) => {
  const settled: string[] = [];
  const queued = [LARGE, "2", LARGE, "4", "5"].map(async (text, index) => {
    const entry = await scene.enqueue(text);
    settled.push(`${index + 1} is ${entry.sequence}`);
  });
  await Promise.all(queued);
  deepEqual(settled, ["1 is 1", "2 is 2", "3 is 3", "4 is 4", "5 is 5"]);
  await scene.restart();
  deepEqual(await scene.texts(), [fromUtf8(LARGE), "2", fromUtf8(LARGE), "4", "5"]);
});

outboxTest("goes on behind a message that could not be queued", async (scene) => {
  await scene.enqueue("1");
  scene.alice.commit.dieAfter(0);
  await rejects(scene.enqueue("lost"), Crash);
  scene.alice.commit.dieAfter(Infinity);
  await scene.enqueue("2");
  deepEqual(await scene.texts(), ["1", "2"]);
  await scene.restart();
  const sequences = scene.outbox.entries(bob).map(({ sequence }) => sequence);
  ok(sequences[1]! > sequences[0]!);
  const next = await scene.enqueue("3");
  ok(next.sequence > sequences[1]!);
});

outboxTest("remembers how a message was encrypted, and under which number", async (scene) => {
  const entry = await scene.enqueue("1");
  await scene.seal(entry, LARGE);
  await scene.seal(await scene.enqueue("2"));
  await scene.outbox.wires.accepted(entry, entry.wire!);
  const before = scene.outbox.entries(bob).map(({ wire }) => wire);
  await scene.restart();
  const after = scene.outbox.entries(bob).map(({ wire }) => wire);
  deepEqual(after, before);
  deepEqual(after.map((wire) => [wire?.sequence, wire?.accepted]), [[1, true], [2, false]]);
  deepEqual(await scene.outbox.wires.read(after[0]!), LARGE);
  equal(scene.outbox.byOuterId(after[1]!.outerId)?.sequence, 2);
  equal(scene.outbox.routes.get(server, bob)?.highest, 2);
  deepEqual(scene.alice.events.lines, []);
});

outboxTest("does not encrypt by halves", async (scene) => {
  const entry = await scene.enqueue("1");
  for (const survived of [0, 1]) {
    scene.alice.commit.dieAfter(survived);
    await rejects(scene.seal(entry, LARGE), Crash);
    equal(entry.wire, undefined);
    equal(scene.outbox.routes.get(server, bob), undefined);
  }
  await scene.restart();
  equal(scene.outbox.entries(bob)[0]?.wire, undefined);
  equal(scene.outbox.routes.get(server, bob), undefined);
  deepEqual(await scene.alice.records("blob"), []);
});

outboxTest(
  "leaves nothing of a message that was delivered, dropped or opened again",
  async (scene) => {
    const error = new CairnError("refused", "Not wanted");
    for (const text of ["1", "2", "3"]) await scene.seal(await scene.enqueue(text), LARGE);
    const [one, two, three] = [...scene.outbox.entries(bob)];
    await scene.outbox.delivered(one!);
    await scene.outbox.drop(two!, error);
    const outerId = three!.wire!.outerId;
    await scene.outbox.reopen(three!);
    equal(scene.outbox.byOuterId(outerId), undefined);
    equal(three?.failures, 1);
    deepEqual(scene.alice.events.lines, ["delivered 1", "dropped 2: refused"]);
    for (const kind of ["wire", "blob"]) deepEqual(await scene.alice.records(kind), [], kind);
    await scene.restart();
    deepEqual(await scene.texts(), ["3"]);
    equal(scene.outbox.entries(bob)[0]?.failures, 1);
  },
);

outboxTest("lets go of what several recipients share once for each of them", async (scene) => {
  const { outbox } = scene;
  const [toBob] = await outbox.enqueueForAll([bob, carol], "chat", LARGE);
  const error = new CairnError("refused", "Not wanted");
  await Promise.all([outbox.drop(toBob!, error), outbox.delivered(toBob!)]);
  await outbox.drop(toBob!, error);
  deepEqual(scene.alice.events.lines, ["dropped 1: refused"]);
  deepEqual(await scene.texts(carol), [fromUtf8(LARGE)]);
  await scene.restart();
  deepEqual(await scene.texts(carol), [fromUtf8(LARGE)]);
  await scene.outbox.delivered(scene.outbox.entries(carol)[0]!);
  for (const kind of ["shared", "blob"]) deepEqual(await scene.alice.records(kind), [], kind);
});

outboxTest("counts no broadcast that is not on disk", async (scene) => {
  const broadcast = async (...to: PeerId[]) =>
    (await scene.outbox.enqueueForAll(to, "chat", utf8("x"))).map(({ unreadable }) => unreadable);
  deepEqual(await broadcast(bob), [undefined]);
  scene.alice.commit.dieAfter(0);
  await rejects(broadcast(bob, carol), Crash);
  scene.alice.commit.dieAfter(Infinity);
  const together = [broadcast(bob, carol), broadcast(bob, carol)];
  deepEqual(await Promise.all(together), [[undefined, 1], [undefined, undefined]]);
  await scene.restart();
  deepEqual(await broadcast(carol, server), [undefined, 3]);
});

outboxTest("sweeps ciphertext that belongs to no message", async (scene) => {
  await scene.seal(await scene.enqueue("1"), LARGE);
  await scene.seal(await scene.enqueue("2"));
  await scene.alice.kv.delete(["outbox", bob.toString(), 1]);
  await scene.restart();
  deepEqual(await scene.texts(), ["2"]);
  equal((await scene.alice.records("wire")).length, 1);
  deepEqual(await scene.alice.records("blob"), []);
});

outboxTest("takes ten thousand messages for one recipient", async (scene) => {
  const { id, channel, sentAt, data } = await scene.enqueue("x");
  const template = { id, channel, sentAt, data: utf8("x"), failures: 0 };
  deepEqual(data, template.data);
  for (let first = 2; first <= 10_000; first += 500) {
    const atomic = scene.alice.kv.atomic();
    const end = Math.min(first + 500, 10_001);
    for (let sequence = first; sequence < end; sequence++) {
      const check = checkOf({ ...template, sequence });
      atomic.set(["outbox", bob.toString(), sequence], { ...template, check });
    }
    await atomic.commit();
  }
  await scene.restart();
  equal(scene.outbox.entries(bob).length, 10_000);
  for (const text of ["one more", LARGE]) {
    await rejects(
      scene.enqueue(text),
      (error) => error instanceof CairnError && error.code === "refused",
    );
  }
  const both = () => scene.outbox.enqueueForAll([bob, carol], "chat", LARGE);
  await rejects(both(), { code: "refused" });
  deepEqual(await scene.alice.records("blob"), []);
  await scene.enqueue("to carol", carol);
  const left = (to: readonly PeerId[]) =>
    scene.outbox.enqueueForAll(to, "chat", utf8("x"), { skipsFull: true });
  deepEqual((await left([bob, carol])).map(({ recipient }) => recipient), [carol]);
  await rejects(left([bob]), { code: "refused" });
});

outboxTest("uses no number again after a rollback", async (scene) => {
  await scene.enqueue("1");
  await scene.enqueue("1", carol);
  await scene.outbox.sequences.jump();
  await scene.restart();
  for (const to of [bob, carol]) ok((await scene.enqueue("2", to)).sequence > 1_000_000);
});
