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

Deno.test("each topic is numbered by itself, from where chance says, and a forgotten one anew", () => {
  const firsts = [70, 0xffff_ffff, 5, 900];
  const numbers = new TopicNumbers(2, () => firsts.shift()!);
  assert.deepEqual(["a", "a", "b", "b", "a"].map((topic) => numbers.take(topic)), [
    70,
    71,
    0xffff_ffff,
    0,
    72,
  ]);
  assert.equal(numbers.take("c"), 5);
  assert.equal(numbers.take("a"), 73, "b was silent longest");
  assert.equal(numbers.take("b"), 900);
});

Deno.test("gaps are counted for each origin from where it was first heard", () => {
  const gaps = new GapCount(2);
  assert.equal(gaps.missing("x", 5), 0, "what came before nobody was there for");
  assert.equal(gaps.missing("x", 6), 0);
  assert.equal(gaps.missing("x", 9), 2);
  assert.equal(gaps.missing("y", 0xffff_fffe), 0);
  assert.equal(gaps.missing("y", 1), 2, "around the end of all numbers");
});

Deno.test("what came before is told from what is next", () => {
  const gaps = new GapCount(2);
  for (const number of [5, 6, 7]) assert.equal(gaps.missing("x", number), 0);
  for (const number of [7, 6, 5]) assert.equal(gaps.missing("x", number), undefined);
  assert.equal(gaps.missing("x", 8), 0);
});

Deno.test("nothing is lost when counting begins anew, whichever of its messages comes first", () => {
  const gaps = new GapCount(2);
  gaps.missing("x", 5_000);
  for (const anew of [1_200, 900_000, 3]) {
    assert.equal(gaps.missing("x", anew), 0);
    assert.equal(gaps.missing("x", anew + 1), 0);
    assert.equal(gaps.missing("x", anew + 3), 1);
  }
});

Deno.test("who was silent longest is forgotten", () => {
  const gaps = new GapCount(2);
  for (const origin of ["x", "y", "z"]) gaps.missing(origin, 0);
  assert.equal(gaps.missing("x", 7), 0, "as if it were there for the first time");
  assert.equal(gaps.missing("z", 3), 2);
});
