/* Pairing with the library: a server and peers in one program, which meet through signaling. */

import { deepEqual, equal, rejects } from "node:assert/strict";
import { CairnError, createServer, Node, type PairingEvent } from "../../src/mod.ts";
import { within } from "../support/deadline.ts";
import { untilHolds } from "../support/rested.ts";
import { startedSignal } from "../support/started_signal.ts";

Deno.test("The library pairs by PIN, by link and on request, and unpairs from either side", async () => {
  await using home = await Home.open();
  const { server } = home;
  const events: PairingEvent[] = [];
  server.pairing.subscribe((event) => events.push(event));

  const [alice, bob, carol] = await Promise.all(["alice", "bob", "carol"].map((name) => {
    return home.peer(name);
  }));
  if (!alice || !bob || !carol) throw new Error("There are three");
  await Promise.all([
    alice.pairWithPin(server.pairing.createPin().pin),
    bob.pairWithLink(server.pairing.createLink().uri),
    carol.askToPair(server.peerId, (sas) => {
      const request = server.pairing.requests().find(({ peerId }) => peerId.equals(carol.peerId));
      // The request comes after the digits are known here; the operator looks at both.
      if (request) equal(request.sas, sas);
      void home.approveWhenAsked(carol);
    }),
  ]);
  deepEqual(
    [alice, bob, carol].map((peer) => peer.pairings().map(({ mechanism }) => mechanism)),
    [["pin"], ["link"], ["approved"]],
  );
  deepEqual(server.pairing.offers().map(({ state }) => state), ["paired", "paired"]);

  const lost = new Promise((resolve) => alice.on("peerLost", resolve));
  equal(await server.pairing.unpair(alice.peerId), true);
  await within(home.deadline, lost, () => "the end of the link");
  // The end of the link is told before the end of the pairing is on disk.
  await untilHolds(() => alice.pairings().length === 0, () => "the end of the pairing");
  equal(await bob.unpair(server.peerId), true, "the server was told");
  equal(await server.pairing.unpair(bob.peerId), false, "and has forgotten the peer");
  await rejects(bob.unpair(server.peerId), CairnError);
  deepEqual(
    events.filter(({ kind }) => kind === "unpaired").map((event) => "by" in event && event.by),
    ["operator", "peer"],
  );
});

Deno.test("The library finds the server of a link through the signaling server that it names", async () => {
  await using home = await Home.open();
  const node = await home.peer("stranger", []);
  await node.pairWithLink(home.server.pairing.createLink().uri);
  equal(node.pairings()[0]?.connected, true);
  await rejects(node.pairWithPin("not a PIN"), CairnError);
  await rejects(node.pairWithLink("cairn://pair?pid=nobody"), CairnError);
});

class Home implements AsyncDisposable {
  readonly deadline = AbortSignal.timeout(180_000);
  readonly #stack = new AsyncDisposableStack();

  private constructor(
    readonly folder: string,
    readonly signal: Awaited<ReturnType<typeof startedSignal>>,
    readonly server: ReturnType<typeof createServer>,
  ) {}

  static async open(): Promise<Home> {
    const folder = await Deno.makeTempDir({ prefix: "cairn-library-" });
    const signal = await startedSignal({ drainTime: 0 });
    const server = createServer({
      storagePath: `${folder}/server`,
      listenAddr: "127.0.0.1:0",
      management: { enabled: false },
      signalServers: [`ws://127.0.0.1:${signal.port}`],
    });
    const home = new Home(folder, signal, server);
    home.#stack.defer(() => Deno.remove(folder, { recursive: true }));
    home.#stack.use(signal);
    home.#stack.defer(() => server.close());
    await server.start();
    return home;
  }

  async peer(
    name: string,
    signalServers = [`ws://127.0.0.1:${this.signal.port}`],
  ): Promise<Node> {
    const node = await Node.create({ storagePath: `${this.folder}/${name}`, signalServers });
    this.#stack.defer(() => node.close());
    await node.start();
    return node;
  }

  /** Does what an operator does that sees the request. */
  async approveWhenAsked({ peerId }: Node): Promise<void> {
    const { pairing } = this.server;
    const asked = Promise.withResolvers<void>();
    const look = () => {
      if (pairing.requests().some((request) => request.peerId.equals(peerId))) asked.resolve();
    };
    const end = pairing.subscribe(look);
    look();
    await within(this.deadline, asked.promise, () => "the request");
    end();
    await pairing.approve(peerId);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
