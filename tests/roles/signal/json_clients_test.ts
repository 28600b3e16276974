/*
 * The JSON dialects, frame by frame as each of the existing clients sends them (reference-wire 6.4),
 * and where they meet the CBOR world.
 */

import assert from "node:assert/strict";
import { fromHex, toBase64, toHex } from "../../../src/base/bytes.ts";
import { movableHost, startedSignal } from "../../support/started_signal.ts";

const TOPIC = "211e00d9ea20364053d7d5ab17446ae29c6a6516e9bee1f1725019cb5b384f29";
const RECORD = "rt4C/w==";
const PUBLISH = `{"type":"publish","topic":"${TOPIC}","payload":"${RECORD}"}`;
const QUERY = `{"type":"query","topic":"${TOPIC}"}`;
const RESULT = `{"type":"result","topic":"${TOPIC}","payload":"${RECORD}"}`;
const NOTHING = `{"type":"result","topic":"${TOPIC}","payload":null}`;
const BEARER = { headers: { authorization: "Bearer your-secret-token" } };
/** A reader of the Go client takes so many bytes at once, the head of the frame among them. */
const GO_BUFFER = 4_096;

Deno.test("Rust: publishes and queries without ever reading; TypeScript finds what it published", async () => {
  await using signal = await startedSignal();
  const rust = await signal.client();
  rust.socket.send(PUBLISH);
  rust.socket.send(QUERY);
  rust.socket.send(PUBLISH);
  await rust.settled();
  const typescript = await signal.client();
  assert.equal(await typescript.ask(QUERY), RESULT);
  rust.socket.terminate();
  await rust.closed;
  assert.equal(await typescript.ask(QUERY), RESULT, "a record survives its sender's connection");
});

Deno.test("TypeScript: a query for what nobody published is answered with null", async () => {
  await using signal = await startedSignal();
  const client = await signal.client();
  assert.equal(await client.ask(QUERY), NOTHING);
});

Deno.test("TypeScript: a publish is not answered, so the next message belongs to the query", async () => {
  await using signal = await startedSignal();
  const client = await signal.client();
  client.socket.send(PUBLISH);
  assert.equal(await client.ask(QUERY), RESULT);
});

Deno.test("Go: announces without a peer_id and closes at once; another finds it in one read", async () => {
  await using signal = await startedSignal({ authTokens: ["your-secret-token"] });
  const announcer = await signal.client(BEARER);
  announcer.socket.send(`{"type":"announce","topic":"${TOPIC}","addresses":["aebe02ff"]}`);
  announcer.socket.close();
  await announcer.closed;
  const asker = await signal.client(BEARER);
  const answer = await asker.ask(QUERY);
  assert.deepEqual(JSON.parse(answer).peers, [{ peer_id: "", addresses: ["aebe02ff"] }]);
});

Deno.test("Go: an answer fits one read, however many have announced themselves", async () => {
  await using signal = await startedSignal();
  const client = await signal.client();
  for (let i = 0; i < 40; i++) {
    const record = i.toString(16).padStart(400, "0");
    await client.ask(`{"type":"announce","topic":"${TOPIC}","addresses":["${record}"]}`);
  }
  const answer = await client.ask(QUERY);
  assert.ok(answer.length + 4 <= GO_BUFFER);
  const { peers } = JSON.parse(answer);
  assert.ok(peers.length > 8);
  assert.ok(peers[0].addresses[0].endsWith("27"), "the newest first");
});

Deno.test("Python: announces with a peer_id, hears something at once, and finds the others", async () => {
  await using signal = await startedSignal({ authTokens: ["your-secret-token"] });
  const [ann, bob] = [await signal.client(BEARER), await signal.client(BEARER)];
  const announce = (peer: string, address: string) =>
    `{"type": "announce", "topic": "${TOPIC}", "peer_id": "${peer}", "addresses": ["${address}"]}`;
  assert.equal(
    await ann.ask(announce("1220aa", "/ip4/192.0.2.1/tcp/9000")),
    `{"type":"announced","topic":"${TOPIC}"}`,
  );
  await bob.ask(announce("1220bb", "/ip4/192.0.2.2/tcp/9000"));
  await ann.ask(announce("1220aa", "/ip4/192.0.2.3/tcp/9000"));
  const answer = await bob.ask(`{"type": "query", "topic": "${TOPIC}"}`);
  assert.deepEqual(JSON.parse(answer), {
    type: "peers",
    topic: TOPIC,
    peers: [
      { peer_id: "1220aa", addresses: ["/ip4/192.0.2.3/tcp/9000"] },
      { peer_id: "1220bb", addresses: ["/ip4/192.0.2.2/tcp/9000"] },
    ],
  });
});

Deno.test("all four meet on one topic: a payload and announcements are answered together", async () => {
  await using signal = await startedSignal();
  const client = await signal.client();
  client.socket.send(PUBLISH);
  await client.ask(`{"type":"announce","topic":"${TOPIC}","addresses":["00"]}`);
  assert.equal(
    await client.ask(QUERY),
    `${RESULT.slice(0, -1)},"peers":[{"peer_id":"","addresses":["00"]}]}`,
  );
});

Deno.test("a publish reaches who listens in CBOR, as Relay with the reference's bytes", async () => {
  await using signal = await startedSignal();
  const [cbor, other] = [await signal.client(), await signal.client()];
  await cbor.subscribe("abc");
  await other.subscribe("other");
  const json = await signal.client();
  json.socket.send('{"type":"publish","topic":"abc","payload":"AQI="}');
  assert.equal(
    toHex(await cbor.next()),
    "a16552656c6179a265746f70696363616263677061796c6f6164420102",
  );
  await other.hasNothing();
});

Deno.test("a publish does not come back to its own sender", async () => {
  await using signal = await startedSignal();
  const both = await signal.client();
  await both.subscribe("abc");
  both.socket.send('{"type":"publish","topic":"abc","payload":"AQI="}');
  await both.hasNothing();
});

Deno.test("a Relay answers later queries, the newest of several, in either order of its keys", async () => {
  await using signal = await startedSignal();
  const [cbor, json] = [await signal.client(), await signal.client()];
  cbor.send(fromHex("a16552656c6179a265746f70696363616263677061796c6f6164420102"));
  await cbor.settled();
  const query = '{"type":"query","topic":"abc"}';
  assert.equal(await json.ask(query), '{"type":"result","topic":"abc","payload":"AQI="}');
  cbor.send(fromHex("a16552656c6179a2677061796c6f616442030465746f70696363616263"));
  await cbor.settled();
  assert.equal(await json.ask(query), '{"type":"result","topic":"abc","payload":"AwQ="}');
});

Deno.test("records are gone after five minutes, unless they are published again", async () => {
  const host = movableHost();
  await using signal = await startedSignal({}, host);
  const client = await signal.client();
  client.socket.send(PUBLISH);
  await client.ask(QUERY);
  host.pass(299_000);
  client.socket.send(PUBLISH);
  assert.equal(await client.ask(QUERY), RESULT);
  host.pass(299_000);
  assert.equal(await client.ask(QUERY), RESULT);
  host.pass(1_000);
  assert.equal(await client.ask(QUERY), NOTHING);
});

Deno.test("with a lifetime of 0 nothing is kept: a publish is passed on and refused, a query finds nothing", async () => {
  await using signal = await startedSignal({ limits: { recordTtl: 0 } });
  const [cbor, json] = [await signal.client(), await signal.client()];
  await cbor.subscribe(TOPIC);
  const refused = '{"type":"error","error":"this server keeps no records"}';
  assert.equal(await json.ask(PUBLISH), refused);
  assert.ok((await cbor.next()).length > 0);
  assert.equal(
    await json.ask(`{"type":"announce","topic":"${TOPIC}","addresses":["00"]}`),
    refused,
  );
  assert.equal(await json.ask(QUERY), NOTHING);
});

Deno.test("a full store says so, and the connection stays", async () => {
  const limits = { maxRecords: 1, recordsPerAddress: 1 };
  await using signal = await startedSignal({ limits, trustedProxies: ["127.0.0.1"] });
  const from = (address: string) => signal.client({ headers: { "x-forwarded-for": address } });
  const [ann, bob] = [await from("192.0.2.1"), await from("192.0.2.2")];
  ann.socket.send(PUBLISH);
  await ann.ask(QUERY);
  assert.equal(
    await bob.ask('{"type":"announce","topic":"abc","addresses":["00"]}'),
    '{"type":"error","error":"there is no room for this record"}',
  );
  assert.equal(await bob.ask(QUERY), RESULT);
});

Deno.test("mistakes are said, without a word of what was sent, and the connection stays", async () => {
  await using signal = await startedSignal();
  const client = await signal.client();
  const answers = {
    "{": "not JSON",
    "[]": "not a JSON object",
    '{"type":"canary"}': "unknown type",
    '{"type":"query"}': "topic is not text of at most 256 bytes",
    '{"type":"publish","topic":"canary","payload":"canary!"}': "payload is not base64",
    '{"type":"announce","topic":"canary"}': "addresses is not an array of at most 32",
  };
  for (const [text, error] of Object.entries(answers)) {
    assert.equal(await client.ask(text), JSON.stringify({ type: "error", error }));
  }
  assert.equal(await client.ask(QUERY), NOTHING);
});

Deno.test("a record as large as a frame takes is stored and found", async () => {
  await using signal = await startedSignal();
  const client = await signal.client();
  const payload = toBase64(new Uint8Array(48_000).fill(9));
  const message = JSON.stringify({ type: "publish", topic: "abc", payload });
  client.socket.send(message);
  const answer = await client.ask('{"type":"query","topic":"abc"}');
  assert.equal(answer, JSON.stringify({ type: "result", topic: "abc", payload }));
});
