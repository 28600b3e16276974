import { deepEqual, equal, throws } from "node:assert/strict";
import { ProtocolError } from "../../../src/base/errors.ts";
import {
  decodeRelayAck,
  decodeRelayData,
  encodeRelayAck,
  encodeRelayData,
} from "../../../src/protocol/hub_messages.ts";
import { RELAY_WINDOW } from "../../../src/protocol/hub/circuit.ts";
import { MessageType } from "../../../src/protocol/message_types.ts";
import { RelayedLinks, type RelayedSocket } from "../../../src/roles/peer/relayed_link.ts";
import { FakeTime, turns } from "../../support/fake_time.ts";
import { identityFor } from "../../support/identities.ts";
import { contextFor, linkPair, LinkRecorder } from "../../support/link_pair.ts";

const bob = identityFor("bob").peerId;
const FRAME = 32_768;

Deno.test("RelayedSocket sends no more than it has credit for, and the rest when that comes", async () => {
  await using scene = await Scene.open();
  const socket = scene.links.open(bob);
  for (let sent = 0; sent < RELAY_WINDOW + 2 * FRAME; sent += FRAME) {
    socket.send(new Uint8Array(FRAME));
  }
  equal((await scene.heard()).length, RELAY_WINDOW / FRAME);
  equal(socket.bufferedBytes, 2 * FRAME);
  const [first] = await scene.heard();
  scene.grant(first!.circuit, FRAME);
  const frames = await scene.heard();
  equal(frames.length, RELAY_WINDOW / FRAME + 1);
  deepEqual(frames.map(({ opens }) => opens), [true, ...Array(frames.length - 1).fill(false)]);
  throws(() => scene.grant(first!.circuit, RELAY_WINDOW + 1), ProtocolError);
});

Deno.test("RelayedSocket acknowledges what it took, alone or with what that set off", async () => {
  await using scene = await Scene.open();
  const circuit = new Uint8Array(16);
  scene.receive(circuit, new Uint8Array(10_000), true);
  scene.receive(circuit, new Uint8Array(10_000), false);
  await turns();
  deepEqual(scene.acks().map(({ credit, reason }) => [credit, reason]), [[20_000, null]]);
  const [socket] = scene.opened;
  socket!.onFrame = (frame) => socket!.send(frame.subarray(0, 1));
  scene.receive(circuit, new Uint8Array(17_000), false);
  const frames = await scene.heard();
  deepEqual(frames.map(({ credit }) => credit), [0, 0, 17_000]);
  equal(scene.acks().length, 1);
});

Deno.test("RelayedSocket that is closed tells the other end, one that is ended says why", async () => {
  await using scene = await Scene.open();
  const circuit = new Uint8Array(16);
  scene.receive(circuit, Uint8Array.of(1), true);
  scene.opened[0]!.close(1000, "replaced");
  await turns();
  deepEqual(scene.acks().map(({ reason }) => reason), ["replaced"]);
  const other = scene.links.open(bob);
  const ended = new Promise<string>((resolve) => {
    other.onClose = ({ reason }) => resolve(reason);
  });
  other.send(Uint8Array.of(1));
  const [, sent] = [undefined, (await scene.heard()).at(-1)];
  const refusal = { peerId: bob, circuit: sent!.circuit, credit: 0, reason: "peer is not online" };
  scene.links.receive(MessageType.RelayAck, encodeRelayAck(refusal));
  equal(await ended, "peer is not online");
  equal(other.refusal, "peer is not online");
  other.send(Uint8Array.of(2));
  equal((await scene.heard()).length, 1, "nothing is sent any more");
});

Deno.test("RelayedLinks end with the link to the server", async () => {
  await using scene = await Scene.open();
  const socket = scene.links.open(bob);
  const ended = new Promise<string>((resolve) => {
    socket.onClose = ({ reason }) => resolve(reason);
  });
  scene.links.close();
  equal(await ended, "the link to the server ended");
});

Deno.test("RelayedLinks refuse circuits beyond their bound, and one that is opened twice", async () => {
  await using scene = await Scene.open();
  for (let index = 0; index <= 64; index++) {
    scene.receive(new Uint8Array(16).fill(index), Uint8Array.of(1), true);
  }
  await turns();
  equal(scene.opened.length, 64);
  deepEqual(scene.acks().map(({ reason }) => reason), ["too many relayed links"]);
  throws(() => scene.receive(new Uint8Array(16), Uint8Array.of(1), true), ProtocolError);
  scene.receive(new Uint8Array(16).fill(200), Uint8Array.of(1), false);
});

/** A link to a server that does what the test says. */
class Scene implements AsyncDisposable {
  readonly opened: RelayedSocket[] = [];
  readonly links: RelayedLinks;

  private constructor(
    readonly time: FakeTime,
    near: ConstructorParameters<typeof RelayedLinks>[0],
    readonly recorder: LinkRecorder,
  ) {
    this.links = new RelayedLinks(near, time, (socket) => this.opened.push(socket));
  }

  static async open(): Promise<Scene> {
    const time = new FakeTime();
    const { near, far } = await linkPair(contextFor("alice", time), contextFor("server", time));
    for (const link of [near, far]) link.trustRemote();
    return new Scene(time, near, new LinkRecorder(far));
  }

  receive(circuit: Uint8Array, frame: Uint8Array, opens: boolean): void {
    const message = { peerId: bob, frame, circuit, opens, credit: 0 };
    this.links.receive(MessageType.RelayData, encodeRelayData(message));
  }

  grant(circuit: Uint8Array, credit: number): void {
    const message = { peerId: bob, circuit, credit, reason: null };
    this.links.receive(MessageType.RelayAck, encodeRelayAck(message));
  }

  /** The frames that the server has. */
  async heard() {
    await turns();
    return this.recorder.payloads(MessageType.RelayData).map(decodeRelayData);
  }

  acks() {
    return this.recorder.payloads(MessageType.RelayAck).map(decodeRelayAck);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.recorder.link.close("going-away");
    this.time[Symbol.dispose]();
    return Promise.resolve();
  }
}
