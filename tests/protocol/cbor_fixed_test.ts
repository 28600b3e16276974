import assert from "node:assert/strict";
import fc from "fast-check";
import { toHex } from "../../src/base/bytes.ts";
import { decodeCborMap, encodeCbor } from "../../src/protocol/cbor.ts";
import { FixedReader, FixedWriter } from "../../src/protocol/cbor_fixed.ts";
import type { CborValue } from "../../src/protocol/cbor_value.ts";
import { decodeEnvelope, encodeEnvelope } from "../../src/protocol/envelope.ts";
import { PeerId } from "../../src/protocol/crypto/peer_id.ts";
import {
  decodeForwardAck,
  decodeForwardRequest,
  encodeForwardAck,
  encodeForwardRequest,
} from "../../src/protocol/forward_messages.ts";

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const uint = fc.oneof(
  fc.constantFrom(0, 23, 24, 255, 256, 65_535, 65_536, 2 ** 32 - 1),
  fc.nat(),
);
const body = fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.constant(new Uint8Array(70_000)));
const peer = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(PeerId.ofPublicKey);

Deno.test("FixedWriter writes integers and byte strings as encodeCbor() does", () => {
  fc.assert(fc.property(uint, body, (number, content) => {
    const written = new FixedWriter(content.length, 2).uint(number).bytes(content).finish();
    assert.equal(toHex(written), toHex(encodeCbor(number)) + toHex(encodeCbor(content)));
    const reader = new FixedReader(written);
    assert.equal(reader.uint(), number);
    assert.deepEqual(reader.bytes(), content);
    assert.ok(reader.isWhole);
  }));
  for (const wrong of [-1, 0.5, 2 ** 32, NaN]) {
    assert.throws(() => new FixedWriter(0, 1).uint(wrong), RangeError);
  }
});

Deno.test("FixedReader expects the shortest form, the exact bytes and the exact end", () => {
  const read = (hex: string, step: (reader: FixedReader) => void) => {
    const reader = new FixedReader(Uint8Array.fromHex(hex));
    step(reader);
    return reader.isWhole;
  };
  const number = (reader: FixedReader) => reader.uint();
  const string = (reader: FixedReader) => reader.bytes(1);
  for (const hex of ["17", "1818", "190100", "1a00010000"]) assert.ok(read(hex, number), hex);
  for (const hex of ["", "1817", "1900ff", "1a0000ffff", "1b0000000100000000", "18", "1f", "20"]) {
    assert.ok(!read(hex, number), hex);
  }
  assert.ok(read("41aa", string));
  for (const hex of ["41", "40", "41aabb", "42aabb", "61aa", "5801aa", "5f41aaff"]) {
    assert.ok(!read(hex, string), hex);
  }
  assert.ok(!read("01", (reader) => reader.constant(Uint8Array.of(2))));
});

Deno.test("messages of a fixed form have the bytes that the general codec gives them", () => {
  fc.assert(fc.property(uint, bytes(16), body, peer, (number, id, content, recipient) => {
    const type = number % 0x1_0000;
    const envelope = encodeEnvelope({ type, id, payload: content });
    const fields = new Map<number, CborValue>([[0, 1], [1, type], [2, id], [4, content]]);
    assert.deepEqual(envelope, encodeCbor(fields));
    assert.deepEqual(decodeEnvelope(envelope), { type, id, payload: content });

    const request = {
      msgId: id,
      recipient,
      encryptedPayload: content,
      sequenceNumber: number,
    };
    const decoded = decodeForwardRequest(encodeForwardRequest(request));
    assert.deepEqual({ ...decoded, recipient: null }, { ...request, recipient: null });
    assert.ok(decoded.recipient.equals(recipient));

    const ack = { msgId: id, accepted: true, rejectionReason: null, lastSequence: number };
    const encoded = encodeForwardAck(ack);
    assert.deepEqual(
      encoded,
      encodeCbor(
        new Map<string, CborValue>([
          ["msg_id", id],
          ["accepted", true],
          ["rejection_reason", null],
          ["last_sequence", number],
        ]),
      ),
    );
    assert.deepEqual(decodeForwardAck(encoded), ack);
  }));
});

Deno.test("changed bytes of a fixed form mean what the general codec says, or are refused", () => {
  const request = encodeForwardRequest({
    msgId: new Uint8Array(16).fill(7),
    recipient: PeerId.ofPublicKey(new Uint8Array(32)),
    encryptedPayload: new Uint8Array(30).fill(9),
    sequenceNumber: 300,
  });
  const change = fc.record({
    at: fc.nat(request.length - 1),
    to: fc.nat(255),
    cut: fc.nat(3),
    more: fc.uint8Array({ maxLength: 2 }),
  });
  const outcome = (read: () => unknown) => {
    try {
      return read();
    } catch {
      return "refused";
    }
  };
  fc.assert(
    fc.property(change, ({ at, to, cut, more }) => {
      const changed = Uint8Array.from([...request.subarray(0, request.length - cut), ...more]);
      changed[Math.min(at, changed.length - 1)] = to;
      const general = outcome(() => {
        const map = decodeCborMap(changed);
        return [
          map.bytes("msg_id", 16),
          PeerId.fromBytes(map.bytes("recipient", 34)).toString(),
          map.bytes("encrypted_payload"),
          map.uint("sequence_number"),
        ];
      });
      const special = outcome(() => {
        const { msgId, recipient, encryptedPayload, sequenceNumber } = decodeForwardRequest(
          changed,
        );
        return [msgId, recipient.toString(), encryptedPayload, sequenceNumber];
      });
      assert.deepEqual(special, general);
    }),
    { numRuns: 2_000 },
  );
});
