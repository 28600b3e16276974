import { deepEqual, equal, rejects } from "node:assert/strict";
import type { PeerId } from "../../../src/protocol/crypto/peer_id.ts";
import {
  decodeRoster,
  decodeRosterChange,
  encodeRelayData,
  type RosterRow,
} from "../../../src/protocol/hub_messages.ts";
import { RelayReason } from "../../../src/protocol/hub/relay_exchange.ts";
import { MessageType } from "../../../src/protocol/message_types.ts";
import {
  acceptLink,
  initiateLink,
  type LinkConnection,
} from "../../../src/roles/link_connection.ts";
import { RelayedLinks, type RelayedSocket } from "../../../src/roles/peer/relayed_link.ts";
import { turns } from "../../support/fake_time.ts";
import { identityFor } from "../../support/identities.ts";
import { contextFor, LinkRecorder } from "../../support/link_pair.ts";
import { type Client, ServerScene } from "./links_scene.ts";

const HUB = ["receive", "roster", "relay"];
const PING = 0x0300;

Deno.test("Roster tells a peer of the others, by name, and what becomes of them", async () => {
  const laptop = identityFor("alice").peerId.toString();
  await using scene = await ServerScene.open({ hub: { names: { [laptop]: "laptop" } } });
  await scene.know("alice", "bob", "carol");
  scene.time.pass(1_000);
  const bob = await scene.link("bob", { capabilities: HUB });
  const told = decodeRoster(await bob.recorder.payload(MessageType.Roster));
  deepEqual(sorted(told.rows), ["alice laptop away", "carol null away"]);
  equal(told.more, false);

  const alice = await scene.link("alice", { capabilities: HUB });
  deepEqual(await changes(scene, bob), ["alice laptop online"]);
  const sender = await scene.link("carol");
  deepEqual(await changes(scene, bob), [], "who does not listen is not online");
  alice.close();
  deepEqual(await changes(scene, bob), ["alice laptop away"]);
  await scene.know("dave");
  deepEqual(await changes(scene, bob), ["dave null away"]);
  await scene.book.remove(identityFor("carol").peerId);
  deepEqual(await changes(scene, bob), ["carol null gone"]);
  deepEqual(sender.recorder.payloads(MessageType.RosterChange), [], "it did not ask for it");
});

Deno.test("Roster gathers what happens at once", async () => {
  await using scene = await ServerScene.open({ hub: {} });
  const labels = Array.from({ length: 20 }, (_, index) => `peer ${index}`);
  await scene.know("bob", ...labels);
  const bob = await scene.link("bob", { capabilities: HUB });
  deepEqual(await changes(scene, bob), Array(20).fill("another null away"));
  const before = bob.recorder.payloads(MessageType.RosterChange).length;
  for (const label of labels) await scene.link(label, { receive: true });
  equal((await changes(scene, bob)).length, 20);
  equal(bob.recorder.payloads(MessageType.RosterChange).length, before + 1);
});

Deno.test("Roster of many peers comes in parts", async () => {
  await using scene = await ServerScene.open({ hub: {} });
  await scene.know("bob", ...Array.from({ length: 300 }, (_, index) => `peer ${index}`));
  const bob = await scene.link("bob", { capabilities: HUB });
  await bob.recorder.payload(MessageType.Roster, 2);
  const parts = bob.recorder.payloads(MessageType.Roster).map(decodeRoster);
  deepEqual(parts.map(({ rows, more }) => [rows.length, more]), [[256, true], [44, false]]);
});

Deno.test("Roster that is switched off tells nobody anything", async () => {
  await using scene = await ServerScene.open({ hub: { roster: false } });
  await scene.know("alice", "bob");
  const bob = await scene.link("bob", { capabilities: HUB });
  await scene.link("alice", { capabilities: HUB });
  await scene.settle();
  scene.time.pass(1_000);
  await scene.settle();
  deepEqual(scene.hub?.capabilities, ["relay"]);
  deepEqual(bob.recorder.payloads(MessageType.Roster), []);
  deepEqual(bob.recorder.payloads(MessageType.RosterChange), []);
});

Deno.test("Personal relay carries a whole link, which the server cannot read", async () => {
  await using scene = await ServerScene.open({ hub: {} });
  await scene.know("alice", "bob");
  const [alice, bob] = [await relayed(scene, "alice"), await relayed(scene, "bob")];
  const { near, far } = await joined(scene, alice, bob);
  equal(far.remote.toString(), alice.peerId.toString());
  const { cable } = alice.client;
  const text = new TextEncoder().encode("what nobody in between may read");
  near.send(PING, text);
  const [received] = [await new LinkRecorder(far).payload(PING)];
  deepEqual(received, text);
  deepEqual(cable.sent.near.filter((frame) => includes(frame, text)), []);
  equal(scene.hub?.relayStats()?.activePairs, 1);
});

Deno.test("Personal relay tells the second pair that it has room for one", async () => {
  await using scene = await ServerScene.open({ hub: { relayCapacity: 1 } });
  await scene.know("alice", "bob", "carol", "dave");
  const labels = ["alice", "bob", "carol", "dave"];
  const [alice, bob, carol, dave] = await Promise.all(labels.map((each) => relayed(scene, each)));
  const { near } = await joined(scene, alice!, bob!);
  const socket = carol!.links.open(dave!.peerId);
  await rejects(initiateLink(socket, carol!.context, { expectedPeer: dave!.peerId }));
  equal(socket.refusal, RelayReason.capacity);
  near.close("going-away");
  await scene.settle();
  await joined(scene, carol!, dave!);
});

Deno.test("Personal relay lets a receiver that stalls slow its own pair alone", async () => {
  await using scene = await ServerScene.open({ hub: {} });
  await scene.know("alice", "bob", "carol");
  const labels = ["alice", "bob", "carol"];
  const [alice, bob, carol] = await Promise.all(labels.map((each) => relayed(scene, each)));
  const toBob = await joined(scene, alice!, bob!);
  const toCarol = await joined(scene, alice!, carol!);
  const atBob = new LinkRecorder(toBob.far);
  const atCarol = new LinkRecorder(toCarol.far);
  const stalled = bob!.client.cable;
  stalled.hold("far");
  for (let round = 0; round < 40; round++) toBob.near.send(PING, new Uint8Array(60_000));
  await scene.settle();
  for (let round = 0; round < 40; round++) toCarol.near.send(PING, new Uint8Array(60_000));
  await atCarol.payload(PING, 40);
  equal(atBob.payloads(PING).length, 0);
  const waiting = stalled.sent.far.reduce((sum, frame) => sum + frame.length, 0);
  equal(waiting < 600_000, true, "the server holds a window of it, the sender the rest");
  equal(toBob.near.congested, false);
  stalled.release("far");
  await atBob.payload(PING, 40);
});

Deno.test("Personal relay ends the link of a peer that breaks its rules, and what it had opened", async () => {
  await using scene = await ServerScene.open({ hub: {} });
  await scene.know("alice", "bob");
  const [alice, bob] = [await relayed(scene, "alice"), await relayed(scene, "bob")];
  const { far } = await joined(scene, alice, bob);
  const ended = new LinkRecorder(far).end();
  const circuit = new Uint8Array(16);
  const message = {
    peerId: bob.peerId,
    frame: new Uint8Array(32),
    circuit,
    opens: true,
    credit: 0,
  };
  for (let times = 0; times < 2; times++) {
    alice.client.send(MessageType.RelayData, encodeRelayData(message));
  }
  equal(await alice.client.recorder.end(), "protocol-error");
  equal(await ended, RelayReason.replaced);
  equal(scene.hub?.relayStats()?.activePairs, 0);
});

interface RelayedPeer {
  readonly client: Client;
  readonly peerId: PeerId;
  readonly context: ReturnType<typeof contextFor>;
  readonly links: RelayedLinks;
  /** The next carrier that another peer opens. */
  opened(): Promise<RelayedSocket>;
}

/** A peer's link to the server with what is relayed on it. */
async function relayed(scene: ServerScene, label: string): Promise<RelayedPeer> {
  const client = await scene.link(label, { capabilities: HUB });
  const context = contextFor(label, scene.time);
  let next = Promise.withResolvers<RelayedSocket>();
  const { link } = client.recorder;
  const links = new RelayedLinks(link, scene.time, (socket) => {
    next.resolve(socket);
    next = Promise.withResolvers();
  });
  link.onEnvelope = ({ type, payload }) => void links.receive(type, payload);
  return { client, context, links, peerId: context.identity.peerId, opened: () => next.promise };
}

async function joined(
  scene: ServerScene,
  one: RelayedPeer,
  other: RelayedPeer,
): Promise<{ near: LinkConnection; far: LinkConnection }> {
  const opened = other.opened();
  const initiated = initiateLink(one.links.open(other.peerId), one.context, {
    expectedPeer: other.peerId,
  });
  const accepted = opened.then((socket) => acceptLink(socket, other.context));
  const [near, far] = await Promise.all([initiated, accepted]);
  for (const link of [near, far]) link.trustRemote();
  await scene.settle();
  return { near, far };
}

/** What the roster has told since the last time. */
async function changes(scene: ServerScene, { recorder }: Client): Promise<string[]> {
  await scene.settle();
  scene.time.pass(1_000);
  await turns();
  const payloads = recorder.payloads(MessageType.RosterChange);
  const fresh = payloads.slice(seen.get(recorder) ?? 0);
  seen.set(recorder, payloads.length);
  return sorted(fresh.flatMap((payload) => decodeRosterChange(payload).rows));
}

const seen = new WeakMap<LinkRecorder, number>();

function sorted(rows: readonly RosterRow[]): string[] {
  return rows.map(({ peerId, name, presence }) => `${labelOf(peerId)} ${name} ${presence}`).sort();
}

function labelOf(peerId: PeerId): string {
  const labels = ["alice", "bob", "carol", "dave"];
  return labels.find((label) => identityFor(label).peerId.equals(peerId)) ?? "another";
}

function includes(haystack: Uint8Array, needle: Uint8Array): boolean {
  return haystack.toHex().includes(needle.toHex());
}
