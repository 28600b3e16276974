/** A peer of the mailbox's proof: what it keeps is real, and dies and comes back at any point. */

import { fromUtf8, utf8 } from "../../src/base/bytes.ts";
import type { PeerId } from "../../src/protocol/crypto/peer_id.ts";
import { initiateLink } from "../../src/roles/link_connection.ts";
import { NodeStore } from "../../src/roles/peer/node_store.ts";
import { ServerConversation } from "../../src/roles/peer/server_conversation.ts";
import type { ServerScene } from "../roles/server/links_scene.ts";
import type { FakeTime } from "./fake_time.ts";
import { identityFor } from "./identities.ts";
import { contextFor } from "./link_pair.ts";
import { PeerWorld } from "./peer_world.ts";
import { SocketPair } from "./socket_pair.ts";

/** What a peer's operator knows, whatever its folder forgets. */
export interface Shown {
  readonly from: string;
  readonly text: string;
}

export class ProofPeer {
  readonly id: PeerId;
  /** What the application was shown and has acknowledged, in order. */
  shown: Shown[] = [];
  /** Ends of its own messages, by text. */
  readonly ended = new Map<string, "delivered" | "given up">();
  #world: PeerWorld | undefined;
  #link: { conversation: ServerConversation; cable: SocketPair } | undefined;
  readonly #texts = new Map<string, string>();

  private constructor(
    readonly label: string,
    readonly time: FakeTime,
    readonly tell: (what: string) => void,
  ) {
    this.id = identityFor(label).peerId;
  }

  /** @param tell is told what this peer sees happen. */
  static async open(
    label: string,
    time: FakeTime,
    tell: (what: string) => void,
  ): Promise<ProofPeer> {
    const peer = new ProofPeer(label, time, tell);
    peer.#adopt(await PeerWorld.open(label, time));
    return peer;
  }

  get isLinked(): boolean {
    return this.#link !== undefined;
  }

  get waiting(): number {
    const { outbox } = this.#live;
    return outbox.recipients().reduce((sum, to) => sum + outbox.entries(to).length, 0);
  }

  /** @throws {Crash} when the process died before the message was on disk. */
  async send(to: ProofPeer, text: string, size: number): Promise<void> {
    const data = new Uint8Array(Math.max(size, text.length));
    data.set(utf8(text));
    const entry = await this.#live.outbox.enqueue(to.id, "", data);
    this.#texts.set(entry.id.toHex(), text);
    this.#link?.conversation.poke(to.id);
  }

  /** A new link to the server. */
  async connect(server: ServerScene): Promise<void> {
    await this.disconnect();
    const world = this.#live;
    const cable = new SocketPair();
    const context = contextFor(this.label, this.time, { capabilities: ["receive"] });
    const accepted = server.links.accept(cable.far, this.label);
    const link = await initiateLink(cable.near, context, { expectedPeer: server.peerId });
    await accepted;
    link.trustRemote();
    const conversation = new ServerConversation(link, {
      ...world,
      host: this.time,
      servers: () => [server.peerId.toString()],
      rolledBack: () => startAfresh(world),
      onReady: () => {},
      onSecret: () => Promise.resolve(),
      onRevoked: () => {},
    });
    this.#link = { conversation, cable };
  }

  async disconnect(): Promise<void> {
    const link = this.#link;
    this.#link = undefined;
    link?.cable.cut();
    await link?.conversation.close();
  }

  /** The application takes what it is shown. */
  async take(): Promise<void> {
    const { inbox } = this.#live;
    for (let next = await inbox.next(0); next; next = await inbox.next(next.arrival)) {
      const text = textOf(next.message.data);
      await inbox.acknowledge(next.arrival);
      this.tell(`was shown ${text}`);
      this.shown.push({ from: next.from.toString(), text });
    }
    this.#link?.conversation.roomMade();
  }

  /** The process will not make more than so many commits. */
  dieAfter(commits: number): void {
    this.#live.commit.dieAfter(commits);
  }

  /** The process ends, or has died, and another one opens the folder. */
  async restart(): Promise<void> {
    await this.disconnect();
    this.#adopt(await this.#live.reopen());
  }

  copy(): Promise<Deno.Kv> {
    return this.#live.copy();
  }

  /** Goes on with a copy of an earlier time, which it knows to be one. */
  async restore(copy: Deno.Kv): Promise<void> {
    await this.disconnect();
    await this.#world?.[Symbol.asyncDispose]();
    this.#adopt(await PeerWorld.open(this.label, this.time, copy));
    await startAfresh(this.#live);
  }

  async settle(): Promise<void> {
    await this.#live.commit.flush();
  }

  async close(): Promise<void> {
    await this.disconnect();
    await this.#world?.[Symbol.asyncDispose]();
  }

  get #live(): PeerWorld {
    if (!this.#world) throw new Error("The peer is closed");
    return this.#world;
  }

  #adopt(world: PeerWorld): void {
    this.#world = world;
    const { events } = world.outbox;
    events.delivered = ({ id }) => this.#end(id, "delivered");
    events.refused = ({ id }, error, dropped) => {
      this.tell(`hears: ${error.message}`);
      if (dropped) this.#end(id, "given up");
    };
  }

  #end(id: Uint8Array, how: "delivered" | "given up"): void {
    const text = this.#texts.get(id.toHex());
    // Told once that it failed, nobody waits for it any more.
    if (text !== undefined && !this.ended.has(text)) this.ended.set(text, how);
    this.tell(`hears: ${text} ${how}`);
  }
}

/** What is padded behind the text is nothing. */
function textOf(data: Uint8Array): string {
  const end = data.indexOf(0);
  return fromUtf8(end < 0 ? data : data.subarray(0, end));
}

function startAfresh(world: PeerWorld): Promise<void> {
  return Reflect.apply(NodeStore.prototype.startAfresh, world, []);
}
