import assert from "node:assert/strict";
import fc from "fast-check";
import { fromHex, toHex } from "../../../src/base/bytes.ts";
import { ProtocolError } from "../../../src/base/errors.ts";
import {
  decodeCanonicalFrame,
  decodeSignalFrame,
  encodeSignalFrame,
  type SignalFrame,
} from "../../../src/protocol/signal/signal_frame.ts";

/** The reference's own bytes. */
const SAMPLES: [hex: string, frame: SignalFrame][] = [
  ["a169537562736372696265a165746f70696363616263", { kind: "Subscribe", topic: "abc" }],
  ["a16b556e737562736372696265a165746f70696363616263", { kind: "Unsubscribe", topic: "abc" }],
  [
    "a16552656c6179a265746f70696363616263677061796c6f6164420102",
    { kind: "Relay", topic: "abc", payload: Uint8Array.of(1, 2) },
  ],
];

for (const [hex, frame] of SAMPLES) {
  Deno.test(`${frame.kind}: the bytes are the reference's`, () => {
    assert.equal(toHex(encodeSignalFrame(frame)), hex);
    assert.deepEqual(decodeSignalFrame(fromHex(hex)), frame);
  });
}

Deno.test("decodeSignalFrame() leaves the payload where it is", () => {
  const bytes = fromHex(SAMPLES[2]![0]);
  const frame = decodeSignalFrame(bytes);
  assert.equal(frame.kind === "Relay" && frame.payload.buffer, bytes.buffer);
});

Deno.test("decodeSignalFrame() accepts the payload before the topic", () => {
  const swapped = "a16552656c6179a2677061796c6f616442010265746f70696363616263";
  assert.deepEqual(decodeSignalFrame(fromHex(swapped)), SAMPLES[2]![1]);
});

Deno.test("decodeSignalFrame() refuses everything else", () => {
  const refused: Record<string, string> = {
    "nothing": "",
    "not CBOR": "ff",
    "not a map": "63616263",
    "an empty map": "a0",
    "two frames in one": "a2" + SAMPLES[0]![0].slice(2) + SAMPLES[1]![0].slice(2),
    "an unknown name": "a164506f6f6ca165746f70696363616263",
    "the name in lower case": "a169737562736372696265a165746f70696363616263",
    "a number as name": "a101a165746f70696363616263",
    "no content": "a169537562736372696265f6",
    "no topic": "a169537562736372696265a0",
    "a byte string as topic": "a169537562736372696265a165746f70696343616263",
    "a topic of 257 bytes": "a169537562736372696265a165746f706963790101" + "61".repeat(257),
    "a relay without payload": "a16552656c6179a165746f70696363616263",
    "text as payload": "a16552656c6179a265746f70696363616263677061796c6f6164620102",
    "trailing bytes": SAMPLES[0]![0] + "00",
  };
  for (const [name, hex] of Object.entries(refused)) {
    assert.throws(() => decodeSignalFrame(fromHex(hex)), { code: "malformed" }, name);
  }
});

Deno.test("decodeSignalFrame() throws nothing but ProtocolError on damaged frames", () => {
  const bytes = fromHex(SAMPLES[2]![0]);
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.nat(255), fc.nat(bytes.length), (at, byte, length) => {
      const damaged = bytes.slice(0, length);
      if (at < length) damaged[at] = byte;
      try {
        decodeSignalFrame(damaged);
      } catch (error) {
        assert.ok(error instanceof ProtocolError);
      }
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("decodeCanonicalFrame() takes the reference's bytes, and leaves the payload where it is", () => {
  for (const [hex, frame] of SAMPLES) {
    assert.deepEqual(decodeCanonicalFrame(fromHex(hex)), frame);
  }
  const bytes = fromHex(SAMPLES[2]![0]);
  const frame = decodeCanonicalFrame(bytes);
  assert.ok(frame?.kind === "Relay");
  assert.equal(frame.payload.buffer, bytes.buffer);
});

Deno.test("decodeCanonicalFrame() takes exactly what encodeSignalFrame() makes", () => {
  const topic = fc.string({ unit: "grapheme", maxLength: 60 });
  const length = fc.constantFrom(0, 1, 23, 24, 255, 256, 60_000);
  fc.assert(fc.property(topic, length, (topic, length) => {
    const frames: SignalFrame[] = [
      { kind: "Subscribe", topic },
      { kind: "Unsubscribe", topic },
      { kind: "Relay", topic, payload: new Uint8Array(length).fill(7) },
    ];
    for (const frame of frames) {
      assert.deepEqual(decodeCanonicalFrame(encodeSignalFrame(frame)), frame);
    }
  }));
});

Deno.test("what decodeCanonicalFrame() takes encodes to the same bytes, whatever was changed", () => {
  const samples = fc.constantFrom(...SAMPLES.map(([hex]) => hex));
  const change = fc.record({ at: fc.nat(40), byte: fc.nat(255), cut: fc.nat(4), more: fc.nat(2) });
  fc.assert(
    fc.property(samples, change, (hex, { at, byte, cut, more }) => {
      const sample = fromHex(hex);
      const bytes = new Uint8Array(Math.max(0, sample.length - cut) + more);
      bytes.set(sample.subarray(0, Math.min(sample.length, bytes.length)));
      if (at < bytes.length) bytes[at] = byte;
      const frame = decodeCanonicalFrame(bytes);
      if (!frame) return;
      assert.deepEqual(encodeSignalFrame(frame), bytes);
      assert.deepEqual(decodeSignalFrame(bytes), frame);
    }),
    { numRuns: 20_000 },
  );
});

const NOT_CANONICAL = {
  "a length in more bytes than needed": "a169537562736372696265a165746f7069637803616263",
  "payload before topic": "a16552656c6179a2677061796c6f616442010265746f70696363616263",
  "a byte too many": "a169537562736372696265a165746f7069636361626300",
  "a topic that is no UTF-8": "a169537562736372696265a165746f70696363ff6263",
  "a topic as bytes": "a169537562736372696265a165746f70696343616263",
  "a payload as text": "a16552656c6179a265746f70696363616263677061796c6f6164626162",
  "a payload longer than the frame":
    "a16552656c6179a265746f70696363616263677061796c6f61645a00100000",
  "nothing": "",
};

for (const [what, hex] of Object.entries(NOT_CANONICAL)) {
  Deno.test(`decodeCanonicalFrame() leaves ${what} to others`, () => {
    assert.equal(decodeCanonicalFrame(fromHex(hex)), undefined);
  });
}

Deno.test("decodeCanonicalFrame() takes a topic of 256 bytes and no longer one", () => {
  const frame = (length: number): SignalFrame => ({ kind: "Subscribe", topic: "x".repeat(length) });
  assert.deepEqual(decodeCanonicalFrame(encodeSignalFrame(frame(256))), frame(256));
  assert.equal(decodeCanonicalFrame(encodeSignalFrame(frame(257))), undefined);
});
