import assert from "node:assert/strict";
import { formatIp, parseIp } from "../../../src/base/address.ts";
import { utf8 } from "../../../src/base/bytes.ts";
import { AttributeType, decodeXorAddress } from "../../../src/protocol/stun/attributes.ts";
import { decodeStunMessage, MessageClass, Method } from "../../../src/protocol/stun/message.ts";
import { addressesToListen, machineAddresses } from "../../../src/roles/relay/relay_addresses.ts";
import { FakeTime, turns } from "../../support/fake_time.ts";
import { freePort, ownPorts } from "../../support/free_port.ts";
import { RawTurn } from "../../support/raw_turn.ts";
import { startedRelay } from "../../support/started_relay.ts";
import { bindingRequest } from "../../support/stun_bytes.ts";
import { Refused } from "../../support/wire_client.ts";

const V4 = parseIp("127.0.0.1")!;
const V6 = parseIp("::1")!;

for (const wildcard of ["0.0.0.0", "::"]) {
  Deno.test(`2-ST-20 a relay that listens on ${wildcard} answers from the address that was asked`, async () => {
    await using relay = await startedRelay({
      listenAddr: `${wildcard === "::" ? "[::]" : wildcard}:${freePort()}`,
      tcpAddr: "127.0.0.1:0",
    });
    const addresses = addressesToListen(wildcard, machineAddresses());
    assert.ok(addresses.includes("127.0.0.1"));
    for (const hostname of addresses) {
      using asker = openSocket(hostname.includes(":") ? "::" : "0.0.0.0");
      const { port } = relay;
      await asker.socket.send(bindingRequest(), { transport: "udp", hostname, port });
      const [, from] = await asker.socket.receive();
      assert.deepEqual({ ...from }, { transport: "udp", hostname, port });
    }
  });
}

for (const hostname of ["127.0.0.1", "::1"]) {
  Deno.test(`2-ST-21 over the wire: Binding tells a client at ${hostname} its address and port`, async () => {
    const bracketed = hostname.includes(":") ? `[${hostname}]` : hostname;
    await using relay = await startedRelay({ listenAddr: `${bracketed}:${freePort()}` });
    using asker = openSocket(hostname);
    const request = bindingRequest();
    await asker.socket.send(request, { transport: "udp", hostname, port: relay.port });
    const [bytes] = await asker.socket.receive();
    const answer = decodeStunMessage(bytes);
    assert.equal(answer?.messageClass, MessageClass.Success);
    const value = answer.get(AttributeType.XorMappedAddress);
    const mapped = value && decodeXorAddress(value, answer.transactionId);
    assert.ok(mapped);
    assert.deepEqual([formatIp(mapped.address), mapped.port], [hostname, asker.port]);
  });
}

Deno.test("2-TCP-38 a DTLS ClientHello on UDP is met with silence", async () => {
  await using relay = await startedRelay();
  using asker = openSocket("127.0.0.1");
  const to = { transport: "udp", hostname: "127.0.0.1", port: relay.port } as const;
  const hello = new Uint8Array(200);
  hello.set([22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 187, 1]);
  await asker.socket.send(hello, to);
  const request = bindingRequest();
  await asker.socket.send(request, to);
  // One socket on the loopback keeps the order: an answer to the first would come first.
  const answer = decodeStunMessage((await asker.socket.receive())[0]);
  assert.deepEqual(answer?.transactionId, request.subarray(8, 20));
});

Deno.test("2-TCP-31 ChannelData over UDP is taken with padding and without, and sent without", async () => {
  await using relay = await startedRelay();
  using peer = openSocket("127.0.0.1");
  const client = await relay.client();
  const relayed = await client.allocate();
  const channel = await client.bind({ address: V4, port: peer.port });
  for (let length = 0; length < 8; length++) {
    const data = utf8("datagram".slice(0, length));
    await client.send(channel, data);
    assert.deepEqual((await peer.socket.receive())[0], data);
    await client.sendBytes(Uint8Array.of(channel >> 8, channel & 255, 0, length, ...data, 0, 0, 0));
    assert.deepEqual((await peer.socket.receive())[0], data);
    await peer.socket.send(data, { transport: "udp", hostname: "127.0.0.1", port: relayed.port });
    assert.deepEqual((await client.received()).data, data);
    assert.equal(client.lastLength, 4 + length);
  }
});

for (const [client, family] of [["127.0.0.1", 6], ["::1", 4]] as const) {
  Deno.test(`2-TR-125 a client at ${client} relays over IPv${family}`, async () => {
    const bracketed = client.includes(":") ? `[${client}]` : client;
    await using relay = await startedRelay({ listenAddr: `${bracketed}:${freePort()}` });
    const hostname = family === 6 ? "::1" : "127.0.0.1";
    using peer = openSocket(hostname);
    const one = await relay.client({ hostname: client, family });
    const relayed = await one.allocate();
    assert.equal(formatIp(relayed.address), hostname);
    const address = family === 6 ? V6 : V4;
    const channel = await one.bind({ address, port: peer.port });
    await one.send(channel, utf8("there"));
    const [data, from] = await peer.socket.receive();
    assert.deepEqual(data, utf8("there"));
    assert.deepEqual({ ...from }, { transport: "udp", hostname, port: relayed.port });
    await peer.socket.send(utf8("back"), from);
    assert.deepEqual((await one.received()).data, utf8("back"));
  });
}

Deno.test("2-AL-77 a port that cannot be bound is answered 508, and the relay goes on", async () => {
  using taken = openSocket("127.0.0.1");
  const relayPorts = { min: taken.port, max: taken.port };
  await using relay = await startedRelay({ relayPorts });
  const client = await relay.client();
  await assert.rejects(
    client.allocate(),
    (error) => error instanceof Refused && error.code === 508,
  );
  taken.socket.close();
  const next = await relay.client();
  assert.equal((await next.allocate()).port, taken.port);
});

Deno.test("2-AL-77 a pair whose first port is taken leaves no socket behind", async () => {
  const first = ownPorts();
  using _taken = openSocket("127.0.0.1", first);
  const relayPorts = { min: first, max: first + 3 };
  await using relay = await startedRelay({ relayPorts, relayIps: [V4] });
  // Half of them try the port that is taken before the other pair.
  for (let round = 0; round < 8; round++) {
    using one = await RawTurn.open("udp", relay.port);
    const pair = await one.allocate([AttributeType.EvenPort, Uint8Array.of(0x80)]);
    const token = pair.get(AttributeType.ReservationToken)?.slice();
    assert.ok(token, "the other pair is free each time");
    using other = await RawTurn.open("udp", relay.port);
    await other.allocate([AttributeType.ReservationToken, token]);
    for (const client of [one, other]) {
      await client.request(Method.Refresh, [AttributeType.Lifetime, new Uint8Array(4)]);
    }
  }
  assert.match(await relay.metrics(), /^cairn_relay_relay_ports 0$/m);
  openSocket("127.0.0.1", first + 1)[Symbol.dispose]();
});

Deno.test("2-AL-78 peers are told the external address", async () => {
  const externalIps = [parseIp("198.41.0.4")!];
  await using relay = await startedRelay({ externalIps, relayIps: [V4] });
  const client = await relay.client();
  assert.equal(formatIp((await client.allocate()).address), "198.41.0.4");
});

Deno.test("2-AL-79 the port of an allocation that was given back is closed", async () => {
  await using relay = await startedRelay();
  const client = await relay.client();
  const { port } = await client.allocate();
  assert.throws(() => openSocket("127.0.0.1", port), Deno.errors.AddrInUse);
  await client.release();
  openSocket("127.0.0.1", port)[Symbol.dispose]();
});

Deno.test("2-AL-79 an allocation that nobody renews ends within two seconds, with its socket", async () => {
  using time = new FakeTime();
  await using relay = await startedRelay({}, time);
  const client = await relay.client();
  const { port } = await client.allocate();
  client.close();
  time.pass(599_000);
  assert.throws(() => openSocket("127.0.0.1", port), Deno.errors.AddrInUse);
  time.pass(3_000);
  await turns();
  openSocket("127.0.0.1", port)[Symbol.dispose]();
});

Deno.test("2-AL-76 a range of four ports is given away and taken back 1,000 times over real sockets", async () => {
  const first = ownPorts();
  const relayPorts = { min: first, max: first + 3 };
  await using relay = await startedRelay({ relayPorts, relayIps: [V4] });
  const clients = await Promise.all(Array.from({ length: 5 }, () => relay.client()));
  for (let round = 0; round < 250; round++) {
    const ports = new Set<number>();
    for (const client of clients.slice(0, 4)) ports.add((await client.allocateAnew()).port);
    assert.equal(ports.size, 4);
    if (round % 50 === 0) await assert.rejects(clients[4]!.allocateAnew(), { code: 508 });
    for (const client of clients.slice(0, 4)) await client.release();
  }
});

Deno.test("a datagram that is longer than any path carries is dropped, not cut", async () => {
  await using relay = await startedRelay();
  using peer = openSocket("127.0.0.1");
  const client = await relay.client();
  const relayed = await client.allocate();
  await client.bind({ address: V4, port: peer.port });
  const to = { transport: "udp", hostname: "127.0.0.1", port: relayed.port } as const;
  await peer.socket.send(new Uint8Array(65_507), to);
  await peer.socket.send(utf8("next"), to);
  assert.deepEqual((await client.received()).data, utf8("next"));
});

/** A UDP socket that ends with its block. */
function openSocket(hostname: string, port = 0) {
  const socket = Deno.listenDatagram({ transport: "udp", hostname, port });
  return {
    socket,
    port: socket.addr.transport === "udp" ? socket.addr.port : NaN,
    [Symbol.dispose]() {
      try {
        socket.close();
      } catch {
        // The test closed it itself.
      }
    },
  };
}
