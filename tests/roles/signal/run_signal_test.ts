import assert from "node:assert/strict";
import { fromHex, toHex } from "../../../src/base/bytes.ts";
import { encodeSignalFrame } from "../../../src/protocol/signal/signal_frame.ts";
import { startSignal } from "../../../src/roles/signal/run_signal.ts";
import type { ForeignClient } from "../../support/foreign_client.ts";
import { FakeTime } from "../../support/fake_time.ts";
import { RawWebSocket } from "../../support/raw_web_socket.ts";
import { untilHolds } from "../../support/rested.ts";
import { startedSignal as start } from "../../support/started_signal.ts";
import { hasOpenssl, makeSelfSigned } from "../../support/self_signed.ts";

/** The reference's own bytes. */
const SUBSCRIBE_ABC = fromHex("a169537562736372696265a165746f70696363616263");
const UNSUBSCRIBE_ABC = fromHex("a16b556e737562736372696265a165746f70696363616263");
const RELAY_ABC = fromHex("a16552656c6179a265746f70696363616263677061796c6f6164420102");
const RELAY_ABC_PAYLOAD_FIRST = fromHex(
  "a16552656c6179a2677061796c6f616442010265746f70696363616263",
);

Deno.test("a relay reaches every other listener with the reference's bytes, and not the sender", async () => {
  await using signal = await start();
  const [ann, bob, cid] = [await signal.client(), await signal.client(), await signal.client()];
  for (const client of [ann, bob, cid]) await client.subscribe("abc");
  ann.send(RELAY_ABC);
  assert.equal(toHex(await bob.next()), toHex(RELAY_ABC));
  assert.equal(toHex(await cid.next()), toHex(RELAY_ABC));
  await ann.hasNothing();
});

Deno.test("a relay is passed on in the reference's order of keys", async () => {
  await using signal = await start();
  const [ann, bob] = [await signal.client(), await signal.client()];
  await bob.subscribe("abc");
  ann.send(RELAY_ABC_PAYLOAD_FIRST);
  assert.equal(toHex(await bob.next()), toHex(RELAY_ABC));
});

Deno.test("the reference's Subscribe and Unsubscribe bytes work", async () => {
  await using signal = await start();
  const [ann, bob] = [await signal.client(), await signal.client()];
  bob.send(SUBSCRIBE_ABC);
  await bob.settled();
  ann.send(RELAY_ABC);
  assert.equal(toHex(await bob.next()), toHex(RELAY_ABC));
  bob.send(UNSUBSCRIBE_ABC);
  await bob.settled();
  ann.send(RELAY_ABC);
  await ann.settled();
  await bob.hasNothing();
});

Deno.test("a connection that ends leaves its topics", async () => {
  await using signal = await start({ limits: { connectionsPerTopic: 1 } });
  const [ann, bob, cid] = [await signal.client(), await signal.client(), await signal.client()];
  await bob.subscribe("abc");
  bob.socket.close();
  await bob.closed;
  // The server hears of the end a little later than the client itself.
  for (let turn = 0; turn < 1_000 && !cid.hasFrames; turn++) {
    await cid.subscribe("abc");
    ann.send(RELAY_ABC);
    await ann.settled();
    await cid.settled();
  }
  assert.ok(cid.hasFrames);
});

Deno.test("a full topic takes no further listener, and serves those it has", async () => {
  await using signal = await start({ limits: { connectionsPerTopic: 1 } });
  const [ann, bob, cid] = [await signal.client(), await signal.client(), await signal.client()];
  await bob.subscribe("abc");
  await cid.subscribe("abc");
  ann.send(RELAY_ABC);
  assert.equal(toHex(await bob.next()), toHex(RELAY_ABC));
  await cid.hasNothing();
});

Deno.test("the largest frame passes, and one byte more closes with 1009", async () => {
  await using signal = await start();
  const [ann, bob] = [await signal.client(), await signal.client()];
  await bob.subscribe("abc");
  const frame = relay("abc", new Uint8Array(65_536 - 29));
  assert.equal(frame.length, 65_536);
  ann.send(frame);
  assert.deepEqual(await bob.next(), frame);
  ann.send(relay("abc", new Uint8Array(65_536 - 28)));
  assert.equal((await ann.closed).code, 1009);
});

Deno.test("a frame of 1 MiB ends its sender and nobody else", async () => {
  await using signal = await start();
  const [ann, bob, cid] = [await signal.client(), await signal.client(), await signal.client()];
  await bob.subscribe("abc");
  ann.send(relay("abc", new Uint8Array(1_048_576)));
  await ann.closed;
  cid.send(RELAY_ABC);
  assert.equal(toHex(await bob.next()), toHex(RELAY_ABC));
});

const MISTAKES: Record<string, (client: ForeignClient) => void> = {
  "malformed frames": (client) => client.send(fromHex("ff")),
  "frames of unknown kinds": (client) => client.send(fromHex("a164506f6f6ca165746f70696363616263")),
  "text messages without meaning": (client) => client.socket.send('{"type":"shout"}'),
  "topics beyond the limit": (client) =>
    client.send(encodeSignalFrame({ kind: "Subscribe", topic: "one too many" })),
};

for (const [name, make] of Object.entries(MISTAKES)) {
  Deno.test(`${name} cost the error budget, then the connection`, async () => {
    await using signal = await start({ limits: { errorBudget: 3, topicsPerConnection: 1 } });
    const [ann, bob] = [await signal.client(), await signal.client()];
    await bob.subscribe("abc");
    await ann.subscribe("abc");
    make(ann);
    make(ann);
    ann.send(RELAY_ABC);
    assert.equal(toHex(await bob.next()), toHex(RELAY_ABC));
    make(ann);
    ann.send(RELAY_ABC);
    assert.deepEqual(await ann.closed, { code: 1008, reason: "too many errors" });
    await bob.hasNothing();
  });
}

Deno.test("a listener that stalls is reset while the others get everything", async () => {
  await using signal = await start({ limits: { maxBufferedBytes: 200_000, bytesPerSecond: 1e9 } });
  const [ann, bob] = [await signal.client(), await signal.client()];
  await bob.subscribe("abc");
  using stalled = await RawWebSocket.open(signal.port);
  await stalled.send(0x82, SUBSCRIBE_ABC);
  await bob.settled();
  const frame = relay("abc", new Uint8Array(60_000));
  let sent = 0;
  for (; sent < 300; sent++) {
    ann.send(frame);
    assert.equal((await bob.next()).length, frame.length);
  }
  const { length, end } = await stalled.readToEnd();
  assert.equal(end, "reset");
  assert.ok(length < sent * frame.length);
});

Deno.test("without a valid token there is no connection", async () => {
  await using signal = await start({ authTokens: ["first", "second"] });
  const refused = [undefined, "Bearer", "Bearer ", "Bearer wrong", "Bearer firs", "Bearer first2"];
  refused.push("Basic first", "first", "Bearer first,second");
  for (const authorization of refused) {
    using raw = await RawWebSocket.open(signal.port, {
      headers: authorization === undefined ? {} : { authorization },
    });
    assert.match(raw.response, /^HTTP\/1\.1 401 Unauthorized\r\n/, `${authorization}`);
    assert.match(raw.response, /\r\nwww-authenticate: Bearer\r\n/);
  }
});

Deno.test("each of several tokens opens a connection", async () => {
  await using signal = await start({ authTokens: ["first", "second"] });
  const ann = await signal.client({ headers: { authorization: "Bearer first" } });
  const bob = await signal.client({ headers: { authorization: "bearer second" } });
  await bob.subscribe("abc");
  ann.send(RELAY_ABC);
  assert.equal(toHex(await bob.next()), toHex(RELAY_ABC));
});

Deno.test("an empty token is refused at the start", async () => {
  await assert.rejects(startSignal({ listenAddr: "127.0.0.1:0", authTokens: ["good", ""] }), {
    name: "CairnError",
    code: "invalid-option",
  });
});

Deno.test("any path and any subprotocol is let in; ours is confirmed", async () => {
  await using signal = await start();
  await (await signal.client({}, "/some/path?query")).settled();
  using other = await RawWebSocket.open(signal.port, {
    headers: { "sec-websocket-protocol": "other" },
  });
  assert.match(other.response, /^HTTP\/1\.1 101 /);
  assert.doesNotMatch(other.response, /sec-websocket-protocol/i);
  using ours = await RawWebSocket.open(signal.port, {
    headers: { "sec-websocket-protocol": "other, cairn.signal.v1" },
  });
  assert.match(ours.response, /\r\nsec-websocket-protocol: cairn\.signal\.v1\r\n/i);
});

Deno.test("pages: health for everybody, a hint for the rest, 401 without the token", async () => {
  await using open = await start();
  assert.deepEqual(await page(open.port, "/healthz"), [200, "ok\n"]);
  assert.deepEqual(await page(open.port, "/"), [426, "This is a WebSocket server\n"]);
  await using guarded = await start({ authTokens: ["secret"] });
  assert.deepEqual(await page(guarded.port, "/healthz"), [200, "ok\n"]);
  assert.deepEqual(await page(guarded.port, "/"), [401, ""]);
});

Deno.test({
  name: "over TLS the same frames flow",
  ignore: !hasOpenssl,
  fn: async () => {
    await using tls = await makeSelfSigned();
    await using signal = await start({ tls });
    const [ann, bob] = [
      await signal.client({ ca: tls.cert }),
      await signal.client({ ca: tls.cert }),
    ];
    await bob.subscribe("abc");
    ann.send(RELAY_ABC);
    assert.equal(toHex(await bob.next()), toHex(RELAY_ABC));
  },
});

Deno.test("closing says so to every client, and ends although one stalls", async () => {
  using time = new FakeTime();
  const signal = await start();
  const ann = await signal.client();
  using silent = await RawWebSocket.open(signal.port);
  let hasEnded = false;
  void signal.close().then(() => hasEnded = true);
  await untilHolds(() => hasEnded, () => "the end", () => time.elapse(100));
  assert.deepEqual(await ann.closed, { code: 1012, reason: "the server restarts" });
  await silent.readToEnd();
});

Deno.test("an address in use is named with the option that changes it", async () => {
  await using signal = await start();
  await assert.rejects(
    startSignal({ listenAddr: `127.0.0.1:${signal.port}`, authTokens: [] }),
    { code: "address-in-use", message: /--listen-addr \(CAIRN_SIGNAL_LISTEN_ADDR\)$/ },
  );
});

function relay(topic: string, payload: Uint8Array): Uint8Array {
  return encodeSignalFrame({ kind: "Relay", topic, payload });
}

async function page(port: number, path: string): Promise<[status: number, body: string]> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`);
  return [response.status, await response.text()];
}
