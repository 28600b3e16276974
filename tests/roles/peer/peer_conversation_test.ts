import { deepEqual, equal, notDeepEqual, ok } from "node:assert/strict";
import { utf8 } from "../../../src/base/bytes.ts";
import {
  decodeForwardDeliver,
  encodeForwardDeliver,
  encodeForwardPurge,
  encodeSequenceReport,
  type ForwardDeliver,
} from "../../../src/protocol/forward_messages.ts";
import { MessageType } from "../../../src/protocol/message_types.ts";
import { encodePrekeyBundle } from "../../../src/protocol/prekey_messages.ts";
import { decodeBody } from "../../../src/protocol/session/message_body.ts";
import type { StoredBody } from "../../../src/roles/kv_blobs.ts";
import type { SharedData } from "../../../src/roles/peer/outbox_entry.ts";
import { PeerConversation } from "../../../src/roles/peer/peer_conversation.ts";
import { FakeTime } from "../../support/fake_time.ts";
import { contextFor, type LinkPair, linkPair, LinkRecorder } from "../../support/link_pair.ts";
import { PeerWorld } from "../../support/peer_world.ts";
import { untilHolds } from "../../support/rested.ts";
import { settle, shown } from "./courier_scene.ts";

const LARGE = "large ".repeat(80_000);

Deno.test("PeerConversation brings messages both ways in order, and the purge is the receipt", async () => {
  await using scene = await Scene.open();
  await scene.send("alice", "one", "two");
  await scene.connect();
  await scene.send("alice", "three");
  await scene.send("bob", "four");
  await scene.delivered();
  deepEqual(await shown(scene.bob), ["one", "two", "three"]);
  deepEqual(await shown(scene.alice), ["four"]);
  deepEqual(scene.alice.events.lines, ["delivered 1", "delivered 2", "delivered 3"]);
  deepEqual(scene.alice.outbox.recipients(), []);
});

Deno.test("PeerConversation brings what a mailbox has as well, and it is shown once", async () => {
  await using scene = await Scene.open();
  await scene.connect();
  await scene.send("alice", "one", "two");
  await scene.delivered();
  equal(scene.taken.length, 2);
  for (const delivery of [...scene.taken]) equal(await scene.bob.inbox.take(delivery), "stored");
  deepEqual(await shown(scene.bob), ["one", "two"]);
});

Deno.test("PeerConversation that ends before the purge leaves the messages, to be sent again", async () => {
  await using scene = await Scene.open();
  await scene.connect();
  await scene.send("alice", "one");
  await scene.delivered();
  scene.pair?.cable.hold("far");
  await scene.send("alice", "two");
  await scene.shows(2);
  deepEqual(await shown(scene.bob), ["one", "two"]);
  deepEqual(scene.alice.events.lines, ["delivered 1"]);
  await scene.connect();
  await scene.delivered();
  deepEqual(await shown(scene.bob), ["one", "two"]);
  deepEqual(scene.alice.events.lines, ["delivered 1", "delivered 2"]);
});

Deno.test("PeerConversation closes gaps that nothing can fill any more", async () => {
  await using scene = await Scene.open();
  await scene.connect();
  await scene.send("alice", "one");
  await scene.delivered();
  await scene.alice.outbox.sequences.jump();
  await scene.send("alice", "after the jump");
  await scene.shows(2);
  deepEqual(await shown(scene.bob), ["one", "after the jump"]);
});

Deno.test("PeerConversation encrypts in a session that no other link uses, nor a later process", async () => {
  await using scene = await Scene.open();
  for (const text of ["first link", "second link"]) {
    await scene.connect();
    await scene.send("alice", text, `${text} again`);
    await scene.delivered();
  }
  const sessions = scene.taken.map((each) => decodeBody(each.encryptedPayload).sessionId.toHex());
  deepEqual(sessions.map((session) => sessions.indexOf(session)), [0, 0, 2, 2]);
  const stored = scene.alice.sessions.list(scene.bob.peerId);
  deepEqual(stored.map(({ retired }) => retired), [true, true]);
});

Deno.test("PeerConversation notices that its folder was rolled back, before it encrypts", async () => {
  await using scene = await Scene.open();
  await scene.connect();
  await scene.send("alice", "one");
  await scene.delivered();
  const copy = await scene.alice.copy();
  await scene.send("alice", "two", "three");
  await scene.delivered();
  await scene.restore(copy);
  await scene.connect();
  await scene.until(() => scene.alice.outbox.sequences.last(scene.bob.peerId) > 1_000_000);
  await scene.send("alice", "four");
  await scene.shows(4);
  deepEqual(await shown(scene.bob), ["one", "two", "three", "four"]);
});

Deno.test("PeerConversation encrypts again what the other end could not open", async () => {
  await using scene = await Scene.open();
  const far = await scene.connectByHand();
  await scene.send("alice", "one");
  const [first] = await scene.heardBy(far, 1);
  ok(first);
  const purge = encodeForwardPurge({ msgIds: [], failed: [first.msgId] });
  far.link.send(MessageType.ForwardPurge, purge);
  const [, second] = await scene.heardBy(far, 2);
  ok(second);
  const [one, other] = [first, second].map((each) => decodeBody(each.encryptedPayload).sessionId);
  equal(one?.toHex() === other?.toHex(), false, "in another session");
  equal(second.sequenceNumber, first.sequenceNumber);
  equal(await scene.bob.inbox.take(second), "stored");
});

Deno.test("PeerConversation encrypts again what was damaged on the disk", async () => {
  await using scene = await Scene.open();
  const far = await scene.connectByHand();
  await scene.send("alice", LARGE);
  const [first] = await scene.heardBy(far, 1);
  await scene.damage(scene.alice.outbox.entries(scene.bob.peerId)[0]?.wire?.body);
  const again = await scene.connectByHand();
  const [second] = await scene.heardBy(again, 1);
  ok(first && second);
  notDeepEqual(second.msgId, first.msgId);
  equal(second.sequenceNumber, first.sequenceNumber);
  equal(await scene.bob.inbox.take(second), "stored");
  deepEqual(await shown(scene.bob), [LARGE]);
});

Deno.test("PeerConversation gives up a message whose text was damaged, and goes on behind it", async () => {
  await using scene = await Scene.open();
  await scene.send("alice", LARGE, "two");
  await scene.damage(scene.alice.outbox.entries(scene.bob.peerId)[0]?.data);
  await scene.connect();
  await scene.delivered();
  deepEqual(await shown(scene.bob), ["two"]);
  deepEqual(scene.alice.events.lines, ["dropped 1: data-folder-corrupt", "delivered 2"]);
});

Deno.test("PeerConversation gives up what the other end refuses, and says so", async () => {
  await using scene = await Scene.open();
  scene.bob.inbox.accepts = () => false;
  await scene.connect();
  await scene.send("alice", "from a stranger");
  await scene.delivered();
  deepEqual(scene.alice.events.lines, ["dropped 1: refused"]);
  deepEqual(await shown(scene.bob), []);
});

Deno.test("PeerConversation ends when nobody answers, and the messages stay", async () => {
  await using scene = await Scene.open();
  const far = await scene.connectByHand();
  await scene.send("alice", "one");
  await scene.heardBy(far, 1);
  await scene.time.elapse(16_000);
  equal(await far.end(), "timeout");
  equal(scene.alice.outbox.entries(scene.bob.peerId).length, 1);
});

Deno.test("PeerConversation does not let a peer speak for another one", async () => {
  await using scene = await Scene.open();
  const { peerId } = scene.alice;
  const lies: [number, Uint8Array][] = [
    [MessageType.SequenceReport, encodeSequenceReport({ recipient: peerId, lastSequence: 0 })],
    [
      MessageType.ForwardDeliver,
      encodeForwardDeliver({
        msgId: new Uint8Array(16),
        sender: peerId,
        encryptedPayload: new Uint8Array(1),
        sequenceNumber: 1,
      }),
    ],
  ];
  for (const [type, payload] of lies) {
    const far = await scene.connectByHand();
    far.link.send(type, payload);
    equal(await far.end(), "protocol-error");
  }
});

/** Alice and Bob, and a link between them. */
class Scene implements AsyncDisposable {
  pair: LinkPair | undefined;
  /** What Bob was given. */
  readonly taken: ForwardDeliver[] = [];
  #conversations: PeerConversation[] = [];
  readonly #copies: PeerWorld[] = [];

  private constructor(readonly time: FakeTime, public alice: PeerWorld, readonly bob: PeerWorld) {}

  static async open(): Promise<Scene> {
    const time = new FakeTime();
    const [alice, bob] = [await PeerWorld.open("alice", time), await PeerWorld.open("bob", time)];
    const scene = new Scene(time, alice, bob);
    const take = bob.inbox.take.bind(bob.inbox);
    bob.inbox.take = (delivery) => {
      scene.taken.push({ ...delivery, msgId: delivery.msgId.slice() });
      return take(delivery);
    };
    return scene;
  }

  /** A new link, with a conversation at both ends. */
  async connect(): Promise<void> {
    await this.disconnect();
    const pair = this.pair = await this.#link();
    this.#conversations = [
      this.#converse(pair.near, this.alice),
      this.#converse(pair.far, this.bob),
    ];
    await this.settle();
  }

  /** A new link, whose far end does what the test says; it takes messages. */
  async connectByHand(): Promise<LinkRecorder> {
    await this.disconnect();
    const pair = this.pair = await this.#link();
    this.#conversations = [this.#converse(pair.near, this.alice)];
    pair.far.trustRemote();
    const recorder = new LinkRecorder(pair.far);
    const { far } = pair;
    far.onEnvelope = (envelope) => {
      recorder.envelopes.push(envelope);
      if (envelope.type === MessageType.PrekeyFetch) void this.#answerFetch(far);
    };
    const report = encodeSequenceReport({ recipient: this.bob.peerId, lastSequence: 0 });
    far.send(MessageType.SequenceReport, report);
    await this.settle();
    return recorder;
  }

  async disconnect(): Promise<void> {
    this.pair?.cable.cut();
    for (const conversation of this.#conversations) await conversation.close();
    this.#conversations = [];
  }

  async send(from: "alice" | "bob", ...texts: string[]): Promise<void> {
    const [world, to] = from === "alice" ? [this.alice, this.bob] : [this.bob, this.alice];
    for (const text of texts) await world.outbox.enqueue(to.peerId, "", utf8(text));
    for (const conversation of this.#conversations) conversation.poke();
  }

  /** Takes a part of a large body from Alice's disk. */
  async damage(body: StoredBody | SharedData | undefined): Promise<void> {
    if (body === undefined || !("blob" in body)) throw new Error("Not a large body");
    await this.alice.kv.delete(["blob", "part", body.blob, 0]);
  }

  async heardBy(far: LinkRecorder, count: number) {
    await this.until(() => far.payloads(MessageType.ForwardDeliver).length >= count);
    return far.payloads(MessageType.ForwardDeliver).map(decodeForwardDeliver);
  }

  /** Goes on with a copy of Alice's folder from an earlier time. */
  async restore(copy: Deno.Kv): Promise<void> {
    await this.disconnect();
    this.#copies.push(this.alice);
    this.alice = await PeerWorld.open("alice", this.time, copy);
  }

  /** Some turns for both: enough for what happens in memory alone. */
  async settle(): Promise<void> {
    for (const world of [this.alice, this.bob]) await settle(world);
  }

  async until(condition: () => boolean | Promise<boolean>): Promise<void> {
    await untilHolds(condition, () => String(condition), () => this.settle());
  }

  /** Until Bob's application is shown so many messages. */
  async shows(count: number): Promise<void> {
    await this.until(async () => (await shown(this.bob)).length >= count);
    await this.settle();
  }

  /** Until neither lacks a receipt. */
  async delivered(): Promise<void> {
    const worlds = [this.alice, this.bob];
    await this.until(() => worlds.every(({ outbox }) => outbox.recipients().length === 0));
    await this.settle();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.disconnect();
    for (const world of [this.alice, this.bob, ...this.#copies]) {
      await world[Symbol.asyncDispose]();
    }
    this.time[Symbol.dispose]();
  }

  async #link(): Promise<LinkPair> {
    const capabilities = ["receive"];
    return await linkPair(
      contextFor("alice", this.time, { capabilities }),
      contextFor("bob", this.time, { capabilities }),
    );
  }

  #converse(link: LinkPair["near"], world: PeerWorld): PeerConversation {
    return new PeerConversation(link, {
      ...world,
      host: this.time,
      accepts: () => true,
      onTransient: () => Promise.resolve(false),
      onServed: () => {},
    });
  }

  async #answerFetch(far: LinkPair["far"]): Promise<void> {
    const bundle = await this.bob.prekeys.bundle();
    const { peerId } = this.bob;
    far.send(
      MessageType.PrekeyBundle,
      encodePrekeyBundle({ ...bundle, peerId, oneTimePrekey: null, reason: null }),
    );
  }
}
