import assert from "node:assert/strict";
import { systemHost } from "../../src/base/host.ts";
import { decodeSignalFrame } from "../../src/protocol/signal/signal_frame.ts";
import type { SealedMessage } from "../../src/protocol/rendezvous/sealed_message.ts";
import { rendezvousTopics } from "../../src/protocol/rendezvous/topics.ts";
import { rankClients } from "../../src/roles/ranked_clients.ts";
import { SealedRendezvous } from "../../src/roles/sealed_rendezvous.ts";
import { SignalClient } from "../../src/roles/signal_client.ts";
import { bytesFor, identityFor } from "../support/identities.ts";
import { startedSignal } from "../support/started_signal.ts";

const NOW = 1_700_000_000_000;
const SECRET = bytesFor("pairing secret");
const [TOPIC = ""] = rendezvousTopics(SECRET, NOW / 1000);
const host = { ...systemHost, now: () => NOW };
const CANDIDATES = [{ type: "ws", value: "ws://192.0.2.1:9091" }];

Deno.test("an offer goes to the best ranked server alone, the next to the next, then a new round", async () => {
  await using scene = await setScene();
  const [best, next] = scene.ranked;
  const offers: SealedMessage[] = [];
  scene.acceptor.onMessage = (message) => offers.push(message);
  scene.initiator.offer();
  await best.witness.next();
  await next.witness.hasNothing();
  scene.initiator.offer();
  await next.witness.next();
  await best.witness.hasNothing();
  await scene.settled();
  assert.equal(offers.length, 1, "the same offer, from two servers");
  scene.initiator.offer();
  await best.witness.next();
  await next.witness.hasNothing();
  await scene.settled();
  assert.equal(offers.length, 2, "a new round is a new offer");
  assert.notDeepEqual(offers[0]?.id, offers[1]?.id);
});

Deno.test("an answer comes through every server, and counts once", async () => {
  await using scene = await setScene();
  const answers: SealedMessage[] = [];
  scene.initiator.onMessage = (message) => answers.push(message);
  scene.acceptor.onMessage = ({ id }) => {
    scene.acceptor.send({ id, kind: "answer", candidates: CANDIDATES });
  };
  scene.initiator.offer();
  const [best, next] = scene.ranked;
  await best.witness.next();
  await best.witness.next();
  await next.witness.next();
  await scene.settled();
  assert.deepEqual(answers.map(({ kind, candidates }) => [kind, candidates]), [
    ["answer", CANDIDATES],
  ]);
});

Deno.test("when the best ranked server is killed, both sides go on over the other", async () => {
  await using scene = await setScene();
  const [best, next] = scene.ranked;
  const { promise: answered, resolve } = Promise.withResolvers<void>();
  scene.initiator.onMessage = () => resolve();
  scene.acceptor.onMessage = ({ id }) => {
    scene.acceptor.send({ id, kind: "answer", candidates: CANDIDATES });
  };
  await best.kill();
  scene.initiator.offer();
  await next.witness.next();
  await answered;
});

/** Two servers, and two paired peers that are on both. */
async function setScene() {
  const servers = [await startedSignal(), await startedSignal()];
  const witnesses = await Promise.all(servers.map((server) => server.client()));
  for (const witness of witnesses) await witness.subscribe(TOPIC);
  const connect = async () => {
    const clients = servers.map(({ port }) =>
      new SignalClient({ url: `ws://127.0.0.1:${port}`, host })
    );
    for (const client of clients) client.start();
    const { signal } = new AbortController();
    await Promise.all(clients.map((client) => client.whenConnected(signal)));
    return clients;
  };
  const ann = await connect();
  const bob = await connect();
  const initiator = peer("ann", "bob", ann);
  const acceptor = peer("bob", "ann", bob);
  const settled = async () => {
    // What comes through the same connections after all else: a relay on a topic of its own.
    for (const clients of [ann, bob]) {
      for (const [i, client] of clients.entries()) {
        const echo = Promise.withResolvers<void>();
        const leave = client.subscribe("settled", () => echo.resolve());
        const other = (clients === ann ? bob : ann)[i];
        assert.ok(other);
        const leaveOther = other.subscribe("settled", () => {});
        await roundTrip(client, witnesses[i]!);
        other.relay("settled", new Uint8Array(1));
        await echo.promise;
        leave();
        leaveOther();
      }
    }
  };
  await settled();
  const ranked = rankClients(ann, TOPIC).map((client) => {
    const i = ann.indexOf(client);
    const [server, witness] = [servers[i], witnesses[i]];
    assert.ok(server && witness);
    return {
      witness,
      async kill() {
        const lost = [client, bob[i]].map((each) =>
          new Promise<void>((resolve) => each!.onStateChange = () => resolve())
        );
        await server.close();
        await Promise.all(lost);
      },
    };
  });
  const [best, next] = ranked;
  assert.ok(best && next);
  return {
    initiator,
    acceptor,
    ranked: [best, next] as const,
    settled,
    async [Symbol.asyncDispose]() {
      initiator.close();
      acceptor.close();
      await Promise.all([...ann, ...bob].map((client) => client.close()));
      for (const server of servers) await server[Symbol.asyncDispose]();
    },
  };
}

/** Resolves when the server has handled all that `client` sent. */
async function roundTrip(
  client: SignalClient,
  witness: Awaited<ReturnType<Awaited<ReturnType<typeof startedSignal>>["client"]>>,
): Promise<void> {
  await witness.subscribe("witness");
  client.relay("witness", new Uint8Array(1));
  for (;;) {
    const frame = decodeSignalFrame(await witness.next());
    if (frame.topic === "witness") return;
  }
}

function peer(name: string, remote: string, clients: readonly SignalClient[]) {
  const handlers = { onMessage: (_message: SealedMessage) => {} };
  const meeting = new SealedRendezvous({
    self: identityFor(name).peerId,
    meeting: { remote: identityFor(remote).peerId, secrets: [SECRET] },
    clients,
    host,
    onMessage: (message) => handlers.onMessage(message),
  });
  return Object.assign(handlers, {
    offer: () => meeting.offer(),
    send: (message: Parameters<typeof meeting.send>[0]) => meeting.send(message),
    close: () => meeting.close(),
  });
}
