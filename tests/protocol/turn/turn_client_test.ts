import assert from "node:assert/strict";
import fc from "fast-check";
import { formatAddressPort } from "../../../src/base/address.ts";
import { utf8 } from "../../../src/base/bytes.ts";
import { AttributeType, decodeLifetime } from "../../../src/protocol/stun/attributes.ts";
import { Method } from "../../../src/protocol/stun/message.ts";
import type { TurnClient } from "../../../src/protocol/turn/turn_client.ts";
import { addressPort, ClientWorld, ip, PEER, RELAYED, turnClient } from "./client_world.ts";

const HELLO = utf8("hello");

Deno.test("TurnClient asks, is challenged, and has an allocation", () => {
  const world = new ClientWorld();
  const { relayed, mapped, lifetime } = world.allocated();
  assert.deepEqual(relayed.address, ip(RELAYED));
  assert.ok(relayed.port >= 50_000 && relayed.port <= 50_009);
  assert.equal(mapped && formatAddressPort(mapped), "192.0.2.9:5000");
  assert.equal(lifetime, 600);
  assert.equal(world.client.realm, "cairn");
  assert.deepEqual(world.requests.map(({ integrityKind }) => integrityKind), [undefined, "sha256"]);
});

Deno.test("TurnClient asks for a relayed address of the family that is wanted", () => {
  assert.deepEqual(new ClientWorld({ family: 6 }).allocated().relayed.address, ip("2a00::4"));
});

Deno.test("TurnClient learns its address without credentials, also when it has some", () => {
  const world = new ClientWorld();
  for (const begin of [() => {}, () => world.allocated()]) {
    begin();
    world.client.bind(world.now);
    world.settle();
    const last = world.said.at(-1);
    assert.equal(last?.kind === "mapped" && formatAddressPort(last.address), "192.0.2.9:5000");
    assert.equal(world.requests.at(-1)?.integrityKind, undefined);
  }
});

Deno.test("TurnClient with a wrong password or user is refused after two requests", () => {
  for (const wrong of [{ password: "other" }, { username: "other" }]) {
    const world = new ClientWorld(wrong);
    world.client.allocate(0);
    world.settle();
    assert.deepEqual(world.summary(), ["refused allocation: 401", "ended"]);
    assert.equal(world.requests.length, 2);
  }
});

Deno.test("TurnClient sends datagrams on a channel and takes what comes back on it", () => {
  const world = new ClientWorld();
  world.allocated();
  const channel = world.client.bindChannel(PEER, world.now);
  assert.equal(world.client.bindChannel(PEER, world.now), channel, "one channel for one peer");
  world.settle();
  assert.deepEqual(world.said.at(-1), { kind: "channel-bound", peer: PEER, channel });

  world.sendData(wrapped(world.client, channel, HELLO));
  world.sendData(wrapped(world.client, channel, new Uint8Array()));
  assert.deepEqual(world.arrived, [
    { peer: "198.41.0.9:7000", bytes: HELLO },
    { peer: "198.41.0.9:7000", bytes: new Uint8Array() },
  ]);
  assert.deepEqual(world.receiveFromPeer(PEER, HELLO), { from: PEER, bytes: HELLO });
  assert.equal(world.receiveFromPeer(PEER, new Uint8Array())?.bytes.length, 0);
  const otherPort = { ...PEER, port: 7_001 };
  assert.deepEqual(world.receiveFromPeer(otherPort, HELLO), { from: otherPort, bytes: HELLO });
});

Deno.test("TurnClient sends and takes indications where there is a permission and no channel", () => {
  const world = new ClientWorld({ family: 6 });
  world.allocated();
  const peer = addressPort("2a00::9", 7_000);
  world.client.permit(peer.address, world.now);
  world.settle();
  assert.deepEqual(world.said.at(-1), { kind: "permitted", address: peer.address });
  world.sendData(world.client.indication(peer, HELLO));
  assert.deepEqual(world.arrived, [{ peer: "2a00::9:7000", bytes: HELLO }]);
  assert.deepEqual(world.receiveFromPeer(peer, HELLO), { from: peer, bytes: HELLO });
});

Deno.test("TurnClient keeps allocation, permissions and channels alive for an hour", () => {
  const world = new ClientWorld();
  world.allocated();
  const other = addressPort("198.41.0.10", 1);
  world.client.permit(other.address, world.now);
  const channel = world.client.bindChannel(PEER, world.now);
  world.settle();
  for (let minute = 1; minute <= 60; minute++) {
    world.advanceTo(minute * 60_000);
    world.sendData(wrapped(world.client, channel, HELLO));
    assert.equal(world.arrived.length, minute);
    assert.ok(world.receiveFromPeer(PEER, HELLO), `minute ${minute}`);
    assert.ok(world.receiveFromPeer(other, HELLO), `minute ${minute}`);
  }
  assert.doesNotMatch(world.summary().join(), /refused|ended/);
  const refreshes = world.requests.filter(({ method }) => method === Method.Refresh).length;
  // Each 480 s, and once more where the nonce had expired meanwhile.
  assert.ok(refreshes >= 7 && refreshes <= 10, `${refreshes} refreshes`);
});

Deno.test("TurnClient gives its allocation up", () => {
  const world = new ClientWorld();
  world.allocated();
  world.client.bindChannel(PEER, world.now);
  world.settle();
  world.client.release(world.now);
  world.settle();
  assert.equal(world.said.at(-1)?.kind, "ended");
  assert.equal(world.server.allocationCount, 0);
  assert.equal(decodeLifetime(world.requests.at(-1)!.get(AttributeType.Lifetime)!), 0);
  assert.equal(world.client.nextDeadline(), Infinity);
});

Deno.test("TurnClient says that its allocation ended when the server has forgotten it", () => {
  const world = new ClientWorld();
  world.allocated();
  world.server.close(world.now);
  world.settle();
  world.advanceTo(480_000);
  assert.deepEqual(world.summary().slice(1), ["refused refresh: 437", "ended"]);
});

Deno.test("TurnClient says that its allocation ended when nobody answers any more", () => {
  const world = new ClientWorld();
  world.allocated();
  world.isConnected = false;
  world.advanceTo(480_000 + 39_499);
  assert.deepEqual(world.summary(), ["allocated"]);
  world.advanceTo(480_000 + 39_500);
  assert.deepEqual(world.summary().slice(1), ["refused refresh: timeout", "ended"]);
});

Deno.test("TurnClient loses only the peer that is refused", () => {
  const world = new ClientWorld();
  world.allocated();
  world.client.permit(ip("10.0.0.1"), world.now);
  world.client.bindChannel(addressPort("10.0.0.1", 9), world.now);
  world.client.bindChannel(PEER, world.now);
  world.settle();
  assert.deepEqual(world.summary(), [
    "allocated",
    "refused permission: 403",
    "refused channel: 403",
    "channel-bound",
  ]);
  const requests = world.requests.length;
  world.client.permit(ip("10.0.0.1"), world.now);
  world.settle();
  assert.equal(world.requests.length, requests + 1, "it may be asked for again");
});

Deno.test("TurnClient keeps at most 256 permissions and 256 channels", () => {
  const world = new ClientWorld();
  world.allocated();
  const numbers = new Set<number>();
  for (let i = 0; i < 256; i++) {
    world.client.permit(ip(`198.41.1.${i}`), world.now);
    numbers.add(world.client.bindChannel(addressPort(`198.41.2.${i}`, 1), world.now));
  }
  assert.equal(numbers.size, 256);
  assert.throws(() => world.client.permit(PEER.address, world.now), RangeError);
  assert.throws(() => world.client.bindChannel(PEER, world.now), RangeError);
});

Deno.test("TurnClient names no peers before it has an allocation, and allocates once", () => {
  const client = turnClient();
  assert.throws(() => client.permit(PEER.address, 0), TypeError);
  assert.throws(() => client.bindChannel(PEER, 0), TypeError);
  client.allocate(0);
  assert.throws(() => client.allocate(0), TypeError);
});

Deno.test("TurnClient.wrap() pads on streams only", () => {
  for (
    const [transport, lengths] of [
      ["datagram", [4, 5, 6, 7, 8, 9]],
      ["stream", [4, 8, 8, 8, 8, 12]],
    ] as const
  ) {
    const client = turnClient({ transport });
    for (const [length, total] of lengths.entries()) {
      const buffer = new Uint8Array(20).fill(0xee);
      assert.equal(client.wrap(0x4001, buffer, 8, length), total);
      const padding = new Array(total - 4 - length).fill(0);
      const data = new Array(length).fill(0xee);
      assert.deepEqual([...buffer.slice(4, 4 + total)], [0x40, 1, 0, length, ...data, ...padding]);
      assert.ok(buffer.subarray(4 + total).every((byte) => byte === 0xee));
    }
  }
});

Deno.test("TurnClient takes no data that nobody was asked to send, and no garbage", () => {
  const world = new ClientWorld();
  world.allocated();
  world.client.bindChannel(PEER, world.now);
  world.settle();
  const said = world.said.length;
  const start = fc.constantFrom([], [0x40, 0], [0x4f, 0xff], [0x01, 0x03], [0, 0x17]);
  const junk = fc.tuple(start, fc.uint8Array({ maxLength: 80 }));
  fc.assert(fc.property(junk, ([start, rest]) => {
    const bytes = Uint8Array.of(...start, ...rest);
    const isData = world.client.receive(bytes, 0, bytes.length, world.now);
    assert.equal(isData && bytes[0] !== 0x40, false);
    if (isData) assert.ok(world.client.dataOffset + world.client.dataLength <= bytes.length);
  }));
  world.settle();
  assert.equal(world.said.length, said);
});

/** The bytes that go to the server for a datagram on a channel. */
function wrapped(client: TurnClient, channel: number, data: Uint8Array): Uint8Array {
  const buffer = new Uint8Array(4 + data.length + 3);
  buffer.set(data, 4);
  return buffer.slice(0, client.wrap(channel, buffer, 4, data.length));
}
