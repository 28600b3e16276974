import { deepEqual, equal } from "node:assert/strict";
import { PeerId } from "../../../src/protocol/crypto/peer_id.ts";
import {
  openSealedMessage,
  type SealedMessage,
  sealMessage,
  SeenMessages,
} from "../../../src/protocol/rendezvous/sealed_message.ts";

const ALICE = PeerId.ofPublicKey(new Uint8Array(32).fill(1));
const BOB = PeerId.ofPublicKey(new Uint8Array(32).fill(2));
const SECRET = new Uint8Array(32).fill(7);
const TOPIC = "aa".repeat(32);
const NOW = 1_700_000_000;
const OFFER: SealedMessage = {
  id: new Uint8Array(16).fill(9),
  time: NOW,
  kind: "offer",
  candidates: [{ type: "ws", value: "ws://192.0.2.1:9091/link" }],
};

function sealed(message = OFFER): Uint8Array {
  return sealMessage(
    { secret: SECRET, sender: ALICE, topic: TOPIC, nonce: new Uint8Array(24).fill(3) },
    message,
  );
}

function open(payload: Uint8Array, change: Partial<Parameters<typeof openSealedMessage>[0]> = {}) {
  return openSealedMessage(
    { secret: SECRET, sender: ALICE, topic: TOPIC, now: NOW, ...change },
    payload,
  );
}

Deno.test("A sealed message opens for the peer it is for, on its topic", () => {
  deepEqual(open(sealed()), OFFER);
});

Deno.test("A sealed message carries what a path of datagrams needs", () => {
  const message: SealedMessage = {
    ...OFFER,
    kind: "answer",
    candidates: [{ type: "srflx", value: "198.51.100.1:4000" }],
    path: {
      session: new Uint8Array(16).fill(1),
      password: new Uint8Array(16).fill(2),
      certificate: new Uint8Array(300).fill(3),
    },
    relays: [{ uri: "turn:relay.example:3478", username: "1800000000:x", password: "p" }],
  };
  deepEqual(open(sealed(message)), message);
});

Deno.test("A sealed message with a certificate or credentials out of bounds is dropped", () => {
  const path = { session: new Uint8Array(16), password: new Uint8Array(16) };
  equal(
    open(sealed({ ...OFFER, path: { ...path, certificate: new Uint8Array(2_049) } })),
    undefined,
  );
  equal(open(sealed({ ...OFFER, path: { ...path, password: new Uint8Array(15) } })), undefined);
  const relay = { uri: "turn:relay.example", username: "u", password: "p" };
  equal(open(sealed({ ...OFFER, relays: [{ ...relay, password: "p".repeat(513) }] })), undefined);
  equal(open(sealed({ ...OFFER, relays: Array(5).fill(relay) })), undefined);
});

Deno.test("A sealed message opens under no other secret, sender or topic", () => {
  equal(open(sealed(), { secret: new Uint8Array(32).fill(8) }), undefined);
  equal(open(sealed(), { sender: BOB }), undefined);
  equal(open(sealed(), { topic: "bb".repeat(32) }), undefined);
});

Deno.test("A sealed message is dropped when it is more than 300 s off the clock", () => {
  deepEqual(open(sealed(), { now: NOW + 300 }), OFFER);
  equal(open(sealed(), { now: NOW + 301 }), undefined);
  deepEqual(open(sealed(), { now: NOW - 300 }), OFFER);
  equal(open(sealed(), { now: NOW - 301 }), undefined);
});

Deno.test("Sealed messages have the same length up to the next 256 bytes", () => {
  const lengths = [0, 1, 2].map((count) =>
    sealed({ ...OFFER, candidates: Array(count).fill({ type: "ws", value: "ws://h:1" }) }).length
  );
  deepEqual(lengths, [24 + 256 + 16, 24 + 256 + 16, 24 + 256 + 16]);
});

Deno.test("What is not a sealed message opens to nothing and never throws", () => {
  const good = sealed();
  for (let length = 0; length < good.length; length += 7) {
    equal(open(good.subarray(0, length)), undefined);
  }
  for (let at = 0; at < good.length; at += 11) {
    const bad = good.slice();
    bad[at]! ^= 1;
    equal(open(bad), undefined);
  }
  equal(open(new Uint8Array(20_000)), undefined);
});

Deno.test("SeenMessages tells a repeat, and an answer from its offer, within its bound", () => {
  const seen = new SeenMessages(2);
  equal(seen.isNew(OFFER), true);
  equal(seen.isNew(OFFER), false);
  equal(seen.isNew({ ...OFFER, kind: "answer" }), true);
  equal(seen.isNew({ ...OFFER, id: new Uint8Array(16) }), true);
  equal(seen.isNew(OFFER), true, "the oldest was forgotten");
});
