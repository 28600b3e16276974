import { fromUtf8, utf8 } from "../../../src/base/bytes.ts";
import type { PeerId } from "../../../src/protocol/crypto/peer_id.ts";
import type { ForwardRequest } from "../../../src/protocol/forward_messages.ts";
import { decodeBody } from "../../../src/protocol/session/message_body.ts";
import type { MailboxChoice } from "../../../src/roles/peer/mailbox_choice.ts";
import type { Taken } from "../../../src/roles/peer/inbox.ts";
import { NodeStore } from "../../../src/roles/peer/node_store.ts";
import { ServerConversation } from "../../../src/roles/peer/server_conversation.ts";
import { FakeTime, turns } from "../../support/fake_time.ts";
import { identityFor } from "../../support/identities.ts";
import { contextFor, type LinkPair, linkPair } from "../../support/link_pair.ts";
import { bundlesOf, FakeMailbox } from "../../support/mailbox_server.ts";
import { PeerWorld } from "../../support/peer_world.ts";

/** A peer on a link to a mailbox. */
export interface Connection {
  readonly conversation: ServerConversation;
  readonly pair: LinkPair;
}

/** Alice writes to Bob through a mailbox that does what the test says. */
export class CourierScene implements AsyncDisposable {
  readonly mailbox = new FakeMailbox();
  /** The servers that Alice is paired with. */
  servers = (): readonly string[] => [this.serverId().toString()];
  /** Whether a link to Bob himself takes the messages to him. */
  servedDirectly = false;
  #connection: Connection | undefined;
  readonly #copies: PeerWorld[] = [];

  private constructor(readonly time: FakeTime, public alice: PeerWorld, readonly bob: PeerWorld) {}

  static async open(): Promise<CourierScene> {
    const time = new FakeTime();
    const [alice, bob] = [await PeerWorld.open("alice", time), await PeerWorld.open("bob", time)];
    const scene = new CourierScene(time, alice, bob);
    scene.mailbox.bundle = bundlesOf(await bob.publish());
    // As if Alice had published to it before.
    scene.mailbox.status = { oneTimePrekeysLeft: 100, signedPrekeyId: await currentKey(alice) };
    return scene;
  }

  /** A new link of Alice's to the mailbox. */
  async connect(): Promise<Connection> {
    await this.disconnect();
    const { servers } = this;
    const isServedDirectly = () => this.servedDirectly;
    const options = { servers, isServedDirectly };
    this.#connection = await connect(this.alice, this.mailbox, this.time, options);
    return this.#connection;
  }

  serverId(): PeerId {
    return identityFor("mailbox").peerId;
  }

  async disconnect(): Promise<void> {
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.pair.cable.cut();
    await connection?.conversation.close();
  }

  /** Alice's process ends, or has died, and another one opens her folder. */
  async restart(): Promise<void> {
    await this.disconnect();
    this.alice = await this.alice.reopen();
  }

  /** Goes on with a copy of Alice's folder from an earlier time. */
  async restore(copy: Deno.Kv): Promise<void> {
    await this.disconnect();
    this.#copies.push(this.alice);
    this.alice = await PeerWorld.open("alice", this.time, copy);
  }

  /** Alice writes to Bob; what it is worth shows in the mailbox. */
  async send(...texts: (string | Uint8Array)[]): Promise<void> {
    for (const text of texts) {
      const data = typeof text === "string" ? utf8(text) : text;
      await this.alice.outbox.enqueue(this.bob.peerId, "", data);
    }
    this.#connection?.conversation.poke(this.bob.peerId);
  }

  /** Texts that Alice still keeps. */
  async kept(): Promise<string[]> {
    const { outbox } = this.alice;
    const entries = outbox.entries(this.bob.peerId);
    return await Promise.all(
      entries.map(async (entry) => fromUtf8(await outbox.read(entry) ?? utf8("damaged"))),
    );
  }

  /** Numbers of the requests that the mailbox heard, in order. */
  numbers(): number[] {
    return this.mailbox.requests.map(({ sequenceNumber }) => sequenceNumber);
  }

  /** What Bob makes of what the mailbox holds, and what he is shown then. */
  async read(
    requests: readonly ForwardRequest[] = this.mailbox.accepted,
  ): Promise<{ taken: Taken[]; texts: string[] }> {
    const taken: Taken[] = [];
    for (const request of requests) {
      taken.push(await this.bob.inbox.take({ ...request, sender: this.alice.peerId }));
    }
    await this.bob.inbox.drained();
    return { taken, texts: await shown(this.bob) };
  }

  /** Lets everything that is under way come to rest. */
  async settle(): Promise<void> {
    await settle(this.alice);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.disconnect();
    for (const world of [this.alice, this.bob, ...this.#copies]) {
      await world[Symbol.asyncDispose]();
    }
    this.time[Symbol.dispose]();
  }
}

export async function connect(
  world: PeerWorld,
  mailbox: FakeMailbox,
  time: FakeTime,
  options: {
    label?: string;
    servers?: () => readonly string[];
    isServedDirectly?: () => boolean;
    mailboxes?: MailboxChoice;
    leftToOthers?: () => void;
    /** What the mailbox declares. */
    capabilities?: string[];
  } = {},
): Promise<Connection> {
  const { label = "mailbox", servers = () => [identityFor(label).peerId.toString()] } = options;
  const pair = await linkPair(
    contextFor(world.label, time, { capabilities: ["receive"] }),
    contextFor(label, time, { capabilities: options.capabilities ?? [] }),
  );
  pair.near.trustRemote();
  const conversation = new ServerConversation(pair.near, {
    ...world,
    host: time,
    servers,
    ...(options.isServedDirectly && { isServedDirectly: options.isServedDirectly }),
    ...(options.mailboxes && { mailboxes: options.mailboxes }),
    ...(options.leftToOthers && { leftToOthers: options.leftToOthers }),
    rolledBack: () => Reflect.apply(NodeStore.prototype.startAfresh, world, []),
    onReady: () => mailbox.heard.add("ready"),
    onSecret: () => Promise.resolve(),
    onRevoked: () => mailbox.heard.add("revoked"),
  });
  mailbox.serve(pair.far);
  return { conversation, pair };
}

export async function settle(world: PeerWorld): Promise<void> {
  for (let round = 0; round < 6; round++) {
    await turns();
    await world.commit.flush();
  }
}

/** What the application of a peer is shown, without acknowledging it. */
export async function shown(world: PeerWorld): Promise<string[]> {
  const texts: string[] = [];
  for (let next = await world.inbox.next(0); next; next = await world.inbox.next(next.arrival)) {
    texts.push(fromUtf8(next.message.data));
  }
  return texts;
}

/** Ids of the sessions in which these were encrypted, without repeats. */
export function sessionsOf(requests: readonly ForwardRequest[]): string[] {
  return [
    ...new Set(requests.map((each) => decodeBody(each.encryptedPayload).sessionId.toHex())),
  ];
}

async function currentKey(world: PeerWorld): Promise<number> {
  await world.publish();
  const [newest] = (await world.records("prekey", "signed")).map(([key]) => Number(key[2])).slice(
    -1,
  );
  return newest ?? 0;
}
