import assert from "node:assert/strict";
import { systemHost } from "../../../src/base/host.ts";
import { startedRelay } from "../../support/started_relay.ts";
import type { RelayServer } from "../../../src/roles/path/relay_keeper.ts";
import { openPathSockets } from "../../../src/roles/path/path_sockets.ts";
import { DenoDatagramSockets } from "../../../src/roles/relay/datagram_sockets.ts";
import { within } from "../../support/deadline.ts";
import type { FrameSocket } from "../../../src/roles/web_socket.ts";
import { echo, PathPair } from "./path_pair.ts";

/** Documentation addresses (RFC 5737): nobody answers there. */
const NOWHERE = "192.0.2.77";

/** How datagrams are moved: where there are no batches, both are the same. */
const ENGINES = {
  "in batches": openPathSockets,
  "one by one": () => new DenoDatagramSockets(),
};

for (const [how, sockets] of Object.entries(ENGINES)) {
  Deno.test(`UdpPaths finds a direct way between two nodes of one network, ${how}`, async () => {
    await using pair = new PathPair({ sockets: sockets() }, { sockets: sockets() });
    const { near, far } = await pair.connect();
    far.socket.onFrame = (frame) => far.socket.send(frame);
    assert.deepEqual(await echo(near.socket, Uint8Array.of(1, 2)), Uint8Array.of(1, 2));
    assert.equal(near.path.isRelayed, false);
    assert.equal(far.path.isRelayed, false);
  });

  for (const transport of ["udp", "tcp"] as const) {
    Deno.test(`UdpPaths goes through a relay over ${transport} where there is no direct way, ${how}`, async () => {
      await using relay = await startedRelay();
      const relays = [server(relay.port, transport)];
      await using pair = new PathPair(
        { relays, relayedOnly: true, sockets: sockets() },
        { relays, sockets: sockets() },
      );
      const { near, far } = await pair.connect();
      assert.equal(near.path.isRelayed, true);
      // More than what is in flight at a time, so that the order of datagrams matters.
      const frames = Array.from({ length: 60 }, () => systemHost.random(60_000));
      const taken = collect(far.socket, frames.length);
      for (const frame of frames) near.socket.send(frame);
      assert.deepEqual(await taken, frames);
      far.socket.onFrame = (frame) => far.socket.send(frame);
      assert.deepEqual(await echo(near.socket, frames[0]!), frames[0]);
    });
  }
}

Deno.test("UdpPaths ends a search that finds nothing, and one peer cannot speak for another", async () => {
  await using pair = new PathPair({ address: NOWHERE }, { address: NOWHERE });
  const listener = { onCandidates() {}, onSocket() {} };
  const offer = pair.near.offer(listener);
  const mine = await pair.far.answer("near", offer.parameters, [], listener);
  assert.ok(mine?.certificate);
  assert.equal(await pair.far.answer("other", offer.parameters, [], listener), undefined);
  assert.deepEqual(
    (await pair.far.answer("near", offer.parameters, [], listener))?.password,
    mine.password,
  );
  offer.close();
});

Deno.test("UdpPaths keeps four searches of one peer, the newest", async () => {
  await using pair = new PathPair({}, {});
  let ended = 0;
  const listener = { onCandidates() {}, onSocket() {}, onEnd: () => ended++ };
  for (let i = 0; i < 10; i++) {
    const session = systemHost.random(16);
    const password = systemHost.random(16);
    assert.ok(await pair.far.answer("near", { session, password }, [], listener));
  }
  await pair.far.close();
  assert.equal(ended, 10);
});

/** The next `count` frames that are not empty. */
function collect(socket: FrameSocket, count: number): Promise<Uint8Array[]> {
  const { promise, resolve } = Promise.withResolvers<Uint8Array[]>();
  const frames: Uint8Array[] = [];
  socket.onFrame = (frame) => {
    if (frame.length > 0) frames.push(frame);
    if (frames.length === count) resolve(frames);
  };
  return within(AbortSignal.timeout(180_000), promise, () => `${count} frames`);
}

function server(port: number, transport: "udp" | "tcp"): RelayServer {
  const credentials = () => ({ username: "user", password: "pass" });
  return { uri: { host: "127.0.0.1", port, transport }, credentials };
}
