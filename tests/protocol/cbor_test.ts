import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { concatBytes, fromHex, toHex, utf8 } from "../../src/base/bytes.ts";
import { ProtocolError } from "../../src/base/errors.ts";
import { decodeCbor, decodeCborMap, encodeCbor } from "../../src/protocol/cbor.ts";
import type { CborValue } from "../../src/protocol/cbor_value.ts";

const oneTo25 = Array.from({ length: 25 }, (_, index) => index + 1);
const map = (...entries: [number | string, CborValue][]) => new Map(entries);

/** RFC 8949 appendix A, the examples that the protocol's CBOR has, in the RFC's order. */
const EXAMPLES: [hex: string, value: CborValue][] = [
  ["00", 0],
  ["01", 1],
  ["0a", 10],
  ["17", 23],
  ["1818", 24],
  ["1819", 25],
  ["1864", 100],
  ["1903e8", 1000],
  ["1a000f4240", 1_000_000],
  ["1b000000e8d4a51000", 1_000_000_000_000],
  ["20", -1],
  ["29", -10],
  ["3863", -100],
  ["3903e7", -1000],
  ["f4", false],
  ["f5", true],
  ["f6", null],
  ["40", new Uint8Array(0)],
  ["4401020304", Uint8Array.of(1, 2, 3, 4)],
  ["60", ""],
  ["6161", "a"],
  ["6449455446", "IETF"],
  ["62225c", '"\\'],
  ["62c3bc", "\u00fc"],
  ["63e6b0b4", "\u6c34"],
  ["64f0908591", "\ud800\udd51"],
  ["80", []],
  ["83010203", [1, 2, 3]],
  ["8301820203820405", [1, [2, 3], [4, 5]]],
  ["98190102030405060708090a0b0c0d0e0f101112131415161718181819", oneTo25],
  ["a0", map()],
  ["a201020304", map([1, 2], [3, 4])],
  ["a26161016162820203", map(["a", 1], ["b", [2, 3]])],
  ["826161a161626163", ["a", map(["b", "c"])]],
  [
    "a56161614161626142616361436164614461656145",
    map(["a", "A"], ["b", "B"], ["c", "C"], ["d", "D"], ["e", "E"]),
  ],
];

/** RFC 8949 appendix A, the rest, by the reason for which it is refused. */
const REFUSED_EXAMPLES: Record<string, string[]> = {
  "integer beyond 2^53 - 1": ["1bffffffffffffffff", "3bffffffffffffffff"],
  "float": [
    "f90000",
    "f98000",
    "f93c00",
    "fb3ff199999999999a",
    "f93e00",
    "f97bff",
    "fa47c35000",
    "fa7f7fffff",
    "fb7e37e43c8800759c",
    "f90001",
    "f90400",
    "f9c400",
    "fbc010666666666666",
    "f97c00",
    "f97e00",
    "f9fc00",
    "fa7f800000",
    "fa7fc00000",
    "faff800000",
    "fb7ff0000000000000",
    "fb7ff8000000000000",
    "fbfff0000000000000",
  ],
  "undefined or unassigned simple value": ["f7", "f0", "f8ff"],
  "tag": [
    "c249010000000000000000",
    "c349010000000000000000",
    "c074323031332d30332d32315432303a30343a30305a",
    "c11a514b67b0",
    "c1fb41d452d9ec200000",
    "d74401020304",
    "d818456449455446",
    "d82076687474703a2f2f7777772e6578616d706c652e636f6d",
  ],
  "indefinite length": [
    "5f42010243030405ff",
    "7f657374726561646d696e67ff",
    "9fff",
    "9f018202039f0405ffff",
    "9f01820203820405ff",
    "83018202039f0405ff",
    "83019f0203ff820405",
    "9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff",
    "bf61610161629f0203ffff",
    "826161bf61626163ff",
    "bf6346756ef563416d7421ff",
  ],
};

const HOSTILE: Record<string, string> = {
  "nothing": "",
  "a byte string cut off": "44010203",
  "a text string cut off": "6461",
  "a length cut off": "59ff",
  "a byte string of 2^32 - 1": "5affffffff",
  "a byte string of 2^32": "5b0000000100000000",
  "a byte string of 2^64 - 1": "5bffffffffffffffff",
  "a text string of 2^64 - 1": "7bffffffffffffffff",
  "an array of 2^25 in 5 bytes": "9a02000000",
  "an array of 2^64 - 1": "9bffffffffffffffff",
  "a map of 2^25 in 5 bytes": "ba02000000",
  "nested arrays of 2^25": "9a020000009a020000009a020000009a02000000",
  "an array that lacks an item": "8201",
  "a map that lacks its last value": "a2010203",
  "a map that lacks a key": "a1",
  "trailing bytes": "0000",
  "a trailing break": "80ff",
  "a lone break": "ff",
  "a break in an array": "81ff",
  "duplicate integer keys": "a201010102",
  "duplicate text keys": "a2616101616102",
  "a non-minimal integer of 1 byte": "1817",
  "a non-minimal integer of 2 bytes": "1900ff",
  "a non-minimal integer of 4 bytes": "1a0000ffff",
  "a non-minimal integer of 8 bytes": "1b00000000ffffffff",
  "a non-minimal negative integer": "3817",
  "a non-minimal byte string length of 1 byte": "580100",
  "a non-minimal text length of 2 bytes": "7900ff" + "61".repeat(255),
  "a non-minimal byte string length of 4 bytes": "5a0000ffff" + "00".repeat(65_535),
  "a non-minimal array length": "980100",
  "a non-minimal map length": "b8010102",
  "reserved length 28": "1c",
  "reserved length 30 of a string": "5e00",
  "a simple value in one byte": "e0",
  "a simple value in two bytes": "f8f4",
  "invalid UTF-8, short": "62c328",
  "invalid UTF-8, long": "7828" + "61".repeat(39) + "ff",
  "an overlong UTF-8 sequence": "62c080",
  "a UTF-8 surrogate": "63eda080",
  "invalid UTF-8 in a key": "a161ff01",
  "a byte string as key": "a1410001",
  "an array as key": "a18001",
  "a map as key": "a1a001",
  "null as key": "a1f601",
  "true as key": "a1f501",
  "a bignum as value": "a100c24101",
  "nine levels of arrays": "81".repeat(9) + "00",
  "nine levels of maps": "a100".repeat(9) + "00",
  "nine levels, the innermost empty": "81".repeat(8) + "80",
  "100,000 levels": "81".repeat(100_000) + "00",
};

Deno.test("decodeCbor() reads the examples of RFC 8949 appendix A", () => {
  for (const [hex, value] of EXAMPLES) assert.deepEqual(decodeCbor(fromHex(hex)), value, hex);
});

Deno.test("encodeCbor() writes the examples of RFC 8949 appendix A", () => {
  for (const [hex, value] of EXAMPLES) assert.equal(toHex(encodeCbor(value)), hex);
});

Deno.test("decodeCbor() refuses the rest of RFC 8949 appendix A by stated policy", () => {
  const refused = Object.entries(REFUSED_EXAMPLES);
  for (const [policy, examples] of refused) {
    for (const hex of examples) assertMalformed(fromHex(hex), `${policy}: ${hex}`);
  }
  const total = EXAMPLES.length + refused.reduce((sum, [, examples]) => sum + examples.length, 0);
  assert.equal(total, 81);
});

Deno.test("decodeCbor() refuses what strangers may try", () => {
  for (const [name, hex] of Object.entries(HOSTILE)) assertMalformed(fromHex(hex), name);
});

Deno.test("decodeCbor() accepts the bounds that it states", () => {
  assert.doesNotThrow(() => decodeCbor(fromHex("81".repeat(8) + "00")));
  assert.doesNotThrow(() => decodeCbor(fromHex("a100".repeat(8) + "00")));
  assert.equal(decodeCbor(fromHex("1b001fffffffffffff")), Number.MAX_SAFE_INTEGER);
  assertMalformed(fromHex("1b0020000000000000"), "2^53");
});

Deno.test("decodeCbor() counts depth, not containers", () => {
  const sides = Array.from({ length: 100 }, () => [[0]]);
  assert.deepEqual(decodeCbor(encodeCbor(sides)), sides);
});

Deno.test("decodeCbor() keeps a real replacement character", () => {
  assert.equal(decodeCbor(fromHex("63efbfbd")), "\ufffd");
});

Deno.test("decodeCbor() keeps a byte order mark in text", () => {
  assert.equal(decodeCbor(fromHex("64efbbbf61")), "\ufeffa");
});

Deno.test("decodeCbor() returns byte strings as views, also from inside a larger buffer", () => {
  const frame = Buffer.concat([Buffer.from("ff"), Buffer.from("43010203", "hex")]).subarray(2);
  const bytes = decodeCbor(frame);
  assert.ok(bytes instanceof Uint8Array && !(bytes instanceof Buffer));
  assert.deepEqual(bytes, Uint8Array.of(1, 2, 3));
  frame[1] = 9;
  assert.equal(bytes[0], 9);
});

Deno.test("a map key named __proto__ is an ordinary key", () => {
  const decoded = decodeCbor(fromHex("a1695f5f70726f746f5f5f01"));
  assert.deepEqual(decoded, map(["__proto__", 1]));
});

Deno.test("encodeCbor() keeps the order in which map entries were inserted", () => {
  assert.equal(
    toHex(encodeCbor(map(["b", 1], ["a", 2], [1, 3], [0, 4]))),
    "a461620161610201030004",
  );
});

Deno.test("encodeCbor() returns an exactly sized array of its own, never a Buffer", () => {
  for (const length of [0, 10, 147, 5000, 200_000]) {
    const encoded = encodeCbor(map(["nested", [new Uint8Array(length)]]));
    assert.ok(!(encoded instanceof Buffer));
    assert.equal(encoded.buffer.byteLength, encoded.length);
  }
});

Deno.test("encodeCbor() encodes a Buffer and a view as the bytes that they show", () => {
  assert.equal(toHex(encodeCbor(Buffer.from([1, 2]))), "420102");
  assert.equal(toHex(encodeCbor(Uint8Array.of(9, 1, 2, 9).subarray(1, 3))), "420102");
});

Deno.test("encodeCbor() refuses what the protocol's CBOR has not", () => {
  for (const number of [0.5, NaN, Infinity, 2 ** 53, -(2 ** 53)]) {
    assert.throws(() => encodeCbor([number]), RangeError);
  }
  assert.throws(() => encodeCbor("\ud800"), TypeError);
  assert.throws(() => encodeCbor(map(["\udc00", 1])), TypeError);
});

Deno.test("CborMap getters return fields and refuse what does not fit", () => {
  const fields = decodeCborMap(encodeCbor(map(
    [0, fromHex("0102")],
    ["n", 7],
    ["t", "für"],
    ["b", true],
    ["a", [1, 2]],
    ["null", null],
    ["-", -1],
    ["ids", [fromHex("aa"), fromHex("bb")]],
    ["rows", [[1, "x"], [2, "y"]]],
    ["inner", map([0, 5])],
  )));
  assert.deepEqual(fields.bytes(0), fromHex("0102"));
  assert.deepEqual(fields.bytes(0, 2), fromHex("0102"));
  assert.deepEqual(fields.bytesUpTo(0, 2), fromHex("0102"));
  assert.equal(fields.uint("n", 7), 7);
  assert.equal(fields.text("t", 4), "für");
  assert.equal(fields.boolean("b"), true);
  assert.deepEqual(fields.array("a", 2), [1, 2]);
  assert.deepEqual(fields.bytesArray("ids", 1, 2), [fromHex("aa"), fromHex("bb")]);
  assert.deepEqual(fields.uintArray("a", 2, 2), [1, 2]);
  assert.deepEqual(fields.rows("rows", 2, 2).map((row) => [row.uint(0), row.text(1, 1)]), [
    [1, "x"],
    [2, "y"],
  ]);
  assert.equal(fields.row("a", 2).uint(1), 2);
  assert.equal(fields.map("inner").uint(0), 5);
  assert.deepEqual([fields.has(0), fields.has("null"), fields.has("absent")], [true, false, false]);
  assert.equal(fields.size, 10);
  const refused = [
    () => fields.bytes(0, 3),
    () => fields.bytes("n"),
    () => fields.bytes("absent"),
    () => fields.bytesUpTo(0, 1),
    () => fields.uint("n", 6),
    () => fields.uint("-"),
    () => fields.uint("t"),
    () => fields.text("t", 3),
    () => fields.text("n", 9),
    () => fields.boolean("n"),
    () => fields.boolean("null"),
    () => fields.array("a", 1),
    () => fields.array("n", 1),
    () => fields.bytesArray("ids", 2, 2),
    () => fields.bytesArray("ids", 1, 1),
    () => fields.bytesArray("a", 1, 2),
    () => fields.uintArray("a", 1, 2),
    () => fields.rows("rows", 1, 2),
    () => fields.rows("rows", 2, 1),
    () => fields.rows("a", 1, 2),
    () => fields.row("a", 1),
    () => fields.row("a", 3),
    () => fields.map("a"),
  ];
  for (const read of refused) assert.throws(read, { name: "ProtocolError", code: "malformed" });
});

Deno.test("decodeCborMap() refuses any other value", () => {
  for (const hex of ["00", "80", "f6", "40"]) {
    assert.throws(() => decodeCborMap(fromHex(hex)), { name: "ProtocolError", code: "malformed" });
  }
});

Deno.test("whatever encodeCbor() writes, decodeCbor() reads back", () => {
  fc.assert(fc.property(cborValue(), (value) => {
    assert.deepEqual(decodeCbor(encodeCbor(value)), value);
  }));
});

Deno.test("decodeCbor() throws nothing but ProtocolError on random bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), neverThrowsOtherwise),
    { numRuns: 5_000 },
  );
});

Deno.test("decodeCbor() throws nothing but ProtocolError on damaged encodings", () => {
  const damage = fc.record({ at: fc.nat(), byte: fc.nat(255), cut: fc.nat(), tail: fc.boolean() });
  fc.assert(
    fc.property(cborValue(), damage, (value, { at, byte, cut, tail }) => {
      const bytes = encodeCbor(value);
      bytes[at % bytes.length] = byte;
      const damaged = bytes.subarray(0, bytes.length - cut % bytes.length);
      neverThrowsOtherwise(tail ? concatBytes(damaged, utf8("x")) : damaged);
    }),
    { numRuns: 2_000 },
  );
});

function cborValue(): fc.Arbitrary<CborValue> {
  const { value } = fc.letrec<{ value: CborValue }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 5, withCrossShrink: true },
      fc.maxSafeInteger().map((integer) => integer === 0 ? 0 : integer),
      fc.string({ unit: "binary" }).filter((text) => text.isWellFormed()),
      fc.boolean(),
      fc.constant(null),
      fc.uint8Array().map((bytes) => bytes.slice()),
      fc.array(tie("value"), { maxLength: 5 }),
      fc.array(fc.tuple(fc.oneof(fc.nat(), fc.string()), tie("value")), { maxLength: 5 })
        .map((entries) => new Map(entries)),
    ),
  }));
  return value;
}

function neverThrowsOtherwise(bytes: Uint8Array): void {
  try {
    decodeCbor(bytes);
  } catch (error) {
    assert.ok(error instanceof ProtocolError);
  }
}

function assertMalformed(bytes: Uint8Array, message: string): void {
  assert.throws(() => decodeCbor(bytes), { name: "ProtocolError", code: "malformed" }, message);
}
