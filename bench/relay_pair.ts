// deno-lint-ignore-file no-console -- a script speaks to the terminal that started it.
/**
 * Two peers on a direct link, on one that an always-on server relays, and by its mailbox: bytes a
 * second, and the time from sending to having. The server is a process of its own, both peers are
 * in this one, all on loopback.
 *
 * `deno run -A bench/relay_pair.ts`
 */

import { installPrimitives } from "../src/protocol/crypto/primitives.ts";
import { systemHost } from "../src/base/host.ts";
import { Node, type PeerId } from "../src/mod.ts";
import { openDataFolder } from "../src/roles/data_folder.ts";
import { listen } from "../src/roles/http.ts";
import { loadIdentity } from "../src/roles/identity_store.ts";
import {
  acceptLink,
  initiateLink,
  type LinkConnection,
  type LinkContext,
} from "../src/roles/link_connection.ts";
import { LinkKeys } from "../src/roles/link_keys.ts";
import { nativePrimitives } from "../src/roles/native_primitives.ts";
import { RelayedLinks, type RelayedSocket } from "../src/roles/peer/relayed_link.ts";
import { dialLink } from "../src/roles/peer/dial_link.ts";
import type { FrameSocket } from "../src/roles/web_socket.ts";
import { acceptWebSockets } from "../src/roles/web_socket_server.ts";
import { reportLine } from "./measured_times.ts";
import { type MeasuredServer, PSK, startMeasuredServer } from "./support/measured_server.ts";

const DATA = 0x0300;
const ACK = 0x0301;
const ENVELOPE = 60_000;
const WINDOW = 32;
const STREAM_MS = 3_000;
const ROUNDS = 3;
const PINGS = 400;
const NEVER = new AbortController().signal;

interface LinkedPeers {
  readonly near: LinkConnection;
  readonly far: LinkConnection;
}

async function measure(): Promise<void> {
  installPrimitives(nativePrimitives);
  const folder = await Deno.makeTempDir({ prefix: "cairn-bench-" });
  await using stack = new AsyncDisposableStack();
  stack.defer(() => Deno.remove(folder, { recursive: true }));
  const server = stack.use(await startMeasuredServer(`${folder}/server`));
  const [alice, bob] = [
    await context(folder, "alice", server),
    await context(folder, "bob", server),
  ];

  const direct = await directLink(alice, bob, stack);
  const relayed = await relayedLink(alice, bob, server, stack);
  for (const { near, far } of [direct, relayed]) for (const link of [near, far]) link.trustRemote();
  for (let round = 1; round <= ROUNDS; round++) {
    for (const [name, pair] of [["direct", direct], ["relayed", relayed]] as const) {
      const cpuBefore = await server.cpuMs();
      const rate = await throughput(pair);
      const cpu = (await server.cpuMs() - cpuBefore) / STREAM_MS;
      console.log(
        `round ${round}, ${name.padEnd(8)} ${(rate / 1e6).toFixed(1).padStart(7)} MB/s` +
          `, server ${Math.round(cpu * 100)} % of a core`,
      );
    }
  }
  for (let round = 1; round <= ROUNDS; round++) {
    console.log(
      reportLine(`round ${round}, direct, 64 bytes, there and back`, await pings(direct)),
    );
    console.log(
      reportLine(`round ${round}, relayed, 64 bytes, there and back`, await pings(relayed)),
    );
  }
  for (const { near } of [direct, relayed]) near.close("going-away");
  await stack.disposeAsync();
}

/** How long a message of the library takes, by the relay and by the mailbox. */
async function measureMessages(): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "cairn-bench-" });
  await using stack = new AsyncDisposableStack();
  stack.defer(() => Deno.remove(folder, { recursive: true }));
  for (const relayCapacity of [0, 100]) {
    const server = await startMeasuredServer(`${folder}/server ${relayCapacity}`, {
      relayCapacity,
    });
    const nodes: Node[] = [];
    for (const name of ["alice", "bob"]) {
      nodes.push(await open(`${folder}/${name} ${relayCapacity}`, server));
    }
    const [alice, bob] = nodes;
    if (!alice || !bob) return;
    const times: number[] = [];
    for (let index = 0; index < PINGS + 50; index++) {
      const start = performance.now();
      const arrived = new Promise<void>((resolve) => {
        const remove = bob.on("message", () => {
          remove();
          resolve();
        });
      });
      await alice.send(bob.peerId, "", new Uint8Array(64));
      await arrived;
      if (index >= 50) times.push(performance.now() - start);
    }
    const path = alice.path(bob.peerId);
    console.log(reportLine(`node.send to the reader's handler, ${path}`, times));
    for (const node of nodes) await node.close();
    await server[Symbol.asyncDispose]();
  }
}

async function open(storagePath: string, server: MeasuredServer): Promise<Node> {
  const node = await Node.create({ storagePath, serverUrl: server.url });
  await node.start();
  await node.pairWithPsk(PSK, server.peerId);
  return node;
}

/** A paired peer's link context. */
async function context(folder: string, name: string, server: MeasuredServer): Promise<LinkContext> {
  const path = `${folder}/${name}`;
  await (await open(path, server)).close();
  const data = await openDataFolder({ path, kind: "peer", host: systemHost });
  const { identity } = await loadIdentity(data.kv, systemHost);
  await data.close();
  const keys = new LinkKeys(identity, systemHost);
  const capabilities = ["receive", "relay"];
  return { identity, keys, capabilities, host: systemHost, heartbeat: 30_000 };
}

async function directLink(
  near: LinkContext,
  far: LinkContext,
  stack: AsyncDisposableStack,
): Promise<LinkedPeers> {
  const accepted = Promise.withResolvers<FrameSocket>();
  const listener = await listen({
    host: "127.0.0.1",
    port: 0,
    prepare: (httpServer) =>
      acceptWebSockets({
        server: httpServer,
        limits: { maxFrameBytes: 65_535, maxBufferedBytes: 8 * 1_048_576 },
        handler: (_request, accept) => accept(accepted.resolve, "cairn.link.v1"),
      }),
  });
  stack.defer(() => listener.close());
  const url = `ws://127.0.0.1:${listener.address.port}/link`;
  const [initiated, answered] = await Promise.all([
    dialLink(url, far.identity.peerId, near, { signal: NEVER }),
    accepted.promise.then((socket) => acceptLink(socket, far)),
  ]);
  return { near: initiated, far: answered };
}

async function relayedLink(
  near: LinkContext,
  far: LinkContext,
  server: MeasuredServer,
  stack: AsyncDisposableStack,
): Promise<LinkedPeers> {
  const opened = Promise.withResolvers<RelayedSocket>();
  const relays = await Promise.all([near, far].map(async (own) => {
    const link = await dialLink(`${server.url}/link`, server.peerId, own, { signal: NEVER });
    link.trustRemote();
    stack.defer(() => link.close("going-away"));
    const relay = new RelayedLinks(link, systemHost, opened.resolve);
    // Its first message says that the server has this link on its list.
    await new Promise<void>((resolve) => {
      link.onEnvelope = ({ type, payload }) => {
        relay.receive(type, payload);
        resolve();
      };
    });
    return relay;
  }));
  const peer: PeerId = far.identity.peerId;
  const [relay] = relays;
  if (!relay) throw new Error("No relay");
  const [initiated, answered] = await Promise.all([
    initiateLink(relay.open(peer), near, { expectedPeer: peer }),
    opened.promise.then((socket) => acceptLink(socket, far)),
  ]);
  return { near: initiated, far: answered };
}

/** Bytes a second from near to far. */
async function throughput({ near, far }: LinkedPeers): Promise<number> {
  const data = new Uint8Array(ENVELOPE);
  const done = Promise.withResolvers<void>();
  let sent = 0;
  let received = 0;
  const start = performance.now();
  const isOver = () => performance.now() - start > STREAM_MS;
  far.onEnvelope = ({ type }) => {
    if (type === DATA) far.send(ACK, new Uint8Array(0));
  };
  const fill = () => {
    while (sent - received < WINDOW && !isOver()) {
      near.send(DATA, data);
      sent++;
    }
    if (sent === received) done.resolve();
  };
  near.onEnvelope = ({ type }) => {
    if (type !== ACK) return;
    received++;
    fill();
  };
  fill();
  await done.promise;
  return received * ENVELOPE / (performance.now() - start) * 1_000;
}

/** Milliseconds of each round trip. */
async function pings({ near, far }: LinkedPeers): Promise<number[]> {
  const times: number[] = [];
  far.onEnvelope = ({ payload }) => far.send(ACK, payload);
  for (let index = 0; index < PINGS; index++) {
    const start = performance.now();
    await new Promise<void>((resolve) => {
      near.onEnvelope = () => resolve();
      near.send(DATA, new Uint8Array(64));
    });
    times.push(performance.now() - start);
  }
  return times;
}

await measure();
await measureMessages();
Deno.exit(0);
