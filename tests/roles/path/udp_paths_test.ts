import assert from "node:assert/strict";
import { systemHost } from "../../../src/base/host.ts";
import { startedRelay } from "../../support/started_relay.ts";
import type { RelayServer } from "../../../src/roles/path/relay_keeper.ts";
import { echo, PathPair } from "./path_pair.ts";

/** Documentation addresses (RFC 5737): nobody answers there. */
const NOWHERE = "192.0.2.77";

Deno.test("UdpPaths finds a direct way between two nodes of one network", async () => {
  await using pair = new PathPair();
  const { near, far } = await pair.connect();
  far.socket.onFrame = (frame) => far.socket.send(frame);
  assert.deepEqual(await echo(near.socket, Uint8Array.of(1, 2)), Uint8Array.of(1, 2));
  assert.equal(near.path.isRelayed, false);
  assert.equal(far.path.isRelayed, false);
});

for (const transport of ["udp", "tcp"] as const) {
  Deno.test(`UdpPaths goes through a relay over ${transport} where there is no direct way`, async () => {
    await using relay = await startedRelay();
    const relays = [server(relay.port, transport)];
    await using pair = new PathPair(
      { relays, address: NOWHERE },
      { relays, address: NOWHERE },
    );
    const { near, far } = await pair.connect();
    far.socket.onFrame = (frame) => far.socket.send(frame);
    const frame = systemHost.random(60_000);
    assert.deepEqual(await echo(near.socket, frame), frame);
    // Over UDP the relay also tells the node's own address, which is direct on one machine.
    if (transport === "tcp") assert.equal(near.path.isRelayed, true);
  });
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
  await offer.close();
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

function server(port: number, transport: "udp" | "tcp"): RelayServer {
  const credentials = () => ({ username: "user", password: "pass" });
  return { uri: { host: "127.0.0.1", port, transport }, credentials };
}
