import { deepEqual, equal } from "node:assert/strict";
import { concatBytes } from "../../../src/base/bytes.ts";
import type { Candidate, SealedMessage } from "../../../src/protocol/rendezvous/sealed_message.ts";
import { contactTopic, rendezvousTopics } from "../../../src/protocol/rendezvous/topics.ts";
import { PeerBook } from "../../../src/roles/peer_book.ts";
import { SealedRendezvous } from "../../../src/roles/sealed_rendezvous.ts";
import { MeetingPoints } from "../../../src/roles/server/meeting_points.ts";
import type { FrameSocket } from "../../../src/roles/web_socket.ts";
import { FakeTime, turns } from "../../support/fake_time.ts";
import { bytesFor, identityFor } from "../../support/identities.ts";
import { MortalCommit } from "../../support/peer_world.ts";
import { SignalHub } from "../../support/signal_hub.ts";

const server = identityFor("server").peerId;
const alice = identityFor("alice").peerId;
const HERE: Candidate = { type: "ws", value: "ws://192.0.2.7:9091/link" };

/** A server that waits on two signaling servers, and Alice, who looks for it on the first. */
class Scene {
  readonly hubs = [new SignalHub(), new SignalHub()];
  readonly sockets: FrameSocket[] = [];
  candidates: Candidate[] = [HERE];
  readonly answers: SealedMessage[] = [];
  readonly meetings: MeetingPoints;
  #looking: SealedRendezvous | undefined;

  constructor(
    readonly time: FakeTime,
    readonly commit: MortalCommit,
    readonly book: PeerBook,
  ) {
    this.meetings = new MeetingPoints({
      self: server,
      book,
      clients: this.hubs.map((hub) => hub.client()),
      host: time,
      candidates: () => this.candidates,
      onSocket: (socket) => this.sockets.push(socket),
    });
    book.onChange = (peerId) => this.meetings.renew(peerId);
  }

  get hub(): SignalHub {
    return this.hubs[0]!;
  }

  async pair(secret: string): Promise<void> {
    await this.book.pair({
      peerId: alice,
      mechanism: "psk",
      pairedAt: this.time.now(),
      secret: bytesFor(secret),
    });
  }

  /** Alice offers under these secrets; returns the answers to this offer. */
  async offer(label: string, ...secrets: string[]): Promise<SealedMessage[]> {
    this.#looking?.close();
    this.#looking = new SealedRendezvous({
      self: alice,
      meeting: { remote: server, secrets: secrets.map(bytesFor) },
      clients: [this.hub.client()],
      host: this.time,
      onMessage: (message) => this.answers.push(message),
    });
    const id = bytesFor(label).slice(0, 16);
    this.#looking.send({ id, kind: "offer", candidates: [] });
    await turns();
    await this.commit.flush();
    await turns();
    return this.answers.filter((answer) => answer.id.toHex() === id.toHex());
  }

  close(): void {
    this.#looking?.close();
    this.meetings.close();
  }
}

function meetingTest(name: string, story: (scene: Scene) => Promise<void>): void {
  Deno.test(`MeetingPoints ${name}`, async () => {
    using time = new FakeTime();
    const kv = await Deno.openKv(":memory:");
    const commit = new MortalCommit(kv);
    const scene = new Scene(time, commit, await PeerBook.open(kv, commit));
    await story(scene);
    scene.close();
    for (const hub of scene.hubs) deepEqual(hub.topics(), []);
    await commit.close();
    kv.close();
  });
}

meetingTest("answer a paired peer's offer with the addresses of the moment", async (scene) => {
  await scene.pair("secret");
  const [first] = await scene.offer("one", "secret");
  deepEqual([first?.kind, first?.candidates], ["answer", [HERE]]);
  scene.candidates = [{ type: "ws", value: "wss://cairn.example/link" }];
  const [second] = await scene.offer("two", "secret");
  deepEqual(second?.candidates, scene.candidates);
});

meetingTest("answer nobody else, and nothing but offers", async (scene) => {
  await scene.pair("secret");
  deepEqual(await scene.offer("one", "another secret"), []);
  const looking = new SealedRendezvous({
    self: alice,
    meeting: { remote: server, secrets: [bytesFor("secret")] },
    clients: [scene.hub.client()],
    host: scene.time,
    onMessage: (message) => scene.answers.push(message),
  });
  for (const kind of ["answer", "candidate", "bye"] as const) {
    looking.send({ id: bytesFor(kind).slice(0, 16), kind, candidates: [] });
  }
  await turns();
  looking.close();
  deepEqual(scene.answers, []);
});

meetingTest("answer a replayed offer once", async (scene) => {
  await scene.pair("secret");
  equal((await scene.offer("one", "secret")).length, 1);
  const { topic, payload } = scene.hub.relayed[0]!;
  for (const hub of scene.hubs) hub.client().relay(topic, payload);
  await turns();
  equal(scene.answers.length, 1);
});

meetingTest("follow a pairing that is made, replaced and removed", async (scene) => {
  const contact = contactTopic(server);
  for (const hub of scene.hubs) deepEqual(hub.topics(), [contact]);
  await scene.pair("first");
  for (const hub of scene.hubs) equal(hub.topics().length > 1, true);
  equal((await scene.offer("one", "first")).length, 1);

  await scene.pair("second");
  equal((await scene.offer("two", "first")).length, 1, "until the new secret was used");
  equal((await scene.offer("three", "second")).length, 1);
  deepEqual(scene.book.get(alice)?.previousSecrets, []);
  deepEqual(await scene.offer("four", "first"), [], "the old one is past");
  equal((await scene.offer("five", "second")).length, 1);

  await scene.book.remove(alice);
  deepEqual(await scene.offer("six", "second"), []);
  scene.meetings.renew(alice);
  deepEqual(scene.hubs[1]!.topics(), [contact]);
});

meetingTest("wait for the pairings of earlier runs too", async (scene) => {
  await scene.pair("secret");
  const later = new MeetingPoints({
    self: server,
    book: scene.book,
    clients: [scene.hubs[1]!.client()],
    host: scene.time,
    candidates: () => [HERE],
    onSocket: () => {},
  });
  const [topic] = rendezvousTopics(bytesFor("secret"), scene.time.now() / 1000);
  scene.meetings.close();
  equal(scene.hubs[1]!.topics().includes(topic ?? ""), true);
  later.close();
});

meetingTest("hand over who asks on the contact topic of any signaling server", async (scene) => {
  for (const [n, hub] of scene.hubs.entries()) {
    const attempt = bytesFor(`attempt ${n}`).slice(0, 16);
    hub.client().relay(contactTopic(server), concatBytes(attempt, Uint8Array.of(0), attempt));
  }
  await turns();
  equal(scene.sockets.length, 2);
});

meetingTest("go on when a used secret cannot be recorded", async (scene) => {
  await scene.pair("first");
  await scene.pair("second");
  scene.commit.dieAfter(0);
  equal((await scene.offer("one", "second")).length, 1);
  equal((await scene.offer("two", "first")).length, 1);
});
