import { deepEqual, equal, rejects } from "node:assert/strict";
import { fromUtf8, utf8 } from "../../src/base/bytes.ts";
import { createServer, Node, type NodeOptions } from "../../src/mod.ts";
import { within } from "../support/deadline.ts";

const PSK = "correct horse battery staple";

Deno.test("A broadcast reaches every contact, and no stranger", async () => {
  await using home = await Home.open();
  const [laptop, phone, desktop, stranger] = await home.peers(
    "laptop",
    "phone",
    "desktop",
    "guest",
  );
  await laptop.addContact(phone.peerId);
  await laptop.addContact(desktop.peerId);
  const arrived = [phone, desktop].map((node) => next(node));
  stranger.on("message", () => {
    throw new Error("A stranger got a broadcast");
  });
  const sent = await laptop.broadcast("notes", utf8("milk"));
  deepEqual(
    sent.map(({ to }) => `${to}`).sort(),
    [phone.peerId, desktop.peerId].map(String).sort(),
  );
  for (const message of await soon(Promise.all(arrived), "the broadcast")) {
    deepEqual([message.channel, message.text], ["notes", "milk"]);
    equal(sent.some(({ id }) => id === message.id), true);
  }
  await soon(Promise.all(sent.map(({ accepted }) => accepted)), "the acceptance");
});

Deno.test("A broadcast to somebody named goes to these alone, and to nobody is nothing", async () => {
  await using home = await Home.open();
  const [laptop, phone] = await home.peers("laptop", "phone");
  deepEqual(await laptop.broadcast("", utf8("x")), []);
  const arrived = next(phone);
  const sent = await laptop.broadcast("", utf8("y"), { to: [phone.peerId, `${phone.peerId}`] });
  equal(sent.length, 1);
  equal((await soon(arrived, "the broadcast")).text, "y");
  await rejects(laptop.broadcast("", utf8("z"), { to: [laptop.peerId] }), { code: "refused" });
});

function soon<T>(promise: Promise<T>, what: string): Promise<T> {
  return within(AbortSignal.timeout(60_000), promise, () => what);
}

function next(node: Node): Promise<{ id: string; channel: string; text: string }> {
  return new Promise((resolve) => {
    const remove = node.on("message", ({ id, channel, data }) => {
      remove();
      resolve({ id, channel, text: fromUtf8(data) });
    });
  });
}

class Home implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();

  private constructor(
    readonly folder: string,
    readonly server: ReturnType<typeof createServer>,
  ) {}

  static async open(): Promise<Home> {
    const folder = await Deno.makeTempDir({ prefix: "cairn-test-" });
    const server = createServer({
      storagePath: `${folder}/server`,
      listenAddr: "127.0.0.1:0",
      management: { enabled: false },
      psk: PSK,
    });
    await server.start();
    const home = new Home(folder, server);
    home.#stack.defer(() => Deno.remove(folder, { recursive: true }));
    home.#stack.defer(() => server.close());
    return home;
  }

  peers<const Names extends readonly string[]>(
    ...names: Names
  ): Promise<{ -readonly [Index in keyof Names]: Node }>;
  async peers(...names: string[]): Promise<Node[]> {
    return await Promise.all(names.map((name) => this.peer(name)));
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
