import assert from "node:assert/strict";
import fc from "fast-check";
import { fromHex, toHex } from "../../../src/base/bytes.ts";
import { ProtocolError } from "../../../src/base/errors.ts";
import {
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
