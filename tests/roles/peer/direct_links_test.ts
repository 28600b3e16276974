import { deepEqual, equal, rejects } from "node:assert/strict";
import { fromUtf8, utf8 } from "../../../src/base/bytes.ts";
import type { PeerId } from "../../../src/protocol/crypto/peer_id.ts";
import { decodeRoster, decodeRosterChange } from "../../../src/protocol/hub_messages.ts";
import { MessageType } from "../../../src/protocol/message_types.ts";
import { initiateLink, type LinkConnection } from "../../../src/roles/link_connection.ts";
import { DirectLinks } from "../../../src/roles/peer/direct_links.ts";
import { RelayedLinks } from "../../../src/roles/peer/relayed_link.ts";
import { RosterView } from "../../../src/roles/peer/roster_view.ts";
import { FakeTime } from "../../support/fake_time.ts";
import { identityFor } from "../../support/identities.ts";
import { contextFor, linkPair, LinkRecorder } from "../../support/link_pair.ts";
import { PeerWorld } from "../../support/peer_world.ts";
import { untilHolds } from "../../support/rested.ts";
import { ServerScene } from "../server/links_scene.ts";
import { settle, shown } from "./courier_scene.ts";

const HUB = ["receive", "roster", "relay"];

Deno.test("DirectLinks that two peers open to each other at once become one", async () => {
  await using scene = await Scene.open();
  const [alice, bob] = [await scene.peer("alice"), await scene.peer("bob")];
  await alice.send(bob, "from alice");
  await bob.send(alice, "from bob");
  await scene.delivered();
  await scene.until(() => scene.server.hub?.relayStats()?.peers[0]?.activeLinks === 1);
  deepEqual([await shown(alice.world), await shown(bob.world)], [["from bob"], ["from alice"]]);
  deepEqual([alice.path(bob), bob.path(alice)], ["relayed", "relayed"]);
  const { activePairs, peers } = scene.server.hub?.relayStats() ?? {};
  deepEqual([activePairs, peers?.map(({ activeLinks }) => activeLinks)], [1, [1, 1]]);
  await alice.send(bob, "again");
  await scene.delivered();
  deepEqual(await shown(bob.world), ["from alice", "again"]);
});

Deno.test("DirectLinks that cross become one that both ends send on", async () => {
  await using scene = await Scene.open();
  const [alice, bob] = [await scene.peer("alice"), await scene.peer("bob")];
  alice.links.want(bob.peerId);
  bob.links.want(alice.peerId);
  const { hub } = scene.server;
  await scene.until(() => hub?.relayStats()?.opened === 2 && hub.relayStats()?.activePairs === 1);
  await scene.until(() => alice.path(bob) === "relayed" && bob.path(alice) === "relayed");
  const taken: boolean[] = [];
  for (const [from, to] of [[alice, bob], [bob, alice]] as const) {
    from.links.sendTransient(to.peerId, "", utf8("x")).then((answer) => taken.push(answer));
    await from.send(to, "y");
  }
  await scene.delivered();
  await scene.until(() => taken.length === 2);
  deepEqual(taken, [true, true]);
  deepEqual([await shown(alice.world), await shown(bob.world)], [["y"], ["y"]]);
});

Deno.test("DirectLinks carry what nobody keeps, once there is a link, and open one where they can", async () => {
  await using scene = await Scene.open();
  const [alice, bob] = [await scene.peer("alice"), await scene.peer("bob")];
  const send = (text: string) => alice.links.sendTransient(bob.peerId, "", utf8(text));
  equal(await send("too early"), false);
  await scene.until(() => alice.path(bob) === "relayed");
  equal(await send("one"), true);
  deepEqual([bob.transient, await shown(bob.world)], [["one"], []]);
});

Deno.test("DirectLinks give a link back that was not used for two minutes", async () => {
  await using scene = await Scene.open();
  const [alice, bob] = [await scene.peer("alice"), await scene.peer("bob")];
  await alice.send(bob, "one");
  await scene.delivered();
  await scene.pass(100_000);
  equal(alice.path(bob), "relayed");
  await bob.send(alice, "two");
  await scene.delivered();
  await scene.pass(100_000);
  equal(alice.path(bob), "relayed", "whoever opened it, both may use it");
  await scene.pass(60_000);
  await scene.until(() => bob.path(alice) === "mailbox");
  deepEqual([alice.path(bob), bob.path(alice)], ["mailbox", "mailbox"]);
  deepEqual(alice.paths, ["relayed", "mailbox"]);
  equal(scene.server.hub?.relayStats()?.activePairs, 0);
});

Deno.test("DirectLinks ask a relay that has refused again after a while, or when the peer comes", async () => {
  await using scene = await Scene.open({ roster: false });
  const [alice, bob] = [await scene.peer("alice"), await scene.peer("bob", { online: false })];
  const refused = () => scene.server.hub?.relayStats()?.refused;
  await alice.send(bob, "one");
  await scene.until(() => refused() === 1);
  await scene.settle();
  await alice.send(bob, "two");
  await scene.settle();
  equal(refused(), 1);
  await scene.pass(6_000);
  await alice.send(bob, "three");
  await scene.until(() => refused() === 2);
  await scene.settle();
  await bob.online();
  alice.links.cameOnline(bob.peerId);
  await alice.send(bob, "four");
  await scene.delivered();
  deepEqual(await shown(bob.world), ["one", "two", "three", "four"]);
});

Deno.test("DirectLinks are not opened to a peer that the roster has away", async () => {
  await using scene = await Scene.open();
  const [alice, bob] = [await scene.peer("alice"), await scene.peer("bob", { online: false })];
  await alice.send(bob, "one");
  await scene.settle();
  const { opened, refused } = scene.server.hub?.relayStats() ?? {};
  deepEqual([opened, refused], [0, 0]);
});

Deno.test("DirectLinks end when the server goes, and what waits is left to others", async () => {
  await using scene = await Scene.open();
  const [alice, bob] = [await scene.peer("alice"), await scene.peer("bob")];
  await alice.send(bob, "one");
  await scene.delivered();
  await scene.server.links.close();
  await scene.until(() => alice.path(bob) === "mailbox");
  await alice.send(bob, "two");
  equal(alice.world.outbox.entries(bob.peerId).length, 1);
});

Deno.test("DirectLinks believe the handshake, not the server, about who opens a link", async () => {
  await using scene = await Scene.open();
  const alice = await scene.peer("alice");
  const { socket } = await scene.lyingServer(alice, identityFor("carol").peerId);
  const bob = contextFor("bob", scene.time);
  const link = await initiateLink(socket, bob, { expectedPeer: alice.peerId });
  equal(await new LinkRecorder(link).end(), "protocol-error");
  deepEqual(alice.paths, []);
});

Deno.test("DirectLinks refuse a peer that is not wanted", async () => {
  await using scene = await Scene.open();
  const alice = await scene.peer("alice");
  alice.world.inbox.accepts = () => false;
  const { socket } = await scene.lyingServer(alice, identityFor("bob").peerId);
  const bob = contextFor("bob", scene.time);
  await rejects(initiateLink(socket, bob, { expectedPeer: alice.peerId }));
  equal(socket.refusal, "refused");
});

/** A server with a hub, and peers that have nothing but their links to it. */
class Scene implements AsyncDisposable {
  readonly #peers: Peer[] = [];

  private constructor(readonly server: ServerScene) {}

  static async open(hub: { roster?: boolean } = {}): Promise<Scene> {
    const server = await ServerScene.open({ hub });
    await server.know("alice", "bob");
    return new Scene(server);
  }

  get time(): FakeTime {
    return this.server.time;
  }

  async peer(label: string, options: { online?: boolean } = {}): Promise<Peer> {
    const peer = new Peer(await PeerWorld.open(label, this.time), this.server);
    this.#peers.push(peer);
    if (options.online !== false) await peer.online();
    await this.pass(1_000);
    return peer;
  }

  /** A server of Alice's that opens a link to her in the name of `claimed`. */
  async lyingServer({ links, world }: Peer, claimed: PeerId) {
    const capabilities = ["relay"];
    const pair = await linkPair(
      contextFor(world.label, this.time, { capabilities }),
      contextFor("liar", this.time, { capabilities }),
    );
    for (const link of [pair.near, pair.far]) link.trustRemote();
    links.serverUp(pair.near);
    pair.near.onEnvelope = ({ type, payload }) => void links.receive(pair.near, type, payload);
    const relay = new RelayedLinks(pair.far, this.time, () => {});
    pair.far.onEnvelope = ({ type, payload }) => void relay.receive(type, payload);
    return { socket: relay.open(claimed) };
  }

  async pass(milliseconds: number): Promise<void> {
    await this.time.elapse(milliseconds);
    await this.settle();
  }

  /** Some turns for everyone: enough for what happens in memory alone. */
  async settle(): Promise<void> {
    await this.server.settle();
    for (const { world } of this.#peers) await settle(world);
  }

  async until(condition: () => boolean): Promise<void> {
    await untilHolds(condition, () => String(condition), () => this.settle());
  }

  /** Until nobody lacks a receipt. */
  async delivered(): Promise<void> {
    await this.until(() =>
      this.#peers.every(({ world }) => world.outbox.recipients().length === 0)
    );
    await this.settle();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { links } of this.#peers) await links.close();
    for (const { world } of this.#peers) await world[Symbol.asyncDispose]();
    await this.server[Symbol.asyncDispose]();
  }
}

class Peer {
  readonly roster = new RosterView(() => {});
  readonly links: DirectLinks;
  readonly paths: string[] = [];
  readonly transient: string[] = [];

  constructor(readonly world: PeerWorld, private readonly server: ServerScene) {
    this.links = new DirectLinks({
      ...world,
      host: server.time,
      context: contextFor(world.label, server.time, { capabilities: ["receive", "transient"] }),
      roster: this.roster,
      accepts: (peer) => world.inbox.accepts(peer),
      onPath: (_peer, path) => this.paths.push(path),
      onTransient: ({ from, data }) => {
        equal(from.equals(this.peerId), false);
        this.transient.push(fromUtf8(data));
        return Promise.resolve(true);
      },
    });
  }

  get peerId(): PeerId {
    return this.world.peerId;
  }

  /** Its link to the server comes up. */
  async online(): Promise<void> {
    const { recorder } = await this.server.link(this.world.label, { capabilities: HUB });
    const { link } = recorder;
    link.onClose = () => this.links.serverDown(link);
    this.links.serverUp(link);
    link.onEnvelope = ({ type, payload }) => this.#receive(link, type, payload);
  }

  async send(to: Peer, text: string): Promise<void> {
    await this.world.outbox.enqueue(to.peerId, "", utf8(text));
    this.links.want(to.peerId);
  }

  path(to: Peer): string {
    return this.links.path(to.peerId);
  }

  #receive(link: LinkConnection, type: number, payload: Uint8Array): void {
    if (type === MessageType.Roster) this.roster.take(link.remote, decodeRoster(payload));
    else if (type === MessageType.RosterChange) {
      this.roster.change(link.remote, decodeRosterChange(payload).rows);
    } else this.links.receive(link, type, payload);
  }
}
