import { deepEqual, equal, ok } from "node:assert/strict";
import { toHex } from "../../src/base/bytes.ts";
import { type SealedMessage, sealMessage } from "../../src/protocol/rendezvous/sealed_message.ts";
import { rendezvousTopics } from "../../src/protocol/rendezvous/topics.ts";
import { SealedRendezvous } from "../../src/roles/sealed_rendezvous.ts";
import { FakeTime, turns } from "../support/fake_time.ts";
import { bytesFor, identityFor } from "../support/identities.ts";
import { SignalHub } from "../support/signal_hub.ts";

const [alice, bob] = [identityFor("alice").peerId, identityFor("bob").peerId];
const SECRET = bytesFor("pairing secret");
const ID = bytesFor("offer").slice(0, 16);
const URL = { type: "ws", value: "ws://192.0.2.7:9091/link" };
const EPOCH_SECONDS = 86_400;

/** One side of a meeting and what it heard: `kind` and which secret was used. */
interface Side {
  readonly rendezvous: SealedRendezvous;
  readonly heard: SealedMessage[];
  readonly used: number[];
}

class Scene {
  readonly hubs = [new SignalHub(), new SignalHub()];
  readonly sides: Side[] = [];

  constructor(readonly time: FakeTime) {}

  get hub(): SignalHub {
    return this.hubs[0]!;
  }

  side(label: "alice" | "bob", secrets: Uint8Array[] = [SECRET], hubs = [this.hub]): Side {
    const heard: SealedMessage[] = [];
    const used: number[] = [];
    const rendezvous = new SealedRendezvous({
      self: label === "alice" ? alice : bob,
      meeting: { remote: label === "alice" ? bob : alice, secrets },
      clients: hubs.map((hub) => hub.client()),
      host: this.time,
      onMessage: (message, index) => {
        heard.push(message);
        used.push(index);
      },
    });
    const side = { rendezvous, heard, used };
    this.sides.push(side);
    return side;
  }

  /** Moves on to `seconds` after the start of an epoch of this secret. */
  toEpoch(seconds: number): void {
    const inMinutes = (offset: number) => this.time.now() / 1000 + offset * 60;
    let minutes = 0;
    const current = () => rendezvousTopics(SECRET, inMinutes(minutes))[0];
    const before = current();
    while (current() === before) minutes++;
    this.time.pass((minutes * 60 + seconds) * 1000);
  }
}

function meetingTest(name: string, story: (scene: Scene) => Promise<void>): void {
  Deno.test(`SealedRendezvous ${name}`, async () => {
    using time = new FakeTime();
    const scene = new Scene(time);
    await story(scene);
    for (const { rendezvous } of scene.sides) rendezvous.close();
    for (const hub of scene.hubs) deepEqual(hub.topics(), [], "nobody listens any more");
  });
}

meetingTest("brings an offer and its answer with the candidates", async (scene) => {
  const [near, far] = [scene.side("alice"), scene.side("bob")];
  near.rendezvous.send({ id: ID, kind: "offer", candidates: [] });
  await turns();
  deepEqual(far.heard.map(({ id, kind }) => [toHex(id), kind]), [[toHex(ID), "offer"]]);
  far.rendezvous.send({ id: ID, kind: "answer", candidates: [URL] });
  await turns();
  deepEqual(near.heard, [{
    id: ID,
    kind: "answer",
    candidates: [URL],
    time: scene.time.now() / 1000,
  }]);
  deepEqual(scene.hub.relayed.map(({ payload }) => payload.length), [
    24 + 256 + 16,
    24 + 256 + 16,
  ], "their sizes say nothing");
});

meetingTest("hears a message once, also from several servers", async (scene) => {
  const near = scene.side("alice", [SECRET], scene.hubs);
  const far = scene.side("bob", [SECRET], scene.hubs);
  near.rendezvous.send({ id: ID, kind: "offer", candidates: [] });
  await turns();
  equal(far.heard.length, 1);
  const { topic, payload } = scene.hub.relayed[0]!;
  const replayer = scene.hub.client();
  replayer.relay(topic, payload);
  await turns();
  equal(far.heard.length, 1, "a replay is not heard");
});

meetingTest("hears nothing that is old, from itself, or under another secret", async (scene) => {
  const far = scene.side("bob");
  const mallory = scene.hub.client();
  const seconds = scene.time.now() / 1000;
  const [topic = ""] = rendezvousTopics(SECRET, seconds);
  const sealed = (
    options: { time?: number; sender?: typeof bob; secret?: Uint8Array },
    n: number,
  ) =>
    sealMessage({
      secret: options.secret ?? SECRET,
      sender: options.sender ?? alice,
      topic,
      nonce: bytesFor(`nonce ${n}`).slice(0, 24),
    }, {
      id: bytesFor(`${n}`).slice(0, 16),
      time: options.time ?? seconds,
      kind: "offer",
      candidates: [],
    });
  mallory.relay(topic, sealed({ time: seconds - 301 }, 1));
  mallory.relay(topic, sealed({ time: seconds + 301 }, 2));
  mallory.relay(topic, sealed({ sender: bob }, 3));
  mallory.relay(topic, sealed({ secret: bytesFor("other secret") }, 4));
  mallory.relay(topic, bytesFor("garbage"));
  await turns();
  deepEqual(far.heard, []);
  mallory.relay(topic, sealed({ time: seconds - 300 }, 5));
  await turns();
  equal(far.heard.length, 1);
});

meetingTest("follows the epochs of its secret", async (scene) => {
  const [near, far] = [scene.side("alice"), scene.side("bob")];
  const offer = async (label: string) => {
    const id = bytesFor(label).slice(0, 16);
    near.rendezvous.send({ id, kind: "offer", candidates: [] });
    await turns();
    return far.heard.some((message) => toHex(message.id) === toHex(id));
  };
  const topics: (string | undefined)[] = [];
  for (const at of [3_600, 40_000, 83_000, 86_399]) {
    scene.toEpoch(at);
    ok(await offer(`at ${at}`), `${at} s into an epoch`);
    topics.push(scene.hub.relayed.at(-1)?.topic);
  }
  equal(new Set(topics).size, 4, "each epoch has a topic of its own");
  equal(scene.hub.topics().length, 2, "old topics are left, the next one is there near the end");
  scene.toEpoch(40_000);
  equal(scene.hub.topics().length, 1);
});

meetingTest("is met by a peer whose clock is five minutes ahead or behind", async (scene) => {
  for (const skew of [-300, 300]) {
    scene.toEpoch(0);
    const far = scene.side("bob");
    const seconds = scene.time.now() / 1000 + skew;
    const [topic = ""] = rendezvousTopics(SECRET, seconds);
    const id = bytesFor(`skew ${skew}`).slice(0, 16);
    const payload = sealMessage(
      { secret: SECRET, sender: alice, topic, nonce: bytesFor(`${skew}`).slice(0, 24) },
      { id, time: seconds, kind: "offer", candidates: [] },
    );
    scene.hub.client().relay(topic, payload);
    await turns();
    equal(far.heard.length, 1, `${skew} s`);
  }
});

meetingTest("meets under the secret before too, and says which was used", async (scene) => {
  const before = bytesFor("previous secret");
  const far = scene.side("bob", [SECRET, before]);
  const stale = scene.side("alice", [before]);
  stale.rendezvous.send({ id: ID, kind: "offer", candidates: [] });
  await turns();
  const current = scene.side("alice", [SECRET]);
  const second = bytesFor("second").slice(0, 16);
  current.rendezvous.send({ id: second, kind: "offer", candidates: [] });
  await turns();
  deepEqual(far.used, [1, 0]);
  far.rendezvous.send({ id: ID, kind: "answer", candidates: [URL] });
  await turns();
  equal(stale.heard.length, 1);
  equal(current.heard.length, 1);
});

meetingTest("stays away after it was closed", async (scene) => {
  const [near, far] = [scene.side("alice"), scene.side("bob")];
  scene.hub.hold();
  near.rendezvous.send({ id: ID, kind: "offer", candidates: [] });
  far.rendezvous.close();
  scene.hub.release();
  scene.time.pass(2 * EPOCH_SECONDS * 1000);
  await turns();
  deepEqual(far.heard, []);
});
