import { deepEqual, equal, rejects } from "node:assert/strict";
import { fromUtf8, utf8 } from "../../../src/base/bytes.ts";
import { CairnError } from "../../../src/base/errors.ts";
import type { PeerId } from "../../../src/protocol/crypto/peer_id.ts";
import { type CommandedNode, Handover } from "../../../src/roles/peer/handover.ts";
import type { PairingWay } from "../../../src/roles/peer/pairing_way.ts";
import { RemoteNode } from "../../../src/roles/peer/remote_node.ts";
import { LineReader, writeLine } from "../../../src/roles/peer/json_lines.ts";
import { identityFor } from "../../support/identities.ts";

const [alice, bob] = [identityFor("alice").peerId, identityFor("bob").peerId];

/** A node that does what the test says. */
class FakeNode implements CommandedNode {
  readonly peerId = alice;
  readonly calls: string[] = [];
  readonly accepting: PromiseWithResolvers<void>[] = [];
  /** The pairing that waits for an operator. */
  readonly asking = Promise.withResolvers<
    { onSas?: (sas: string) => void; signal?: AbortSignal }
  >();
  readonly approval = Promise.withResolvers<PeerId>();
  refuse: CairnError | undefined;

  send(recipient: PeerId | string, channel: string, data: Uint8Array) {
    if (this.refuse) return Promise.reject(this.refuse);
    this.calls.push(`send ${recipient} ${channel} ${fromUtf8(data.subarray(0, 20))}`);
    const fate = Promise.withResolvers<void>();
    fate.promise.catch(() => {});
    this.accepting.push(fate);
    return Promise.resolve({ id: `id ${this.calls.length}`, accepted: fate.promise });
  }

  pairings() {
    return [{ peerId: bob, mechanism: "psk", pairedAt: 1_000, connected: true }];
  }

  async pair(
    way: PairingWay,
    options: { onSas?: (sas: string) => void; signal?: AbortSignal } = {},
  ) {
    if (way.by !== "ask") return await this.#note(`pair ${JSON.stringify(way)}`, bob);
    this.asking.resolve(options);
    return await this.approval.promise;
  }

  async unpair(server: PeerId | string) {
    await this.#note("unpair", server);
    return true;
  }

  #note(call: string, server: PeerId | string): Promise<PeerId> {
    if (this.refuse) return Promise.reject(this.refuse);
    this.calls.push(`${call} ${server}`);
    return Promise.resolve(bob);
  }
}

/** A data folder whose owner takes commands. */
class Scene implements AsyncDisposable {
  readonly node = new FakeNode();
  readonly #stack = new AsyncDisposableStack();

  private constructor(readonly root: string, readonly folder: string) {
    this.#stack.defer(() => Deno.remove(root, { recursive: true }));
  }

  static async open(...names: string[]): Promise<Scene> {
    const root = await Deno.makeTempDir({ prefix: "cairn-test-" });
    const folder = [root, ...names].join("/");
    await Deno.mkdir(folder, { recursive: true });
    const scene = new Scene(root, folder);
    await scene.handover();
    return scene;
  }

  async handover(): Promise<Handover> {
    const handover = await Handover.open(this.folder, this.node);
    this.#stack.defer(() => handover.close().catch(() => {}));
    return handover;
  }

  async command(): Promise<RemoteNode> {
    const remote = await RemoteNode.connect(this.folder);
    if (!remote) throw new Error("The owner takes no commands");
    this.#stack.defer(() => remote.close());
    return remote;
  }

  /** A connection on which a test says what it likes. */
  async raw(): Promise<Deno.UnixConn> {
    const path = `${this.folder}/peer.sock`;
    const connection = await Deno.connect({ transport: "unix", path });
    this.#stack.defer(() => connection.close());
    return connection;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

Deno.test("Handover passes commands on and brings the answers", async () => {
  await using scene = await Scene.open();
  const remote = await scene.command();
  equal(remote.peerId.toString(), alice.toString());
  deepEqual(await remote.pairings(), scene.node.pairings());
  const way: PairingWay = { by: "psk", psk: "correct horse battery staple", peer: bob.toString() };
  equal((await remote.pair(way)).toString(), bob.toString());
  equal(await remote.unpair(bob), true);
  const sent = await remote.send(bob, "chat", utf8("héllo"));
  equal(sent.id, "id 3");
  scene.node.accepting[0]!.resolve();
  await sent.accepted;
  deepEqual(scene.node.calls, [
    `pair ${JSON.stringify(way)} ${bob}`,
    `unpair ${bob}`,
    `send ${bob} chat héllo`,
  ]);
});

Deno.test("Handover brings the digits of a peer that asks, as often as there are others", async () => {
  await using scene = await Scene.open();
  const remote = await scene.command();
  const shown: string[] = [];
  const both = Promise.withResolvers<void>();
  const asked = remote.pair({ by: "ask", peer: bob.toString() }, {
    onSas: (sas) => shown.push(sas) === 2 && both.resolve(),
  });
  const { onSas } = await scene.node.asking.promise;
  onSas?.("123456");
  onSas?.("654321");
  await both.promise;
  deepEqual(shown, ["123456", "654321"]);
  scene.node.approval.resolve(bob);
  equal((await asked).toString(), bob.toString());
});

Deno.test("Handover gives a request up whose asker has gone", async () => {
  await using scene = await Scene.open();
  const remote = await scene.command();
  const asked = rejects(remote.pair({ by: "ask", peer: bob.toString() }));
  const { signal } = await scene.node.asking.promise;
  const aborted = new Promise((resolve) => signal?.addEventListener("abort", resolve));
  await remote.close();
  await aborted;
  scene.node.approval.reject(new CairnError("timeout", "Given up"));
  await asked;
});

Deno.test("Handover brings errors with their code and sentence", async () => {
  await using scene = await Scene.open();
  const remote = await scene.command();
  const isRefusal = (error: unknown) =>
    error instanceof CairnError && error.code === "refused" && error.message === "Not now";
  scene.node.refuse = new CairnError("refused", "Not now");
  await rejects(remote.send(bob, "", utf8("x")), isRefusal);
  await rejects(remote.pair({ by: "pin", pin: "98AF-XZ2P" }), isRefusal);
  scene.node.refuse = undefined;
  const sent = await remote.send(bob, "", utf8("x"));
  scene.node.accepting[0]!.reject(new CairnError("refused", "Not now"));
  await rejects(sent.accepted, isRefusal);
  scene.node.pairings = () => {
    throw new TypeError("The node stumbled");
  };
  await rejects(remote.pairings(), /The node stumbled/);
  await remote.unpair(bob);
});

Deno.test("Handover keeps commands of one caller apart that are given at once", async () => {
  await using scene = await Scene.open();
  const remote = await scene.command();
  const first = remote.send(bob, "", utf8("1"));
  const second = remote.send(bob, "", utf8("2"));
  const listed = remote.pairings();
  equal((await first).id, "id 1");
  scene.node.accepting[0]!.reject(new CairnError("refused", "Not now"));
  await rejects((await first).accepted, /Not now/);
  equal((await second).id, "id 2");
  scene.node.accepting[1]!.resolve();
  await (await second).accepted;
  equal((await listed).length, 1);
});

Deno.test("Handover serves several callers at once", async () => {
  await using scene = await Scene.open();
  const remotes = await Promise.all([scene.command(), scene.command(), scene.command()]);
  const sent = await remotes[0]!.send(bob, "", utf8("waits"));
  const others = await Promise.all(remotes.slice(1).map((each) => each.send(bob, "", utf8("x"))));
  deepEqual(new Set(others.map(({ id }) => id)), new Set(["id 2", "id 3"]));
  for (const { resolve } of scene.node.accepting) resolve();
  await Promise.all([sent, ...others].map(({ accepted }) => accepted));
});

Deno.test("Handover carries the largest message", async () => {
  await using scene = await Scene.open();
  const remote = await scene.command();
  const data = new Uint8Array(1_032_192).fill(120);
  const sent = await remote.send(bob, "", data);
  equal(sent.id, "id 1");
  scene.node.accepting[0]!.resolve();
  await sent.accepted;
});

for (const names of [["a".repeat(120)], ["日本語".repeat(12), "データ".repeat(12)]]) {
  Deno.test(`Handover works in a folder with a path of ${names.join("/").length} letters`, async () => {
    await using scene = await Scene.open(...names);
    const remote = await scene.command();
    equal((await remote.pairings()).length, 1);
    const pointer = `${scene.folder}/peer.sock.path`;
    const { mode } = await Deno.stat(pointer);
    equal((mode ?? 0) & 0o777, 0o600);
    equal((await Deno.stat(await Deno.readTextFile(pointer))).isSocket, true);
  });
}

Deno.test("Handover leaves no file behind", async () => {
  for (const name of ["short", "long ".repeat(30)]) {
    await using scene = await Scene.open(name);
    const handover = await scene.handover();
    const pointer = await Deno.readTextFile(`${scene.folder}/peer.sock.path`).catch(() =>
      undefined
    );
    await handover.close();
    deepEqual(await Array.fromAsync(Deno.readDir(scene.folder)), []);
    if (pointer !== undefined) await rejects(Deno.stat(pointer), Deno.errors.NotFound);
    equal(await RemoteNode.connect(scene.folder), undefined);
  }
});

Deno.test("Handover takes over the socket that a dead process left", async () => {
  await using scene = await Scene.open();
  const path = `${scene.folder}/peer.sock`;
  const copy = `${scene.folder}/left`;
  await Deno.rename(path, copy);
  await Deno.writeTextFile(path, "not even a socket");
  await scene.handover();
  equal((await (await scene.command()).pairings()).length, 1);
  equal((await Deno.stat(path)).mode! & 0o777, 0o600, "nobody else may use it");
});

Deno.test("Handover survives callers that send garbage or go", async () => {
  await using scene = await Scene.open();
  for (const garbage of ["garbage\n", "null\n", "[]\n", '"text"\n', "\xff\xfe\n", "{"]) {
    const connection = await scene.raw();
    await connection.write(utf8(garbage));
    await connection.closeWrite();
    const answer = await new LineReader(connection, 10_000).next();
    equal(JSON.parse(answer ?? '{"ok":false}').ok, false, garbage);
  }
  const gone = await scene.command();
  await gone.send(bob, "", utf8("x"));
  await gone.close();
  scene.node.accepting[0]!.resolve();
  equal((await (await scene.command()).pairings()).length, 1);
});

Deno.test("Handover answers what it does not understand", async () => {
  await using scene = await Scene.open();
  const connection = await scene.raw();
  const lines = new LineReader(connection, 10_000);
  const ask = async (request: unknown) => {
    await writeLine(connection, request);
    return JSON.parse(await lines.next() ?? "null");
  };
  equal((await ask({ do: "dance" })).code, "invalid-option");
  equal((await ask({ do: "send", peer: "nobody" })).code, "invalid-option");
  equal((await ask({ do: "send", peer: bob, data: "%%" })).ok, false);
  equal((await ask({ do: "id" })).value, alice.toString());
});

Deno.test("LineReader refuses a line that is too long", async () => {
  await using scene = await Scene.open();
  const connection = await scene.raw();
  await writeLine(connection, { do: "list" });
  await rejects(new LineReader(connection, 20).next(), RangeError);
});

Deno.test("RemoteNode says that the owner of the folder has ended", async () => {
  await using scene = await Scene.open();
  const handover = await scene.handover();
  const [waiting, idle] = [await scene.command(), await scene.command()];
  const sent = await waiting.send(bob, "", utf8("x"));
  await handover.close();
  const isEnd = (error: unknown) => error instanceof CairnError && error.code === "closed";
  await rejects(sent.accepted, isEnd);
  await rejects(idle.pairings(), isEnd);
  equal(await RemoteNode.connect(`${scene.root}/no such folder`), undefined);
});

Deno.test("RemoteNode does not talk to something else", async () => {
  await using scene = await Scene.open("elsewhere");
  const path = `${scene.root}/peer.sock`;
  for (const answer of ['{"ok":true,"value":"nobody"}\n', "garbage\n", ""]) {
    const listener = Deno.listen({ transport: "unix", path });
    const serving = listener.accept().then(async (connection) => {
      await connection.write(utf8(answer));
      connection.close();
    });
    const outcome = await RemoteNode.connect(scene.root).catch((error: unknown) => error);
    equal(outcome instanceof RemoteNode, false, answer);
    await serving;
    listener.close();
    await Deno.remove(path).catch(() => {});
  }
});
