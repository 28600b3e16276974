import { deepEqual, equal, ok } from "node:assert/strict";
import { fromUtf8, utf8 } from "../../../src/base/bytes.ts";
import type { PeerId } from "../../../src/protocol/crypto/peer_id.ts";
import { sealShared } from "../../../src/protocol/session/shared_body.ts";
import type { SharedData } from "../../../src/roles/peer/outbox_entry.ts";
import { FakeTime } from "../../support/fake_time.ts";
import { bytesFor } from "../../support/identities.ts";
import { assertNoKeyUsedTwice } from "../../support/key_use.ts";
import { bundlesOf, FakeMailbox, noBundle } from "../../support/mailbox_server.ts";
import { PeerWorld } from "../../support/peer_world.ts";
import { connect, type Connection, settle, shown } from "./courier_scene.ts";

const SECOND = 1_000;

/** Alice writes to several at once, through a mailbox that does what the test says. */
class Scene implements AsyncDisposable {
  readonly mailbox = new FakeMailbox();
  #connection: Connection | undefined;

  private constructor(
    readonly time: FakeTime,
    public alice: PeerWorld,
    readonly readers: readonly PeerWorld[],
  ) {}

  static async open(): Promise<Scene> {
    const time = new FakeTime();
    const open = (label: string) => PeerWorld.open(label, time);
    const readers = [await open("bob"), await open("carol"), await open("dave")];
    const scene = new Scene(time, await open("alice"), readers);
    const bundles = new Map<string, ReturnType<typeof bundlesOf>>();
    for (const each of readers) bundles.set(`${each.peerId}`, bundlesOf(await each.publish()));
    scene.mailbox.bundle = (peer) => bundles.get(`${peer}`)?.() ?? noBundle("not a reader");
    return scene;
  }

  async connect(capabilities = ["sync"]): Promise<void> {
    await this.disconnect();
    this.#connection = await connect(this.alice, this.mailbox, this.time, { capabilities });
  }

  async disconnect(): Promise<void> {
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.pair.cable.cut();
    await connection?.conversation.close();
  }

  async restart(): Promise<void> {
    await this.disconnect();
    this.alice = await this.alice.reopen();
  }

  async broadcast(text: string | Uint8Array, to = this.readers): Promise<void> {
    const data = typeof text === "string" ? utf8(text) : text;
    await this.alice.outbox.enqueueForAll(to.map(({ peerId }) => peerId), "notes", data);
    this.poke(to);
  }

  async send(to: PeerWorld, text: string): Promise<void> {
    await this.alice.outbox.enqueue(to.peerId, "", utf8(text));
    this.poke([to]);
  }

  poke(to = this.readers): void {
    for (const { peerId } of to) this.#connection?.conversation.poke(peerId);
  }

  /** What a reader makes of what the mailbox holds for it. */
  async read(reader: PeerWorld): Promise<string[]> {
    for (const request of this.#for(reader.peerId)) {
      await reader.inbox.take({ ...request, sender: this.alice.peerId });
    }
    await reader.inbox.drained();
    return await shown(reader);
  }

  /** What the mailbox has for a reader. */
  delivery(reader: PeerWorld, index = 0) {
    const request = this.#for(reader.peerId)[index];
    if (!request) throw new Error("The mailbox has nothing");
    return { ...request, sender: this.alice.peerId };
  }

  /** What every recipient of the first broadcast knows. */
  async bodyKey(): Promise<SharedData & { id: Uint8Array }> {
    const [[, entry]] = await this.alice.records<{ id: Uint8Array; data: SharedData }>(
      "outbox",
    ) as [
      [Deno.KvKey, { id: Uint8Array; data: SharedData }],
    ];
    return { id: entry.id, ...entry.data };
  }

  accepted(count: number): Promise<void> {
    return this.alice.events.until(() => this.#acceptances() >= count);
  }

  /** Lets time pass, in which what was refused is tried again. */
  async passUntilAccepted(count: number): Promise<void> {
    for (let second = 0; this.#acceptances() < count; second++) {
      if (second > 300) throw new Error(`Only ${this.#acceptances()} were accepted`);
      await settle(this.alice);
      this.time.pass(SECOND);
    }
  }

  #acceptances(): number {
    return this.alice.events.lines.filter((line) => line.startsWith("accepted")).length;
  }

  #for(peer: PeerId) {
    return this.mailbox.accepted.filter(({ recipient }) => recipient.equals(peer));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.disconnect();
    for (const world of [this.alice, ...this.readers]) await world[Symbol.asyncDispose]();
    this.time[Symbol.dispose]();
  }
}

function broadcastTest(name: string, story: (scene: Scene) => Promise<void>): void {
  Deno.test(`Broadcast ${name}`, async () => {
    await using scene = await Scene.open();
    await story(scene);
  });
}

broadcastTest("goes up once for all, in order with what is for one of them", async (scene) => {
  const { mailbox } = scene;
  const [bob, carol] = scene.readers;
  const large = "large ".repeat(30_000);
  await scene.send(bob!, "first");
  await scene.broadcast("one");
  await scene.broadcast(large);
  await scene.send(carol!, "last");
  await scene.connect();
  await scene.accepted(8);
  deepEqual(mailbox.syncs.map(({ rows }) => rows.length), [3, 3]);
  equal(mailbox.requests.length, 2);
  deepEqual(await scene.read(bob!), ["first", "one", large]);
  deepEqual(await scene.read(carol!), ["one", large, "last"]);
  const [dave] = scene.readers.slice(2);
  deepEqual(await scene.read(dave!), ["one", large]);
});

broadcastTest("leaves nothing in the outbox when the last receipt is there", async (scene) => {
  const { mailbox, alice } = scene;
  await scene.broadcast("large ".repeat(30_000));
  await scene.connect();
  await scene.accepted(3);
  for (const [index, { msgId }] of mailbox.accepted.entries()) {
    ok((await alice.records("blob")).length > 0, `${index} of 3 have it`);
    mailbox.receipt(msgId);
    await alice.events.until(() =>
      alice.events.lines.filter((line) => line.startsWith("delivered")).length > index
    );
  }
  for (const prefix of ["outbox", "wire", "shared", "blob"]) {
    deepEqual(await alice.records(prefix), [], prefix);
  }
});

broadcastTest(
  "that is refused for one reaches the others at once, and that one later",
  async (scene) => {
    const { mailbox } = scene;
    const [bob, carol, dave] = scene.readers;
    mailbox.refuse = ({ recipient }) =>
      recipient.equals(carol!.peerId) ? "quota exceeded" : undefined;
    await scene.broadcast("one");
    await scene.broadcast("two");
    await scene.connect();
    await mailbox.heard.untilLine("refused for 3");
    await scene.passUntilAccepted(4);
    deepEqual(await scene.read(bob!), ["one", "two"]);
    deepEqual(await scene.read(dave!), ["one", "two"]);
    deepEqual(await scene.read(carol!), []);
    mailbox.refuse = () => undefined;
    await scene.passUntilAccepted(6);
    deepEqual(await scene.read(carol!), ["one", "two"]);
    assertNoKeyUsedTwice(mailbox.accepted);
  },
);

broadcastTest("does not wait again and again for one that is refused", async (scene) => {
  const { mailbox } = scene;
  const [bob, carol] = scene.readers;
  mailbox.refuse = ({ recipient }) =>
    recipient.equals(carol!.peerId) ? "quota exceeded" : undefined;
  await scene.broadcast("one");
  await scene.connect();
  await mailbox.heard.untilLine("refused for 3");
  await scene.passUntilAccepted(2);
  for (const [index, text] of ["two", "three", "four"].entries()) {
    await scene.broadcast(text);
    // Without that any time passes.
    await scene.accepted(4 + 2 * index);
  }
  const forBob = mailbox.syncs.filter(({ rows }) =>
    rows.some(({ recipient }) => recipient.equals(bob!.peerId))
  );
  deepEqual(forBob.slice(-3).map(({ rows }) => rows.length), [2, 2, 2]);
  mailbox.refuse = () => undefined;
  await scene.passUntilAccepted(12);
  const before = mailbox.syncs.length;
  const isTogether = () => mailbox.syncs.slice(before).some(({ rows }) => rows.length === 3);
  for (let accepted = 15; !isTogether() && accepted < 60; accepted += 3) {
    await scene.broadcast("more");
    await scene.passUntilAccepted(accepted);
  }
  ok(isTogether(), "the one that was refused is waited for again");
  deepEqual((await scene.read(carol!)).slice(0, 5), ["one", "two", "three", "four", "more"]);
});

broadcastTest("is repeated with the same bytes after a crash", async (scene) => {
  const { mailbox } = scene;
  await scene.broadcast("one");
  mailbox.refuse = () => "the mailbox could not store the message";
  await scene.connect();
  await mailbox.heard.untilLine("refused for 3");
  await scene.restart();
  mailbox.refuse = () => undefined;
  await scene.connect();
  await scene.accepted(3);
  const bodies = mailbox.syncs.filter(({ rows }) => rows.length === 3)
    .map(({ sharedBody, rows }) =>
      [sharedBody, ...rows.map((row) => row.encryptedPayload)]
        .map((bytes) => bytes.toHex()).sort()
    );
  deepEqual(bodies[0], bodies.at(-1));
  for (const reader of scene.readers) deepEqual(await scene.read(reader), ["one"]);
});

broadcastTest("goes to each alone where the mailbox knows nothing of it", async (scene) => {
  await scene.broadcast("one");
  await scene.connect([]);
  await scene.accepted(3);
  deepEqual([scene.mailbox.syncs.length, scene.mailbox.requests.length], [0, 3]);
  for (const reader of scene.readers) deepEqual(await scene.read(reader), ["one"]);
});

broadcastTest("cannot be changed by a reader together with the mailbox", async (scene) => {
  const { mailbox } = scene;
  const [bob] = scene.readers;
  await scene.broadcast("the truth");
  await scene.connect();
  await scene.accepted(3);
  const { id, key } = await scene.bodyKey();
  const content = { id, channel: "notes", sentAt: scene.time.now(), data: utf8("a lie!!!!") };
  const forged = sealShared(content, key);
  const delivery = scene.delivery(bob!);
  equal(await bob!.inbox.take({ ...delivery, sharedBody: forged }), "failed");
  deepEqual(await shown(bob!), []);

  // Its sender is told, and sends what depends on nobody else.
  mailbox.receipt(delivery.msgId, "cannot be opened");
  await scene.accepted(4);
  equal(mailbox.requests.length, 1);
  equal(mailbox.accepted.at(-1)?.sharedBody, undefined);
  deepEqual(await scene.read(bob!), ["the truth"]);
});

broadcastTest(
  "is not opened with another body, without one, or as something else",
  async (scene) => {
    const [bob, carol] = scene.readers;
    await scene.broadcast("one");
    await scene.broadcast("two");
    await scene.send(bob!, "for Bob");
    await scene.connect();
    await scene.accepted(7);
    const [one, two, alone] = [0, 1, 2].map((index) => scene.delivery(bob!, index));
    const { sharedBody, ...bare } = one!;
    ok(sharedBody);
    const msgId = (label: string) => bytesFor(label).slice(0, 16);
    const cases = {
      "with the body of another": { ...one!, sharedBody: two!.sharedBody! },
      "without its body": bare,
      "cut short": { ...one!, sharedBody: sharedBody.subarray(1) },
      "a message for one with a body beside it": { ...alone!, sharedBody },
      "by another sender": { ...one!, sender: carol!.peerId },
    };
    for (const [name, delivery] of Object.entries(cases)) {
      equal(await bob!.inbox.take({ ...delivery, msgId: msgId(name) }), "failed", name);
    }
    deepEqual(await scene.read(bob!), ["one", "two", "for Bob"]);
    equal(fromUtf8((await bob!.inbox.next(0))!.message.data), "one");
  },
);
