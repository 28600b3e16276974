import { deepEqual, equal } from "node:assert/strict";
import { fromUtf8, utf8 } from "../../src/base/bytes.ts";
import { createServer, Node, type NodeOptions, type ServerOptions } from "../../src/mod.ts";

const PSK = "correct horse battery staple";

Deno.test("Two peers of one server see each other, talk over its relay, and nothing is doubled", async () => {
  await using home = await Home.open();
  const alice = await home.peer("alice");
  const bob = await home.peer("bob");
  await until(alice, "roster", () => alice.roster().some(({ online }) => online));
  const received: string[] = [];
  const all = Promise.withResolvers<void>();
  bob.on("message", ({ data }) => {
    if (received.push(fromUtf8(data)) === 200) all.resolve();
  });
  const relayed = until(alice, "path", () => alice.path(bob.peerId) === "relayed");
  for (let index = 0; index < 100; index++) await alice.send(bob.peerId, "", utf8(`${index}`));
  await relayed;
  const sent = await alice.send(bob.peerId, "", utf8("100"));
  await sent.accepted;
  for (let index = 101; index < 200; index++) await alice.send(bob.peerId, "", utf8(`${index}`));
  await all.promise;
  deepEqual(received, Array.from({ length: 200 }, (_, index) => `${index}`));
  equal(home.server.relayStats()?.activePairs, 1);
});

/** An always-on server and peers of one temporary folder. */
class Home implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();

  private constructor(
    readonly folder: string,
    readonly server: ReturnType<typeof createServer>,
  ) {}

  static async open(options: Partial<ServerOptions> = {}): Promise<Home> {
    const folder = await Deno.makeTempDir({ prefix: "cairn-test-" });
    const server = createServer({
      storagePath: `${folder}/server`,
      listenAddr: "127.0.0.1:0",
      management: { enabled: false },
      psk: PSK,
      ...options,
    });
    await server.start();
    const home = new Home(folder, server);
    home.#stack.defer(() => Deno.remove(folder, { recursive: true }));
    home.#stack.defer(() => server.close());
    return home;
  }

  async peer(name: string, options: Partial<NodeOptions> = {}): Promise<Node> {
    const node = await Node.create({
      storagePath: `${this.folder}/${name}`,
      serverUrl: `ws://127.0.0.1:${this.server.addresses.links.port}`,
      ...options,
    });
    this.#stack.defer(() => node.close());
    await node.start();
    await node.pairWithPsk(PSK, this.server.peerId);
    return node;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

function until(node: Node, event: "roster" | "path", isDone: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    if (isDone()) return resolve();
    const remove = node.on(event, () => {
      if (!isDone()) return;
      remove();
      resolve();
    });
  });
}
