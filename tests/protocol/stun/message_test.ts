import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { parseAddressPort } from "../../../src/base/address.ts";
import { concatBytes, toHex, u16, u32, utf8 } from "../../../src/base/bytes.ts";
import {
  AttributeType,
  decodeAddressFamily,
  decodeChannelNumber,
  decodeErrorCode,
  decodeLifetime,
  decodePasswordAlgorithm,
  decodePasswordAlgorithms,
  decodeText,
  decodeXorAddress,
  encodeAddressErrorCode,
  encodeAddressFamily,
  encodeChannelNumber,
  encodeErrorCode,
  encodeLifetime,
  encodePasswordAlgorithm,
  encodePasswordAlgorithms,
  encodeUnknownAttributes,
  encodeXorAddress,
} from "../../../src/protocol/stun/attributes.ts";
import {
  channelDataLength,
  padChannelData,
  writeChannelHeader,
} from "../../../src/protocol/stun/channel_data.ts";
import { fingerprint } from "../../../src/protocol/stun/integrity.ts";
import {
  type Attribute,
  decodeStunMessage,
  encodeStunMessage,
  MessageClass,
  messageType,
  Method,
} from "../../../src/protocol/stun/message.ts";

const id = Uint8Array.from({ length: 12 }, (_, i) => i + 1);

const request = (...attributes: Attribute[]) =>
  encodeStunMessage({
    method: Method.Binding,
    messageClass: MessageClass.Request,
    transactionId: id,
    attributes,
  });

/** Appends raw bytes and counts them in the header. */
function append(message: Uint8Array, ...bytes: number[]): Uint8Array {
  const longer = concatBytes(message, Uint8Array.from(bytes));
  longer.set(u16(longer.length - 20), 2);
  return longer;
}

Deno.test("2-ST-1 A message that is not one decodes to nothing", () => {
  const good = request([AttributeType.Software, utf8("abcd")]);
  const changed = (offset: number, value: number) => good.with(offset, value);
  const cases: readonly [string, Uint8Array][] = [
    ["shorter than a header", good.subarray(0, 19)],
    ["empty", new Uint8Array()],
    ["the top two bits are not zero", changed(0, 0x40)],
    ["another cookie", changed(7, 0x43)],
    ["a length that is no multiple of four", changed(3, 9)],
    ["a length beyond the datagram", changed(3, 12)],
    ["a length short of the datagram", changed(3, 4)],
    ["3489, without a cookie", concatBytes(Uint8Array.of(0, 1, 0, 8), new Uint8Array(24))],
  ];
  ok(decodeStunMessage(good));
  for (const [what, bytes] of cases) strictEqual(decodeStunMessage(bytes), undefined, what);
});

Deno.test("2-ST-6 An attribute that runs past the message makes it malformed", () => {
  const bytes = request([AttributeType.Software, utf8("abcd")]);
  for (const length of [5, 8, 0xffff]) {
    strictEqual(
      decodeStunMessage(concatBytes(bytes.subarray(0, 22), u16(length), utf8("abcd"))),
      undefined,
    );
  }
  strictEqual(decodeStunMessage(append(request(), 0x80, 0x22, 0xff, 0xff)), undefined);
});

Deno.test("2-ST-12 Of an attribute that is repeated the first counts", () => {
  const message = decodeStunMessage(request(
    [AttributeType.Software, utf8("one")],
    [AttributeType.Software, utf8("two")],
  ))!;
  strictEqual(decodeText(message.get(AttributeType.Software)!), "one");
  strictEqual(message.all(AttributeType.Software).length, 2);
});

Deno.test("2-ST-13 Padding may be anything, and any length of a value parses", () => {
  for (const length of [0, 1, 2, 3, 4]) {
    const bytes = request([AttributeType.Software, new Uint8Array(length).fill(7)]);
    bytes.fill(0xee, 24 + length);
    const message = decodeStunMessage(bytes);
    deepStrictEqual(message?.get(AttributeType.Software)?.length, length);
  }
});

Deno.test("2-ST-15 FINGERPRINT comes last, has four bytes, and is right", () => {
  const good = encodeStunMessage({
    method: Method.Binding,
    messageClass: MessageClass.Request,
    transactionId: id,
    attributes: [],
    fingerprint: true,
  });
  ok(decodeStunMessage(good)?.hasFingerprint);
  strictEqual(decodeStunMessage(good.with(27, good[27]! ^ 1)), undefined, "wrong");
  strictEqual(decodeStunMessage(append(good, 0x80, 0x22, 0, 0)), undefined, "not last");
  strictEqual(decodeStunMessage(append(request(), 0x80, 0x28, 0, 0)), undefined, "empty");
  const early = append(request(), 0x80, 0x28, 0, 4, 0, 0, 0, 0, 0x80, 0x22, 0, 0);
  early.set(u32(fingerprint(early, 0, 20)), 24);
  strictEqual(decodeStunMessage(early), undefined, "right, but not last");
});

Deno.test("2-ST-17 2-ST-18 What stands behind an integrity attribute is not there", () => {
  for (const kind of ["sha1", "sha256"] as const) {
    const signed = encodeStunMessage({
      method: Method.Allocate,
      messageClass: MessageClass.Request,
      transactionId: id,
      attributes: [[AttributeType.Lifetime, encodeLifetime(600)]],
      integrity: { kind, key: utf8("key") },
    });
    const message = decodeStunMessage(append(signed, 0, 0x18, 0, 1, 0x80, 0, 0, 0))!;
    ok(message.verify({ kind, key: utf8("key") }));
    strictEqual(message.get(AttributeType.EvenPort), undefined);
    strictEqual(message.has(AttributeType.Lifetime), true);
    const again = [0, kind === "sha1" ? 8 : 0x1c, 0, 4, 1, 2, 3, 4];
    ok(decodeStunMessage(append(signed, ...again))!.verify({ kind, key: utf8("key") }));
    const required = decodeStunMessage(append(signed, 0x7f, 0xff, 0, 0))!;
    deepStrictEqual(required.unknownAttributes(new Set([AttributeType.Lifetime])), []);
  }
});

Deno.test("2-ST-18 MESSAGE-INTEGRITY behind MESSAGE-INTEGRITY-SHA256 does not count", () => {
  const signed = encodeStunMessage({
    method: Method.Allocate,
    messageClass: MessageClass.Request,
    transactionId: id,
    attributes: [],
    integrity: { kind: "sha256", key: utf8("key") },
  });
  const both = decodeStunMessage(append(signed, 0, 8, 0, 20, ...new Array<number>(20).fill(0)))!;
  strictEqual(both.integrityKind, "sha256");
  strictEqual(both.verify({ kind: "sha1", key: utf8("key") }), false);
});

Deno.test("2-AU-48 An integrity attribute of another length is wrong", () => {
  for (const length of [0, 4, 12, 16, 28, 36]) {
    const value = new Array<number>(length).fill(0);
    const sha256 = decodeStunMessage(append(request(), 0, 0x1c, 0, length, ...value))!;
    strictEqual(sha256.integrityKind, "sha256");
    strictEqual(sha256.verify({ kind: "sha256", key: utf8("key") }), false);
    const sha1 = decodeStunMessage(append(request(), 0, 8, 0, length, ...value))!;
    strictEqual(sha1.verify({ kind: "sha1", key: utf8("key") }), false);
  }
});

Deno.test("StunMessage: method and class go into the type and out again", () => {
  for (let method = 0; method <= 0xfff; method++) {
    for (const messageClass of Object.values(MessageClass)) {
      const bytes = encodeStunMessage({ method, messageClass, transactionId: id, attributes: [] });
      const message = decodeStunMessage(bytes);
      ok(message?.method === method && message.messageClass === messageClass);
    }
  }
  strictEqual(messageType(Method.Allocate, MessageClass.Error), 0x0113);
  strictEqual(messageType(Method.Data, MessageClass.Indication), 0x0017);
});

Deno.test("StunMessage: what is encoded decodes to the same", () => {
  const attribute = fc.tuple(
    fc.integer({ min: 0x30, max: 0x7fff }),
    fc.uint8Array({ maxLength: 40 }),
  );
  fc.assert(fc.property(fc.array(attribute), fc.boolean(), (attributes, fingerprint) => {
    const integrity = { kind: "sha256", key: utf8("key") } as const;
    const bytes = encodeStunMessage({
      method: Method.Refresh,
      messageClass: MessageClass.Success,
      transactionId: id,
      attributes,
      integrity,
      fingerprint,
    });
    const message = decodeStunMessage(bytes);
    ok(message);
    ok(message.verify(integrity) && message.hasFingerprint === fingerprint);
    deepStrictEqual(toHex(message.transactionId), toHex(id));
    for (const [type, value] of attributes) {
      ok(message.all(type).some((other) => toHex(other) === toHex(value)));
    }
  }));
});

Deno.test("encodeStunMessage refuses what does not fit", () => {
  const parts = { method: 1, messageClass: MessageClass.Request, attributes: [] };
  throws(() => encodeStunMessage({ ...parts, transactionId: id.subarray(1) }), RangeError);
  throws(() => request([AttributeType.Data, new Uint8Array(0xffff)]), RangeError);
});

Deno.test("2-ST-24 ERROR-CODE splits its number and bounds its reason", () => {
  deepStrictEqual([...encodeErrorCode({ code: 438, reason: "" })], [0, 0, 4, 38]);
  const long = encodeErrorCode({ code: 400, reason: "ä".repeat(500) });
  strictEqual(decodeErrorCode(long)?.reason, "ä".repeat(127));
  deepStrictEqual(decodeErrorCode(encodeErrorCode({ code: 508, reason: "no" })), {
    code: 508,
    reason: "no",
  });
  for (const bytes of [[], [0, 0, 4], [0, 0, 2, 0], [0, 0, 7, 0], [0, 0, 4, 100]]) {
    strictEqual(decodeErrorCode(Uint8Array.from(bytes)), undefined);
  }
  deepStrictEqual(
    [...encodeAddressErrorCode(6, { code: 440, reason: "" })],
    [2, 0, 4, 40],
  );
});

Deno.test("2-ST-25 XOR addresses of both families, and of no other", () => {
  for (const text of ["192.0.2.1:32853", "[2001:db8:1234:5678:11:2233:4455:6677]:1"]) {
    const address = parseAddressPort(text)!;
    const value = encodeXorAddress(address, id);
    deepStrictEqual(decodeXorAddress(value, id), address);
    strictEqual(decodeXorAddress(value.with(1, 3), id), undefined);
    strictEqual(decodeXorAddress(value.with(1, value[1]! ^ 3), id), undefined, "other length");
    strictEqual(decodeXorAddress(value.subarray(1), id), undefined);
  }
  strictEqual(decodeXorAddress(new Uint8Array(), id), undefined);
});

Deno.test("Attributes: values of a wrong length or number are none", () => {
  strictEqual(decodeLifetime(encodeLifetime(0xffffffff)), 0xffffffff);
  strictEqual(decodeLifetime(new Uint8Array(3)), undefined);
  strictEqual(decodeChannelNumber(encodeChannelNumber(0x4001)), 0x4001);
  strictEqual(decodeChannelNumber(new Uint8Array(2)), undefined);
  strictEqual(decodeAddressFamily(encodeAddressFamily(6)), 6);
  strictEqual(decodeAddressFamily(Uint8Array.of(3, 0, 0, 0)), undefined);
  strictEqual(decodeAddressFamily(Uint8Array.of(1)), undefined);
  strictEqual(decodePasswordAlgorithm(encodePasswordAlgorithm("sha-256")), "sha-256");
  strictEqual(decodePasswordAlgorithm(Uint8Array.of(0, 3, 0, 0)), undefined);
  strictEqual(decodePasswordAlgorithm(Uint8Array.of(0, 1, 0, 4)), undefined);
  deepStrictEqual(decodePasswordAlgorithms(encodePasswordAlgorithms(["sha-256", "md5"])), [
    "sha-256",
    "md5",
  ]);
  const withUnknown = Uint8Array.of(0, 9, 0, 3, 1, 2, 3, 0, 0, 1, 0, 0);
  deepStrictEqual(decodePasswordAlgorithms(withUnknown), ["md5"]);
  strictEqual(decodePasswordAlgorithms(Uint8Array.of(0, 1)), undefined);
  strictEqual(decodePasswordAlgorithms(Uint8Array.of(0, 1, 0, 9, 0, 0, 0, 0)), undefined);
  strictEqual(decodeText(Uint8Array.of(0xff)), undefined);
  strictEqual(toHex(encodeUnknownAttributes([0x7fff, 1])), "7fff0001");
});

Deno.test("ChannelData: a header goes in front, the length is believed only if it is there", () => {
  const buffer = Uint8Array.of(9, 9, 9, 9, 1, 2, 3, 4, 5, 9, 9, 9);
  writeChannelHeader(buffer, 0, 0x4abc, 5);
  strictEqual(toHex(buffer), "4abc00050102030405090909");
  strictEqual(channelDataLength(buffer, 0, 9), 5);
  strictEqual(channelDataLength(buffer, 0, 12), 5, "padding");
  strictEqual(channelDataLength(buffer, 0, 8), -1);
  strictEqual(channelDataLength(buffer, 0, 3), -1);
  strictEqual(padChannelData(buffer, 0, 9), 12);
  strictEqual(toHex(buffer), "4abc00050102030405000000");
});
