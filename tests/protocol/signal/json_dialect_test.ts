import assert from "node:assert/strict";
import fc from "fast-check";
import { ProtocolError } from "../../../src/base/errors.ts";
import {
  decodeJsonRequest,
  encodeJsonAnnounced,
  encodeJsonAnswer,
  encodeJsonError,
} from "../../../src/protocol/signal/json_dialect.ts";

const TOPIC = "211e00d9ea20364053d7d5ab17446ae29c6a6516e9bee1f1725019cb5b384f29";

Deno.test("a publish, a query and both forms of announce are read", () => {
  const samples = {
    [`{"type":"publish","topic":"${TOPIC}","payload":"AQI="}`]: {
      kind: "publish",
      topic: TOPIC,
      payload: Uint8Array.of(1, 2),
    },
    [`{"type":"query","topic":"${TOPIC}"}`]: { kind: "query", topic: TOPIC },
    [`{"type":"announce","topic":"abc","addresses":["00ff"]}`]: {
      kind: "announce",
      topic: "abc",
      announcement: { peerId: "", addresses: ["00ff"] },
    },
    [`{"type":"announce","topic":"abc","peer_id":"1220","addresses":["1.2.3.4:5","ü"],"x":1}`]: {
      kind: "announce",
      topic: "abc",
      announcement: { peerId: "1220", addresses: ["1.2.3.4:5", "ü"] },
    },
    [`{"type":"announce","topic":"","peer_id":null,"addresses":[]}`]: {
      kind: "announce",
      topic: "",
      announcement: { peerId: "", addresses: [] },
    },
  };
  for (const [text, request] of Object.entries(samples)) {
    assert.deepEqual(decodeJsonRequest(text), request);
  }
});

const WRONG = [
  "",
  "{",
  "null",
  "[]",
  '"query"',
  "1e999",
  "{}",
  '{"type":"shout","topic":"a"}',
  '{"type":["query"],"topic":"a"}',
  '{"type":"query"}',
  '{"type":"query","topic":1}',
  `{"type":"query","topic":"${"x".repeat(257)}"}`,
  `{"type":"query","topic":"${"ü".repeat(129)}"}`,
  '{"type":"query","topic":"\\ud800"}',
  '{"type":"publish","topic":"a"}',
  '{"type":"announce","topic":"a"}',
  '{"type":"announce","topic":"a","addresses":"x"}',
  '{"type":"announce","topic":"a","addresses":[1]}',
  '{"type":"announce","topic":"a","addresses":["\\udc00"]}',
  '{"type":"announce","topic":"a","peer_id":7,"addresses":[]}',
  `{"type":"announce","topic":"a","peer_id":"${"x".repeat(257)}","addresses":[]}`,
  `{"type":"announce","topic":"a","addresses":[${Array(33).fill('""').join()}]}`,
  `{"type":"announce","topic":"a","addresses":["${"x".repeat(8_193)}"]}`,
  "[".repeat(65_536),
  '{"a":'.repeat(13_000),
];

for (const text of WRONG) {
  Deno.test(`refused: ${text.slice(0, 60)}`, () => {
    assert.throws(() => decodeJsonRequest(text), { name: "ProtocolError", code: "malformed" });
  });
}

Deno.test("base64 is taken in its one form only", () => {
  const read = (payload: string) => decodeJsonRequest(JSON.stringify({ ...PUBLISH, payload }));
  assert.deepEqual(read(""), { kind: "publish", topic: "a", payload: new Uint8Array() });
  assert.deepEqual(read("+/8="), { kind: "publish", topic: "a", payload: Uint8Array.of(251, 255) });
  for (const payload of ["+/8", "-_8=", "+/9=", " +/8=", "+/8=\n", "+/\n8=", "+/8==", "=", "ü"]) {
    assert.throws(() => read(payload), ProtocolError, payload);
  }
});

Deno.test("whatever text comes, it is read or refused as malformed", () => {
  const values = fc.oneof(fc.string(), fc.json(), fc.jsonValue().map((v) => JSON.stringify(v)));
  fc.assert(fc.property(values, (text) => {
    try {
      decodeJsonRequest(text);
    } catch (error) {
      assert.ok(error instanceof ProtocolError);
    }
  }));
});

Deno.test("a query is answered in the form of what is there", () => {
  const payload = Uint8Array.of(1, 2);
  const peers = [{ peerId: "1220", addresses: ["1.2.3.4:5"] }, { peerId: "", addresses: ["00"] }];
  const answers = [
    [{ payload: undefined, peers: [] }, '{"type":"result","topic":"t","payload":null}'],
    [{ payload, peers: [] }, '{"type":"result","topic":"t","payload":"AQI="}'],
    [
      { payload: undefined, peers },
      '{"type":"peers","topic":"t","peers":[{"peer_id":"1220","addresses":["1.2.3.4:5"]},' +
      '{"peer_id":"","addresses":["00"]}]}',
    ],
    [
      { payload, peers: peers.slice(1) },
      '{"type":"result","topic":"t","payload":"AQI=","peers":[{"peer_id":"","addresses":["00"]}]}',
    ],
  ] as const;
  for (const [found, text] of answers) assert.equal(encodeJsonAnswer("t", found), text);
});

Deno.test("an answer leaves out the oldest peers rather than be longer than 4,096 bytes with its head", () => {
  const peer = (id: number) => ({ peerId: `ü${id}`, addresses: ["x".repeat(900)] });
  const peers = [1, 2, 3, 4, 5, 6].map(peer);
  const text = encodeJsonAnswer("t", { payload: undefined, peers });
  assert.ok(new TextEncoder().encode(text).length <= 4_092);
  assert.deepEqual(
    JSON.parse(text).peers.map((peer: { peer_id: string }) => peer.peer_id),
    ["ü1", "ü2", "ü3", "ü4"],
  );
  const long = encodeJsonAnswer("t", {
    payload: undefined,
    peers: [{ peerId: "1", addresses: ["x".repeat(8_000)] }, peer(2)],
  });
  assert.equal(JSON.parse(long).peers.length, 1, "the newest is there even so");
});

Deno.test("an answer is filled to the last byte", () => {
  const peer = { peerId: "1", addresses: [""] };
  const empty = encodeJsonAnswer("t", { payload: undefined, peers: [peer, peer] }).length;
  const exact = { peerId: "1", addresses: ["x".repeat(4_092 - empty)] };
  const answer = (second: typeof peer) =>
    encodeJsonAnswer("t", { payload: undefined, peers: [peer, second] });
  assert.equal(answer(exact).length, 4_092);
  assert.equal(JSON.parse(answer(exact)).peers.length, 2);
  const longer = { peerId: "1", addresses: ["x".repeat(4_093 - empty)] };
  assert.equal(JSON.parse(answer(longer)).peers.length, 1);
});

Deno.test("an announcement and a mistake are answered", () => {
  assert.equal(encodeJsonAnnounced("t"), '{"type":"announced","topic":"t"}');
  assert.equal(encodeJsonError("not JSON"), '{"type":"error","error":"not JSON"}');
});

const PUBLISH = { type: "publish", topic: "a" };
