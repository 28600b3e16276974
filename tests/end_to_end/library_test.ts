import { deepEqual, equal, rejects } from "node:assert/strict";
import { fromUtf8, utf8 } from "../../src/base/bytes.ts";
import {
  CairnError,
  createServer,
  Node,
  type PeerId,
  type ReceivedMessage,
} from "../../src/mod.ts";
import { startSignal } from "../../src/roles/signal/run_signal.ts";
import { eventually } from "./bad_input_scene.ts";

const PSK = "correct horse battery staple";

Deno.test("A message to a peer that is away waits in the server's mailbox and reaches it", async () => {
  await using home = await Home.open();
  const alice = await home.peer("alice");
  const bob = await home.peer("bob");
  await bob.pairWithPsk(PSK, home.server.peerId);
  const bobId = bob.peerId;
  await bob.close();
  await alice.pairWithPsk(PSK, home.server.peerId);

  const session = await alice.connect(bobId);
  const sent = await session.send("chat", "are you there?");
  await sent.accepted;
  await alice.close();

  const back = await home.peer("bob");
  const [message] = await receive(back, 1);
  equal(message?.id, sent.id);
  equal(message?.channel, "chat");
  equal(message?.from.toString(), alice.peerId.toString());
  equal(fromUtf8(message?.data ?? new Uint8Array(0)), "are you there?");
});

Deno.test("Peers that are both there talk both ways, in order, large and small", async () => {
  await using home = await Home.open();
  const [alice, bob] = [await home.peer("alice"), await home.peer("bob")];
  await alice.pairWithPsk(PSK, home.server.peerId);
  await bob.pairWithPsk(PSK, home.server.peerId);
  const toBob = Array.from({ length: 40 }, (_, index) => numbered(index, index % 10 === 0));
  const toAlice = Array.from({ length: 40 }, (_, index) => numbered(100 + index, false));
  const atBob = receive(bob, toBob.length);
  const atAlice = receive(alice, toAlice.length);
  for (const [index, data] of toBob.entries()) {
    await alice.send(bob.peerId, "", data);
    await bob.send(alice.peerId, "", toAlice[index]!);
  }
  deepEqual((await atBob).map(({ data }) => data), toBob);
  deepEqual((await atAlice).map(({ data }) => data), toAlice);
});

Deno.test("Text is sent as UTF-8, and what is neither text nor bytes is refused", async () => {
  await using home = await Home.open();
  const [alice, bob] = [await home.peer("alice"), await home.peer("bob")];
  await alice.pairWithPsk(PSK, home.server.peerId);
  await bob.pairWithPsk(PSK, home.server.peerId);
  // As a page without types may do.
  const untyped: unknown = new ArrayBuffer(4);
  const send = (data: unknown): Promise<unknown> =>
    Reflect.apply(alice.send, alice, [bob.peerId, "", data]);
  await rejects(send(untyped), TypeError);
  await rejects(send(undefined), TypeError);
  await alice.send(bob.peerId, "", "grüß dich");
  await alice.broadcast("", "euch auch", { to: [bob.peerId] });
  const received = await receive(bob, 2);
  deepEqual(received.map(({ data }) => fromUtf8(data)), ["grüß dich", "euch auch"]);
});

Deno.test("The sender learns that its message was delivered", async () => {
  await using home = await Home.open();
  const [alice, bob] = [await home.peer("alice"), await home.peer("bob")];
  await alice.pairWithPsk(PSK, home.server.peerId);
  await bob.pairWithPsk(PSK, home.server.peerId);
  const delivered = new Promise<string>((resolve) => {
    alice.on("delivered", ({ id }) => resolve(id));
  });
  const sent = await alice.send(bob.peerId, "", utf8("x"));
  equal(await delivered, sent.id);
});

Deno.test("A wrong key is refused on both sides, and the right one works afterwards", async () => {
  await using home = await Home.open();
  const alice = await home.peer("alice");
  await rejects(
    alice.pairWithPsk("not the key of this server", home.server.peerId),
    hasCode("pairing-failed"),
  );
  deepEqual(alice.pairings(), []);
  await rejects(alice.pairWithPsk("short", home.server.peerId), hasCode("invalid-option"));
});

Deno.test("An approved peer pairs without a key, another one is told what is missing", async () => {
  const away = await Home.open();
  const aliceId = (await away.peer("alice")).peerId;
  await away.close({ keepFolder: true });
  await using home = await Home.open({ folder: away.folder, approvedPeers: [aliceId.toString()] });
  const alice = await home.peer("alice");
  await alice.pairApproved(home.server.peerId);
  equal(alice.pairings()[0]?.mechanism, "approved");
  const bob = await home.peer("bob");
  await rejects(bob.pairApproved(home.server.peerId), hasCode("pairing-failed"));
});

Deno.test("A message to a peer that the server does not know is refused", async () => {
  await using home = await Home.open();
  const [alice, bob] = [await home.peer("alice"), await home.peer("bob")];
  await rejects(alice.send(bob.peerId, "", utf8("x")), hasCode("not-paired"));
  await alice.pairWithPsk(PSK, home.server.peerId);
  const sent = await alice.send(bob.peerId, "", utf8("x"));
  await rejects(sent.accepted, hasCode("refused"));
});

Deno.test("Unpairing tells the server, and a new pairing starts over", async () => {
  await using home = await Home.open();
  const alice = await home.peer("alice");
  await alice.pairWithPsk(PSK, home.server.peerId);
  await alice.unpair(home.server.peerId);
  deepEqual(alice.pairings(), []);
  await alice.pairWithPsk(PSK, home.server.peerId);
  equal(alice.pairings().length, 1);
});

Deno.test("A peer that paired by an address finds the server without signaling", async () => {
  await using home = await Home.open();
  const serverUrl = `ws://127.0.0.1:${home.server.addresses.links.port}`;
  const alice = await home.peer("alice", { serverUrl, signalServers: [] });
  await alice.pairWithPsk(PSK, home.server.peerId);
  await alice.close();
  const back = await home.peer("alice", { signalServers: [] });
  await back.connect(alice.peerId);
});

Deno.test("Links are accepted on the management port too", async () => {
  await using home = await Home.open();
  const serverUrl = `ws://127.0.0.1:${home.server.addresses.management?.port}/link`;
  const alice = await home.peer("alice", { serverUrl, signalServers: [] });
  await alice.pairWithPsk(PSK, home.server.peerId);
});

Deno.test("Messages keep the order in which they were sent, also when none is awaited", async () => {
  await using home = await Home.open();
  const [alice, bob] = [await home.peer("alice"), await home.peer("bob")];
  await alice.pairWithPsk(PSK, home.server.peerId);
  await bob.pairWithPsk(PSK, home.server.peerId);
  const received = receive(bob, 3);
  const sizes = [900_000, 10, 11];
  await Promise.all(sizes.map((size) => alice.send(bob.peerId, "", new Uint8Array(size))));
  deepEqual((await received).map(({ data }) => data.length), sizes);
});

Deno.test("A server that does not know the recipient leaves the message to one that does", async () => {
  await using here = await Home.open();
  await using there = await Home.open();
  const signalServers = [here.signalUrl, there.signalUrl];
  const alice = await here.peer("alice", { signalServers });
  const bob = await there.peer("bob");
  await alice.pairWithPsk(PSK, here.server.peerId);
  await alice.pairWithPsk(PSK, there.server.peerId);
  await bob.pairWithPsk(PSK, there.server.peerId);
  const received = receive(bob, 10);
  const sent = await Promise.all(
    Array.from({ length: 10 }, (_, index) => alice.send(bob.peerId, "", numbered(index, false))),
  );
  await Promise.all(sent.map(({ accepted }) => accepted));
  deepEqual((await received).map(({ id }) => id), sent.map(({ id }) => id));
});

Deno.test("A node can be closed by the handler of a message, which is not shown again", async () => {
  await using home = await Home.open();
  const [alice, bob] = [await home.peer("alice"), await home.peer("bob")];
  await alice.pairWithPsk(PSK, home.server.peerId);
  await bob.pairWithPsk(PSK, home.server.peerId);
  const closed = new Promise<void>((resolve) => {
    bob.on("message", () => bob.close().then(resolve));
  });
  await (await alice.send(bob.peerId, "", utf8("the last one"))).accepted;
  await closed;
  await bob.close();
  const back = await home.peer("bob");
  const received = receive(back, 1);
  await alice.send(bob.peerId, "", utf8("one more"));
  equal(fromUtf8((await received)[0]?.data ?? new Uint8Array(0)), "one more");
});

Deno.test("Starting twice is starting once, and what waits ends when the node is closed", async () => {
  await using home = await Home.open();
  const alice = await home.peer("alice");
  await alice.start();
  await alice.pairWithPsk(PSK, home.server.peerId);
  await home.server.close();
  const waiting = rejects(alice.send(alice.peerId, "", utf8("x")), hasCode("refused"));
  await alice.close();
  await waiting;
  await rejects(alice.connect(home.serverId), hasCode("closed"));
});

Deno.test("A peer whose server has forgotten it is told to pair again", async () => {
  await using home = await Home.open();
  const alice = await home.peer("alice");
  await alice.pairWithPsk(PSK, home.server.peerId);
  await alice.close();
  await home.forgetPeers();
  const serverUrl = `ws://127.0.0.1:${home.server.addresses.links.port}`;
  const back = await home.peer("alice", { serverUrl });
  const isTold = () => Promise.resolve(hasCode("not-paired")(back.lastFailure));
  await eventually(AbortSignal.timeout(120_000), isTold, Boolean);
  await rejects(back.connect(home.serverId, 1), hasCode("not-paired"));
});

Deno.test("Two processes do not share a data folder", async () => {
  await using home = await Home.open();
  await home.peer("alice");
  await rejects(home.peer("alice"), hasCode("data-folder-in-use"));
});

/** A signaling server, an always-on server and peers of one temporary folder. */
class Home implements AsyncDisposable {
  readonly #closers: (() => Promise<void>)[] = [];

  private constructor(
    readonly folder: string,
    readonly signalUrl: string,
    readonly server: ReturnType<typeof createServer>,
    readonly serverId: PeerId,
  ) {}

  static async open(
    options: { folder?: string; approvedPeers?: readonly string[] } = {},
  ): Promise<Home> {
    const folder = options.folder ?? await Deno.makeTempDir({ prefix: "cairn-test-" });
    const signal = await startSignal({ listenAddr: "127.0.0.1:0", authTokens: [] });
    const signalUrl = `ws://127.0.0.1:${signal.address.port}`;
    const server = createServer({
      storagePath: `${folder}/server`,
      listenAddr: "127.0.0.1:0",
      management: { port: 0 },
      psk: PSK,
      signalServers: [signalUrl],
      ...(options.approvedPeers && { approvedPeers: options.approvedPeers }),
    });
    await server.start();
    const home = new Home(folder, signalUrl, server, server.peerId);
    home.#closers.push(() => signal.close(), () => server.close());
    return home;
  }

  async peer(
    name: string,
    options: { serverUrl?: string; signalServers?: readonly string[] } = {},
  ): Promise<Node> {
    const node = await Node.create({
      storagePath: `${this.folder}/${name}`,
      signalServers: [this.signalUrl],
      ...options,
    });
    this.#closers.push(() => node.close());
    await node.start();
    return node;
  }

  /** Restarts the server without its pairings. */
  async forgetPeers(): Promise<void> {
    await this.server.close();
    const kv = await Deno.openKv(`${this.folder}/server/cairn.kv`);
    for await (const { key } of kv.list({ prefix: ["pairing"] })) await kv.delete(key);
    kv.close();
    await this.server.start();
  }

  async close(options: { keepFolder?: boolean } = {}): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close();
    if (!options.keepFolder) await Deno.remove(this.folder, { recursive: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function receive(node: Node, count: number): Promise<ReceivedMessage[]> {
  const received: ReceivedMessage[] = [];
  return new Promise((resolve) => {
    node.on("message", (message) => {
      received.push(message);
      if (received.length === count) resolve(received);
    });
  });
}

function numbered(index: number, large: boolean): Uint8Array {
  const data = new Uint8Array(large ? 200_000 : 32).fill(index);
  return data;
}

function hasCode(code: string) {
  return (error: unknown) => error instanceof CairnError && error.code === code;
}
