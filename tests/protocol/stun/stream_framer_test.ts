/** TCP and TLS framing: statements 28 to 33 of docs/relay_checklist.md. */

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { concatBytes, toHex, u16 } from "../../../src/base/bytes.ts";
import { ProtocolError } from "../../../src/base/errors.ts";
import { LAST_CHANNEL } from "../../../src/protocol/stun/channel_data.ts";
import { encodeStunMessage, MessageClass, Method } from "../../../src/protocol/stun/message.ts";
import { MAX_FRAME_LENGTH, StreamFramer } from "../../../src/protocol/stun/stream_framer.ts";

const HEADROOM = 48;

const newFramer = (maxFrameLength = MAX_FRAME_LENGTH) =>
  new StreamFramer({ headroom: HEADROOM, maxFrameLength, lastChannel: LAST_CHANNEL });

const binding = encodeStunMessage({
  method: Method.Binding,
  messageClass: MessageClass.Request,
  transactionId: new Uint8Array(12),
  attributes: [],
});

/** ChannelData as it stands in a stream: padded. */
function channelData(length: number): Uint8Array {
  const padding = new Uint8Array((4 - length % 4) % 4);
  return concatBytes(u16(0x4000), u16(length), new Uint8Array(length).fill(length), padding);
}

/** The frames that come out when `chunks` go in. */
function frames(framer: StreamFramer, chunks: readonly Uint8Array[]): string[] {
  return chunks.flatMap((chunk) => {
    framer.push(chunk);
    const found: string[] = [];
    while (framer.next()) {
      ok(framer.offset >= HEADROOM);
      found.push(toHex(framer.buffer.subarray(framer.offset, framer.offset + framer.length)));
    }
    return found;
  });
}

Deno.test("2-TCP-28 Bytes one at a time are the same frames as all at once", () => {
  const stream = concatBytes(binding, channelData(5), binding);
  const expected = [binding, channelData(5), binding].map(toHex);
  deepStrictEqual(frames(newFramer(), [stream]), expected);
  deepStrictEqual(frames(newFramer(), [...stream].map((byte) => Uint8Array.of(byte))), expected);
});

Deno.test("2-TCP-29 Frames come out in order however the stream is cut", () => {
  const lengths = fc.array(fc.integer({ min: 0, max: 3_000 }), { maxLength: 8 });
  const cuts = fc.array(fc.integer({ min: 1, max: 4_000 }), { minLength: 1, maxLength: 30 });
  fc.assert(fc.property(lengths, cuts, (sizes, steps) => {
    const sent = sizes.map((size) => size % 7 === 0 ? binding : channelData(size));
    const stream = concatBytes(...sent);
    const chunks: Uint8Array[] = [];
    let at = 0;
    while (at < stream.length) {
      const step = steps[chunks.length % steps.length]!;
      chunks.push(stream.subarray(at, at + step));
      at += step;
    }
    deepStrictEqual(frames(newFramer(), chunks), sent.map(toHex));
  }));
});

Deno.test("2-TCP-30 ChannelData ends at the next four bytes, whatever its length", () => {
  for (let length = 0; length < 8; length++) {
    const stream = concatBytes(channelData(length), binding);
    deepStrictEqual(frames(newFramer(), [stream]), [channelData(length), binding].map(toHex));
  }
});

Deno.test("2-TCP-32 What can begin no frame ends the stream", () => {
  const refused = (bytes: Uint8Array, code: string) => {
    const framer = newFramer(2_000);
    framer.push(bytes);
    throws(() => framer.next(), (error) => error instanceof ProtocolError && error.code === code);
  };
  for (const first of [0x50, 0x7f, 0x80, 0xff]) refused(Uint8Array.of(first), "malformed");
  refused(binding.with(4, 0), "malformed");
  refused(binding.with(3, 2), "malformed");
  refused(new TextEncoder().encode("GET / HTTP/1.1\r\n"), "too-large");
  refused(Uint8Array.of(0x40, 0, 0xff, 0xff), "too-large");
});

Deno.test("2-TCP-33 A length of 65,532 with a slow sender costs a bounded buffer", () => {
  const framer = newFramer();
  framer.push(concatBytes(Uint8Array.of(0, 1, 0xff, 0xfc, 0x21, 0x12, 0xa4, 0x42)));
  const byte = new Uint8Array(1);
  const buffers = new Set<Uint8Array>();
  for (let n = 8; n < 65_551; n++) {
    framer.push(byte);
    strictEqual(framer.next(), false);
    buffers.add(framer.buffer);
  }
  ok(buffers.size < 10, "it is not copied for every byte");
  ok(framer.buffer.length <= 2 * MAX_FRAME_LENGTH);
  framer.push(byte);
  ok(framer.next());
  strictEqual(framer.length, 65_552);
  frames(framer, [binding]);
  ok(framer.buffer.length < 8_192, "what a long frame needed is given back");
});

Deno.test("2-TCP-33 A stream whose client is not known yet has a smaller bound", () => {
  const framer = newFramer(1_024);
  framer.push(Uint8Array.of(0, 1, 0x04, 0, 0x21, 0x12, 0xa4, 0x42));
  throws(() => framer.next(), ProtocolError);
});
