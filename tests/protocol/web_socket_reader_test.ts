import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { concatBytes, fromHex, toHex, u16, utf8 } from "../../src/base/bytes.ts";
import { FrameReader } from "../../src/protocol/web_socket_reader.ts";
import { clientFrame as frame } from "../support/client_frames.ts";

const MAX_LENGTH = 100_000;
const FIN = 0x80;
const [CONT, TEXT, BINARY, CLOSE, PING, PONG] = [0x0, 0x1, 0x2, 0x8, 0x9, 0xa] as const;

/** One client's bytes, and what a reader makes of them. */
type Case = readonly [name: string, bytes: readonly Uint8Array[], outcome: readonly string[]];

const text = (content: string) => frame(FIN | TEXT, utf8(content));
const closing = (code: number, reason: Uint8Array = utf8("")) =>
  frame(FIN | CLOSE, concatBytes(u16(code), reason));
const ofLength = (length: number) => new Uint8Array(length).fill(0x2a);

/** In the order, and by the numbers, of the chapters of the Autobahn test suite. */
const CASES: readonly Case[] = [
  ...[0, 125, 126, 127, 128, 65_535, 65_536, MAX_LENGTH].flatMap((length): Case[] => [
    [`1.1 text of ${length}`, [frame(FIN | TEXT, ofLength(length))], [`text ${length}`]],
    [`1.2 binary of ${length}`, [frame(FIN | BINARY, ofLength(length))], [`binary ${length}`]],
  ]),
  ["2.1 ping without payload", [frame(FIN | PING)], ["ping 0"]],
  ["2.3 ping with binary payload", [frame(FIN | PING, fromHex("00fffefdfcfb00ff"))], ["ping 8"]],
  ["2.4 ping of 125", [frame(FIN | PING, ofLength(125))], ["ping 125"]],
  ["2.5 ping of 126", [frame(FIN | PING, ofLength(126))], ["breach 1002"]],
  ["2.5 pong of 126", [frame(FIN | PONG, ofLength(126))], ["breach 1002"]],
  ["2.7 unsolicited pong", [frame(FIN | PONG), frame(FIN | PING)], ["pong 0", "ping 0"]],
  ...[0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70].flatMap((rsv): Case[] => [
    [`3 RSV ${rsv >> 4} on text`, [frame(FIN | rsv | TEXT, utf8("x"))], ["breach 1002"]],
    [`3 RSV ${rsv >> 4} on ping`, [text("ok"), frame(FIN | rsv | PING)], [
      "text ok",
      "breach 1002",
    ]],
    [`3 RSV ${rsv >> 4} on close`, [frame(FIN | rsv | CLOSE)], ["breach 1002"]],
  ]),
  ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].flatMap((opcode): Case[] => [
    [`4 opcode ${opcode}`, [frame(FIN | opcode)], ["breach 1002"]],
    [`4 opcode ${opcode} with payload`, [text("ok"), frame(FIN | opcode, utf8("x")), text("no")], [
      "text ok",
      "breach 1002",
    ]],
    [`4 opcode ${opcode} amid fragments`, [frame(TEXT), frame(FIN | opcode)], ["breach 1002"]],
  ]),
  ["5.1 fragmented ping", [frame(PING, utf8("f1")), frame(FIN | CONT)], ["breach 1002"]],
  ["5.2 fragmented pong", [frame(PONG, utf8("f1")), frame(FIN | CONT)], ["breach 1002"]],
  ["5 fragmented close", [frame(CLOSE)], ["breach 1002"]],
  ["5.3 two fragments", [frame(TEXT, utf8("fr")), frame(FIN | CONT, utf8("ag"))], ["text frag"]],
  ["5.6 a ping between fragments", [
    frame(TEXT, utf8("fr")),
    frame(FIN | PING, utf8("p")),
    frame(FIN | CONT, utf8("ag")),
  ], ["ping 1", "text frag"]],
  ["5.9 nothing to continue", [frame(FIN | CONT, utf8("x")), text("no")], ["breach 1002"]],
  ["5.11 nothing to continue", [frame(CONT, utf8("x"))], ["breach 1002"]],
  ["5.12 nothing to continue after a message", [
    frame(BINARY, utf8("a")),
    frame(FIN | CONT, utf8("b")),
    frame(FIN | CONT, utf8("c")),
  ], ["binary 2", "breach 1002"]],
  ["5.18 a message amid fragments", [frame(TEXT, utf8("a")), text("b")], ["breach 1002"]],
  ["5.18 fragments amid fragments", [frame(TEXT), frame(BINARY)], ["breach 1002"]],
  ["5.19 many fragments and pings", [
    ...Array.from({ length: 100 }, (_, i) => [
      frame(i === 0 ? TEXT : CONT, utf8("a")),
      frame(FIN | PING),
    ]).flat(),
    frame(FIN | CONT),
  ], [...new Array<string>(100).fill("ping 0"), "text 100"]],
  ["5 empty fragments", [frame(BINARY), frame(CONT), frame(FIN | CONT)], ["binary 0"]],
  ["5 256 fragments", fragments(256), ["binary 0"]],
  ["5 257 fragments", fragments(257), ["breach 1008"]],
  ["5 a message that is too long in all", [
    frame(BINARY, ofLength(60_000)),
    frame(CONT, ofLength(40_001)),
  ], ["breach 1009"]],
  ["6.1 text of no bytes in three", [frame(TEXT), frame(CONT), frame(FIN | CONT)], ["text 0"]],
  ...["κόσμε", "\ufeffa", "\u0000", "\uffff", "\u{10ffff}", "\ud7ff\ue000"].map((valid): Case => [
    `6 valid ${JSON.stringify(valid)}`,
    [text(valid)],
    [`text ${valid}`],
  ]),
  ["6.2 a character in two fragments", [
    frame(TEXT, fromHex("ceba")),
    frame(CONT, fromHex("e1")),
    frame(FIN | CONT, fromHex("bdb9")),
  ], ["text κ\u1f79"]],
  ...[
    ["6.3 surrogate among text", "cebae1bdb9cf83cebcceb5eda080656469746564"],
    ["6.4 beyond U+10FFFF", "cebae1bdb9cf83cebcceb5f4908080656469746564"],
    ["6.6 character cut off", "cebae1bdb9cf83ce"],
    ["6.12 lonely continuation", "80"],
    ["6.14 lonely start", "c0"],
    ["6.15 incomplete sequence", "f0908d"],
    ["6.17 impossible bytes", "fefeffff"],
    ["6.18 overlong slash", "c0af"],
    ["6.18 overlong in three", "e080af"],
    ["6.19 overlong U+FFFF", "f08fbfbf"],
    ["6.20 overlong NUL", "c080"],
    ["6.21 surrogates in a pair", "eda080edb080"],
    ["6.23 five bytes", "f888808080"],
  ].map(([name = "", bytes = ""]): Case => [name, [frame(FIN | TEXT, fromHex(bytes))], [
    "breach 1007",
  ]]),
  ["6 invalid UTF-8 in a binary message", [frame(FIN | BINARY, fromHex("c080"))], ["binary 2"]],
  ["7.1 a message after close", [closing(1000), text("no")], ["close 1000"]],
  ["7.1 close amid fragments", [frame(TEXT, utf8("a")), closing(1000)], ["close 1000"]],
  ["7.3 close without payload", [frame(FIN | CLOSE)], ["close 1005"]],
  ["7.3 close with one byte", [frame(FIN | CLOSE, Uint8Array.of(3))], ["breach 1002"]],
  ["7.3 close with the longest reason", [closing(1000, ofLength(123))], [
    `close 1000 ${"*".repeat(123)}`,
  ]],
  ["7.3 close with a longer one", [closing(1000, ofLength(124))], ["breach 1002"]],
  ["7.5 close with a reason of no text", [closing(1000, fromHex("cebaeda080"))], ["breach 1007"]],
  ...[
    1000,
    1001,
    1002,
    1003,
    1007,
    1008,
    1009,
    1010,
    1011,
    1012,
    1013,
    1014,
    3000,
    3999,
    4000,
    4999,
  ]
    .map((code): Case => [`7.7 close ${code}`, [closing(code)], [`close ${code}`]]),
  ...[0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535]
    .map((code): Case => [`7.9 close ${code}`, [closing(code)], ["breach 1002"]]),
  ["9 one byte more than may be", [frame(FIN | BINARY, ofLength(MAX_LENGTH + 1))], ["breach 1009"]],
  ["9 a length of 2^53", [frame(FIN | TEXT, ofLength(0), { claims: 2n ** 53n })], ["breach 1009"]],
  ["9 a length of 2^63", [frame(FIN | TEXT, ofLength(0), { claims: 2n ** 63n })], ["breach 1009"]],
  ["5.2 length 125 in 16 bits", [frame(FIN | TEXT, ofLength(125), { lengthBytes: 3 })], [
    "breach 1002",
  ]],
  ["5.2 length 65,535 in 64 bits", [frame(FIN | TEXT, ofLength(65_535), { lengthBytes: 9 })], [
    "breach 1002",
  ]],
  ["5.1 a frame without a mask", [frame(FIN | TEXT, utf8("x"), { mask: null })], ["breach 1002"]],
  ["5.1 a ping without a mask", [frame(FIN | PING, utf8(""), { mask: null })], ["breach 1002"]],
  ["half of a frame", [frame(FIN | TEXT, utf8("abcdef")).subarray(0, 9)], []],
  ["nothing", [], []],
];

for (const [name, parts, outcome] of CASES) {
  Deno.test(`frames: ${name}`, () => {
    const bytes = concatBytes(...parts);
    assert.deepEqual(read([bytes]), outcome);
    assert.deepEqual(read(cut(bytes, 1_000)), outcome);
    const short = bytes.length < 2_000;
    if (short) assert.deepEqual(read(cut(bytes, 1)), outcome);
    for (let at = 1; short && at < bytes.length; at++) {
      assert.deepEqual(read([bytes.slice(0, at), bytes.slice(at)]), outcome);
    }
  });
}

Deno.test("frames: any messages, however masked, fragmented and cut, are read as they were", () => {
  const bytes = fc.uint8Array({ maxLength: 300 });
  const fragment = fc.record({
    payload: bytes,
    mask: fc.uint8Array({ minLength: 4, maxLength: 4 }),
    ping: fc.option(fc.uint8Array({ maxLength: 125 })),
  });
  const message = fc.array(fragment, { minLength: 1, maxLength: 5 });
  const conversation = fc.array(message, { maxLength: 8 });
  fc.assert(fc.property(conversation, fc.array(fc.nat(700)), (messages, cuts) => {
    const sent: Uint8Array[] = [];
    const expected: string[] = [];
    for (const parts of messages) {
      for (const [i, { payload, mask, ping }] of parts.entries()) {
        if (ping) {
          sent.push(frame(FIN | PING, ping, { mask }));
          expected.push(`ping ${toHex(ping)}`);
        }
        const fin = i === parts.length - 1 ? FIN : 0;
        sent.push(frame(fin | (i === 0 ? BINARY : CONT), payload, { mask }));
      }
      expected.push(`binary ${toHex(concatBytes(...parts.map(({ payload }) => payload)))}`);
    }
    const reader = new FrameReader(MAX_LENGTH);
    const seen: string[] = [];
    const kept: Uint8Array[] = [];
    for (const piece of cutAt(concatBytes(...sent), cuts)) {
      reader.take(piece);
      for (let found = reader.next(); found; found = reader.next()) {
        seen.push(found);
        kept.push(reader.payload);
      }
    }
    // Read at the end: nothing has been written over.
    assert.deepEqual(seen.map((kind, i) => `${kind} ${toHex(kept[i]!)}`), expected);
  }));
});

Deno.test("frames: no bytes at all make a reader throw, or find what is none", () => {
  const kinds = ["binary", "text", "ping", "pong", "close", "breach"];
  fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 40 })), (pieces) => {
    const reader = new FrameReader(1_000);
    for (const piece of pieces) {
      reader.take(piece);
      for (let found = reader.next(); found; found = reader.next()) {
        assert.ok(kinds.includes(found));
        assert.ok(reader.payload.length <= 1_000);
      }
    }
  }));
});

Deno.test("frames: a length that is only promised takes no memory", () => {
  const reader = new FrameReader(1_000_000_000);
  const head = frame(FIN | BINARY, new Uint8Array(0), { claims: 999_999_999 });
  for (let i = 0; i < 100; i++) {
    reader.take(i === 0 ? head : ofLength(10));
    assert.equal(reader.next(), undefined);
  }
});

Deno.test("frames: what a Buffer held comes as a plain array", () => {
  const reader = new FrameReader(MAX_LENGTH);
  reader.take(Buffer.from(frame(FIN | BINARY, Uint8Array.of(1, 2, 3))));
  assert.equal(reader.next(), "binary");
  assert.equal(reader.payload.constructor, Uint8Array);
  assert.deepEqual(reader.payload, Uint8Array.of(1, 2, 3));
});

/** What a reader finds in pieces that come one after another. */
function read(pieces: readonly Uint8Array[]): string[] {
  const reader = new FrameReader(MAX_LENGTH);
  const seen: string[] = [];
  for (const piece of pieces) {
    reader.take(piece.slice());
    for (let found = reader.next(); found; found = reader.next()) {
      seen.push(outcomeOf(reader, found));
    }
  }
  return seen;
}

function outcomeOf(reader: FrameReader, found: string): string {
  switch (found) {
    case "text":
      // Long ones by their length.
      return `text ${/^.{1,20}$/su.test(reader.text) ? reader.text : reader.text.length}`;
    case "close":
      return `close ${reader.closeCode} ${reader.text}`.trimEnd();
    case "breach":
      return `breach ${reader.closeCode}`;
    default:
      return `${found} ${reader.payload.length}`;
  }
}

function fragments(count: number): Uint8Array[] {
  return Array.from(
    { length: count },
    (_, i) => frame((i === 0 ? BINARY : CONT) | (i === count - 1 ? FIN : 0)),
  );
}

function cut(bytes: Uint8Array, length: number): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += length) pieces.push(bytes.slice(at, at + length));
  return pieces;
}

function cutAt(bytes: Uint8Array, lengths: readonly number[]): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  let at = 0;
  for (const length of lengths) {
    pieces.push(bytes.slice(at, at + length));
    at += length;
  }
  return [...pieces, bytes.slice(at)];
}
