import { deepEqual, equal } from "node:assert/strict";
import { concatBytes } from "../../src/base/bytes.ts";
import { MessageType } from "../../src/protocol/message_types.ts";
import { contactTopic } from "../../src/protocol/rendezvous/topics.ts";
import { acceptLink, initiateLink } from "../../src/roles/link_connection.ts";
import {
  acceptOnTopic,
  callOnTopic,
  initiateOnTopic,
  type TopicListener,
} from "../../src/roles/topic_carrier.ts";
import type { FrameSocket } from "../../src/roles/web_socket.ts";
import { FakeTime, turns } from "../support/fake_time.ts";
import { bytesFor, identityFor } from "../support/identities.ts";
import { contextFor, LinkRecorder } from "../support/link_pair.ts";
import { SignalHub } from "../support/signal_hub.ts";

const bob = identityFor("bob").peerId;
const TOPIC = contactTopic(bob);
const ATTEMPT = bytesFor("attempt").slice(0, 16);

/** Bob accepts on his contact topic; Alice asks there. */
class Scene {
  readonly hub = new SignalHub();
  readonly alice = this.hub.client();
  readonly accepted: FrameSocket[] = [];
  readonly listener: TopicListener;

  constructor(readonly time: FakeTime, limit?: number) {
    const accept = (socket: FrameSocket) => this.accepted.push(socket);
    this.listener = acceptOnTopic(this.hub.client(), TOPIC, accept, {
      ...(limit && { limit }),
    });
  }

  initiate(attempt: Uint8Array = ATTEMPT): FrameSocket {
    return initiateOnTopic(this.alice, TOPIC, attempt);
  }

  /** A link between Alice and Bob over the topic. */
  async link(): Promise<{ near: LinkRecorder; far: LinkRecorder }> {
    const near = initiateLink(this.initiate(), contextFor("alice", this.time), {
      expectedPeer: bob,
    });
    await turns(1);
    const far = acceptLink(this.accepted[0]!, contextFor("bob", this.time));
    return { near: new LinkRecorder(await near), far: new LinkRecorder(await far) };
  }
}

function topicTest(name: string, story: (scene: Scene) => Promise<void>, limit?: number): void {
  Deno.test(`A contact topic ${name}`, async () => {
    using time = new FakeTime();
    await story(new Scene(time, limit));
  });
}

topicTest("carries a link, as attempt id, direction and Noise message", async (scene) => {
  const { near, far } = await scene.link();
  near.link.send(0x7777, Uint8Array.of(1));
  deepEqual(await far.payload(0x7777), Uint8Array.of(1));
  far.link.send(0x7778, Uint8Array.of(2));
  deepEqual(await near.payload(0x7778), Uint8Array.of(2));
  for (const { topic, payload, from } of scene.hub.relayed) {
    equal(topic, TOPIC);
    deepEqual(payload.slice(0, 16), ATTEMPT);
    const { from: alices } = scene.hub.relayed[0]!;
    equal(payload[16], from === alices ? 0 : 1);
  }
  // Noise XX: 32 bytes of ephemeral key in the first message and nothing else.
  equal(scene.hub.relayed[0]?.payload.length, 16 + 1 + 32);
  near.link.close("going-away");
  equal(await far.end(), "going-away");
  await turns();
  deepEqual(scene.hub.relayed.slice(-2).map(({ payload }) => payload[16]), [2, 3]);
  scene.listener.close();
  deepEqual(scene.hub.topics(), []);
});

topicTest("tells each end when the other one hangs up", async (scene) => {
  for (const side of ["initiator", "acceptor"]) {
    const socket = scene.initiate(bytesFor(side).slice(0, 16));
    socket.send(Uint8Array.of(1));
    await turns(1);
    const accepted = scene.accepted.at(-1)!;
    accepted.onFrame = () => {};
    const [one, other] = side === "initiator" ? [socket, accepted] : [accepted, socket];
    const ended = new Promise<number>((resolve) => other.onClose = ({ code }) => resolve(code));
    one.close();
    equal(await ended, 1000);
    const count = scene.hub.relayed.length;
    one.send(Uint8Array.of(2));
    other.send(Uint8Array.of(3));
    equal(scene.hub.relayed.length, count, "nobody speaks any more");
  }
  scene.listener.close();
});

topicTest("keeps attempts apart from what else is said there", async (scene) => {
  const { near, far } = await scene.link();
  const foreigner = scene.hub.client();
  const say = (...parts: Uint8Array[]) => foreigner.relay(TOPIC, concatBytes(...parts));
  say(new Uint8Array(0));
  say(ATTEMPT);
  say(ATTEMPT, Uint8Array.of(9), bytesFor("unknown direction"));
  say(bytesFor("other").slice(0, 16), Uint8Array.of(1), bytesFor("an answer to nobody"));
  say(bytesFor("other").slice(0, 16), Uint8Array.of(2));
  say(ATTEMPT, Uint8Array.of(0), new Uint8Array(16_385));
  await turns();
  equal(scene.accepted.length, 1, "none of it is a new attempt");
  near.link.send(0x7777, Uint8Array.of(1));
  deepEqual(await far.payload(0x7777), Uint8Array.of(1));
  near.link.close("going-away");
  scene.listener.close();
});

topicTest("takes only so many attempts at a time", async (scene) => {
  const sockets = [0, 1, 2].map((n) => scene.initiate(bytesFor(`attempt ${n}`).slice(0, 16)));
  for (const socket of sockets) socket.send(Uint8Array.of(1));
  await turns();
  equal(scene.accepted.length, 2);
  scene.accepted[0]!.close();
  await turns();
  sockets[2]!.send(Uint8Array.of(1));
  await turns();
  equal(scene.accepted.length, 3);
  scene.listener.close();
}, 2);

topicTest("has room again when attempts time out", async (scene) => {
  for (let n = 0; n < 2; n++) {
    scene.initiate(bytesFor(`idle ${n}`).slice(0, 16)).send(new Uint8Array(32).fill(9));
  }
  await turns();
  const context = contextFor("bob", scene.time);
  const handshakes = Promise.allSettled(
    scene.accepted.map((socket) => acceptLink(socket, context)),
  );
  scene.time.pass(10_000);
  await handshakes;
  scene.accepted.length = 0;
  const { near } = await scene.link();
  near.link.close("going-away");
  await turns();
  scene.listener.close();
}, 2);

for (const trouble of ["lost", "reordered", "repeated"]) {
  topicTest(`ends a link of which a payload was ${trouble}`, async (scene) => {
    const { near, far } = await scene.link();
    const { hub } = scene;
    if (trouble === "lost") {
      const next = hub.relayed.length;
      hub.passes = (_, index) => index !== next;
    } else hub.hold();
    near.link.send(0x7777, Uint8Array.of(1));
    near.link.send(0x7777, Uint8Array.of(2));
    hub.release((held) => trouble === "repeated" ? [...held, ...held] : held.toReversed());
    equal(await far.end(), "protocol-error");
    equal(await near.end(), "protocol-error");
    scene.listener.close();
  });
}

topicTest("fails a handshake of which a payload was lost", async (scene) => {
  scene.hub.passes = (_, index) => index !== 1;
  const near = initiateLink(scene.initiate(), contextFor("alice", scene.time), {
    expectedPeer: bob,
  });
  await turns();
  const far = acceptLink(scene.accepted[0]!, contextFor("bob", scene.time));
  const outcomes = Promise.allSettled([near, far]);
  await turns();
  scene.time.pass(10_000);
  deepEqual((await outcomes).map(({ status }) => status), ["rejected", "rejected"]);
  scene.listener.close();
});

topicTest("ends a link whose message does not fit", async (scene) => {
  const { near, far } = await scene.link();
  far.link.trustRemote();
  near.link.send(0x7777, new Uint8Array(16_300));
  await far.payload(0x7777);
  near.link.send(0x7777, new Uint8Array(16_400));
  equal(await near.end(), "too-large");
  await far.end();
  scene.listener.close();
});

topicTest("ends all attempts with the acceptor, and takes no more", async (scene) => {
  const { near } = await scene.link();
  scene.listener.close();
  await near.end();
  scene.initiate(bytesFor("late").slice(0, 16)).send(Uint8Array.of(1));
  await turns();
  equal(scene.accepted.length, 1);
});

topicTest("keeps what comes before anybody listens, for whoever listens then", async (scene) => {
  const socket = scene.initiate();
  for (let n = 0; n < 12; n++) socket.send(Uint8Array.of(n));
  await turns();
  const [accepted] = scene.accepted;
  const [first, rest]: [number[], number[]] = [[], []];
  accepted!.onFrame = ([byte]) => {
    first.push(byte!);
    accepted!.onFrame = ([next]) => rest.push(next!);
  };
  deepEqual([first, rest], [[0], [1, 2, 3, 4, 5, 6, 7]], "eight are kept");
  scene.listener.close();
});

topicTest("that is closed for newcomers lets attempts under way go on", async (scene) => {
  const { near, far } = await scene.link();
  scene.listener.drain();
  near.link.send(MessageType.Heartbeat, new Uint8Array(0));
  far.link.close("going-away");
  equal(await near.end(), "going-away");
  const newcomer = scene.initiate(new Uint8Array(16).fill(9));
  newcomer.send(new Uint8Array(32));
  await turns(1);
  equal(scene.accepted.length, 1);
  newcomer.destroy();
  deepEqual(scene.hub.topics(), [], "and then nobody listens");
});

Deno.test("A topic with several acceptors lets each name an attempt of its own", async () => {
  const hub = new SignalHub();
  const accepted: [string, FrameSocket][] = [];
  const listeners = ["first", "second"].map((name, index) =>
    acceptOnTopic(hub.client(), TOPIC, (socket) => accepted.push([name, socket]), {
      announce: () => new Uint8Array(16).fill(index + 1),
    })
  );
  const named: Uint8Array[] = [];
  const joiner = hub.client();
  const call = callOnTopic(joiner, TOPIC, ATTEMPT, (attempt) => named.push(attempt));
  await turns(2);
  call.again();
  await turns(2);
  deepEqual(named, [1, 2].map((fill) => new Uint8Array(16).fill(fill)), "once each");

  const sockets = named.map((attempt) => initiateOnTopic(joiner, TOPIC, attempt));
  const unasked = initiateOnTopic(joiner, TOPIC, new Uint8Array(16).fill(7));
  for (const socket of [...sockets, unasked]) socket.send(Uint8Array.of(1));
  await turns(2);
  deepEqual(accepted.map(([name]) => name), ["first", "second"], "and no attempt that none named");
  const heard: string[] = [];
  for (const [index, socket] of sockets.entries()) {
    socket.onFrame = () => heard.push(`socket ${index}`);
  }
  accepted[1]![1].send(Uint8Array.of(2));
  await turns(2);
  deepEqual(heard, ["socket 1"]);
  call.end();
  for (const socket of [...sockets, unasked]) socket.destroy();
  for (const listener of listeners) listener.close();
});
