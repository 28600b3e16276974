/* Peers that know several signaling servers, which know nothing of one another. */

import assert from "node:assert/strict";
import { createServer, Node } from "../../src/mod.ts";
import { contactTopic } from "../../src/protocol/rendezvous/topics.ts";
import { rankClients } from "../../src/roles/ranked_clients.ts";
import { startSignal } from "../../src/roles/signal/run_signal.ts";

const PSK = "correct horse battery staple";

Deno.test("a peer pairs and links over the second server when the first knows nothing of the other side", async () => {
  await using home = await open();
  // The best ranked one works, but the server does not listen there: no answer ever comes.
  const [best, next] = await home.servers((urls) => [urls[1]!]);
  const alice = await home.peer([best, next]);
  const linked = new Promise((resolve) => alice.on("peerFound", resolve));
  await alice.pairWithPsk(PSK, home.server.peerId);
  await linked;
  assert.equal(alice.pairings().length, 1);
});

Deno.test("when a signaling server dies, both sides meet over the other", async () => {
  await using home = await open();
  const [best, next] = await home.servers((urls) => urls);
  const alice = await home.peer([best, next]);
  await home.kill(best);
  const linked = new Promise((resolve) => alice.on("peerFound", resolve));
  await alice.pairWithPsk(PSK, home.server.peerId);
  await linked;
  assert.equal(alice.pairings().length, 1);
});

/** Two signaling servers, an always-on server and peers of one temporary folder. */
async function open() {
  const folder = await Deno.makeTempDir({ prefix: "cairn-two-" });
  const stack = new AsyncDisposableStack();
  stack.defer(() => Deno.remove(folder, { recursive: true }));
  const signals = new Map<string, Awaited<ReturnType<typeof startSignal>>>();
  for (let i = 0; i < 2; i++) {
    const signal = await startSignal({ listenAddr: "127.0.0.1:0", authTokens: [], drainTime: 0 });
    signals.set(`ws://127.0.0.1:${signal.address.port}`, signal);
    stack.defer(() => signal.close());
  }
  const urls = [...signals.keys()];
  // The identity, and with it the rank, is made at the first start.
  let server = createServer(serverOptions(folder, []));
  await server.start();
  const { peerId } = server;
  await server.close();
  return {
    get server() {
      return server;
    },
    /** Starts the server on some of the signaling servers, which come in the order of their rank. */
    async servers(choose: (ranked: string[]) => string[]): Promise<[best: string, next: string]> {
      const clients = urls.map((url) => ({ url, connected: true }));
      const ranked = rankClients(clients, contactTopic(peerId)).map(({ url }) => url);
      server = createServer(serverOptions(folder, choose(ranked)));
      await server.start();
      stack.defer(() => server.close());
      return [ranked[0]!, ranked[1]!];
    },
    async peer(signalServers: readonly string[]): Promise<Node> {
      const node = await Node.create({ storagePath: `${folder}/alice`, signalServers });
      stack.defer(() => node.close());
      await node.start();
      return node;
    },
    kill: (url: string) => signals.get(url)?.close(),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

function serverOptions(folder: string, signalServers: readonly string[]) {
  return {
    storagePath: `${folder}/server`,
    listenAddr: "127.0.0.1:0",
    management: { enabled: false },
    psk: PSK,
    signalServers,
  };
}
