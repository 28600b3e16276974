import assert from "node:assert/strict";
import { fromHex, toHex } from "../../../src/base/bytes.ts";
import {
  decodeBusMessage,
  encodeBusMessage,
  GapCount,
  TopicNumbers,
} from "../../../src/protocol/signal/bus_message.ts";

const ORIGIN = fromHex("0102030405060708");

Deno.test("a message on the bus is version, origin, number and frame", () => {
  const bytes = encodeBusMessage(ORIGIN, 0xfedcba98, fromHex("aabb"));
  assert.equal(toHex(bytes), "010102030405060708fedcba98aabb");
  assert.deepEqual(decodeBusMessage(bytes), {
    origin: "0102030405060708",
    number: 0xfedcba98,
    frame: fromHex("aabb"),
  });
});

Deno.test("what is too short or of another version is no message", () => {
  assert.equal(decodeBusMessage(fromHex("0101020304050607080000")), undefined);
  assert.equal(decodeBusMessage(fromHex("02010203040506070800000000aa")), undefined);
  assert.equal(decodeBusMessage(new Uint8Array(0)), undefined);
});

Deno.test("each topic is numbered by itself, and a forgotten one begins anew", () => {
  const numbers = new TopicNumbers(2);
  assert.deepEqual(["a", "a", "b", "a"].map((topic) => numbers.take(topic)), [0, 1, 0, 2]);
  assert.equal(numbers.take("c"), 0);
  assert.equal(numbers.take("a"), 3, "b was silent longest");
  assert.equal(numbers.take("b"), 0);
});

Deno.test("gaps are counted for each origin from where it was first heard", () => {
  const gaps = new GapCount(2);
  assert.equal(gaps.missing("x", 5), 0, "what came before nobody was there for");
  assert.equal(gaps.missing("x", 6), 0);
  assert.equal(gaps.missing("x", 9), 2);
  assert.equal(gaps.missing("y", 9), 0);
  assert.equal(gaps.missing("x", 0), 0, "it begins anew");
  assert.equal(gaps.missing("x", 1), 0);
});

Deno.test("what came before is told from what is next", () => {
  const gaps = new GapCount(2);
  gaps.missing("x", 5);
  assert.equal(gaps.missing("x", 5), undefined);
  assert.equal(gaps.missing("x", 6), 0);
});

Deno.test("who was silent longest is forgotten", () => {
  const gaps = new GapCount(2);
  for (const origin of ["x", "y", "z"]) gaps.missing(origin, 0);
  assert.equal(gaps.missing("x", 7), 0);
  assert.equal(gaps.missing("z", 3), 2);
});
