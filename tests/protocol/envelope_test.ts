import assert from "node:assert/strict";
import fc from "fast-check";
import { fromHex, toHex } from "../../src/base/bytes.ts";
import { ProtocolError } from "../../src/base/errors.ts";
import { encodeCbor } from "../../src/protocol/cbor.ts";
import { decodeEnvelope, encodeEnvelope, type Envelope } from "../../src/protocol/envelope.ts";
import { MessageType } from "../../src/protocol/message_types.ts";
import { formatUuid, messageId, parseUuid } from "../../src/protocol/uuid.ts";

const id = fromHex("0193a54d000070008000000000000001");
const sessionId = new Uint8Array(32).fill(0xab);

Deno.test("encodeEnvelope() leaves out what is absent", () => {
  const envelope = { type: MessageType.Heartbeat, id, payload: new Uint8Array(0) };
  const hex = "a4" + "0001" + "01190400" + "0250" + toHex(id) + "0440";
  assert.equal(toHex(encodeEnvelope(envelope)), hex);
  assert.deepEqual(decodeEnvelope(fromHex(hex)), envelope);
});

Deno.test("encodeEnvelope() writes all six keys in ascending order", () => {
  const envelope: Envelope = {
    type: MessageType.VersionNegotiate,
    id,
    sessionId,
    payload: fromHex("ff"),
    authTag: fromHex("0001"),
  };
  const hex = "a6" + "0001" + "0101" + "0250" + toHex(id) + "035820" + "ab".repeat(32) +
    "0441ff" + "05420001";
  assert.equal(toHex(encodeEnvelope(envelope)), hex);
  assert.deepEqual(decodeEnvelope(fromHex(hex)), envelope);
});

Deno.test("decodeEnvelope() accepts any key order and skips unknown keys", () => {
  const bytes = fromHex(
    "a6" + "0440" + "0250" + toHex(id) + "0001" + "01190400" + "0907" + "617880",
  );
  assert.deepEqual(decodeEnvelope(bytes), {
    type: MessageType.Heartbeat,
    id,
    payload: new Uint8Array(0),
  });
});

Deno.test("decodeEnvelope() refuses what is missing, of another type or out of bounds", () => {
  const valid: [number, number | Uint8Array][] = [
    [0, 1],
    [1, 0x0400],
    [2, id],
    [3, sessionId],
    [4, new Uint8Array(0)],
    [5, new Uint8Array(0)],
  ];
  assert.doesNotThrow(() => decodeEnvelope(encodeCbor(new Map(valid))));
  for (const mandatory of [0, 1, 2, 4]) {
    refuses(encodeCbor(new Map(valid.filter(([key]) => key !== mandatory))));
  }
  const wrong: [number, number | Uint8Array][] = [
    [0, -1],
    [0, 256],
    [1, 0x1_0000],
    [1, id],
    [2, id.subarray(1)],
    [2, 7],
    [3, id],
    [3, 0],
    [4, 0],
    [5, 0],
  ];
  for (const [key, value] of wrong) refuses(encodeCbor(new Map(valid).set(key, value)));
  refuses(fromHex("80"));
  refuses(new Uint8Array(0));
});

Deno.test("decodeEnvelope() refuses another version and says so", () => {
  for (const head of ["a40000", "a40002", "a40018ff"]) {
    assert.throws(() => decodeEnvelope(fromHex(head + "01010250" + toHex(id) + "0440")), {
      name: "ProtocolError",
      code: "unsupported-version",
    });
  }
});

Deno.test("decodeEnvelope() throws nothing but ProtocolError on damaged envelopes", () => {
  const bytes = encodeEnvelope({ type: 1, id, sessionId, payload: id, authTag: id });
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.nat(255), fc.nat(bytes.length), (at, byte, length) => {
      const damaged = bytes.slice(0, length);
      if (at < length) damaged[at] = byte;
      try {
        decodeEnvelope(damaged);
      } catch (error) {
        assert.ok(error instanceof ProtocolError);
      }
    }),
    { numRuns: 2_000 },
  );
});

// RFC 9562, appendix A.6.
const RFC_UUID = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
const RFC_TIME = 1_645_557_742_000;
const RFC_RANDOM = fromHex("0cc318c4dc0c0c07398f");

Deno.test("messageId() makes the UUIDv7 of RFC 9562 appendix A.6", () => {
  assert.equal(formatUuid(messageId(RFC_TIME, RFC_RANDOM)), RFC_UUID);
});

Deno.test("messageId() keeps version and variant whatever the random bytes are", () => {
  const uuid = formatUuid(messageId(RFC_TIME, new Uint8Array(10).fill(0xff)));
  assert.equal(uuid, "017f22e2-79b0-7fff-bfff-ffffffffffff");
});

Deno.test("messageId() sorts by time", () => {
  const early = formatUuid(messageId(RFC_TIME, new Uint8Array(10).fill(0xff)));
  const late = formatUuid(messageId(RFC_TIME + 1, new Uint8Array(10)));
  assert.ok(early < late);
});

Deno.test("messageId() needs exactly 10 random bytes", () => {
  assert.throws(() => messageId(RFC_TIME, new Uint8Array(16)), RangeError);
});

Deno.test("parseUuid() reads what formatUuid() writes, in either case, and nothing else", () => {
  assert.equal(toHex(parseUuid(RFC_UUID)!), RFC_UUID.replaceAll("-", ""));
  assert.deepEqual(parseUuid(RFC_UUID.toUpperCase()), parseUuid(RFC_UUID));
  for (const text of ["", RFC_UUID.replaceAll("-", ""), RFC_UUID + "0", "{" + RFC_UUID + "}"]) {
    assert.equal(parseUuid(text), undefined);
  }
  assert.equal(parseUuid(RFC_UUID.replace("f", "g")), undefined);
  assert.equal(parseUuid(RFC_UUID + "\n"), undefined);
});

function refuses(bytes: Uint8Array): void {
  assert.throws(() => decodeEnvelope(bytes), { name: "ProtocolError", code: "malformed" });
}
