import assert from "node:assert/strict";
import { SharedCounts } from "../../../src/roles/signal/address_counts.ts";

Deno.test("what one thread counts, the others see", () => {
  const { one, other } = threads();
  one.add("a", 1);
  other.add("a", 1);
  other.add("b", 1);
  assert.deepEqual([one.total, one.connectionsOf("a"), one.connectionsOf("b")], [3, 2, 1]);
  one.add("a", -1);
  assert.deepEqual([other.total, other.connectionsOf("a")], [2, 1]);
});

Deno.test("attempts on all threads together are as many as a minute has, and come back evenly", () => {
  const { one, other, clock } = threads();
  const allowed = (count: number) => {
    const answers = Array.from({ length: count }, (_, i) => [one, other][i % 2]!.attempt("a"));
    return answers.filter((answer) => answer).length;
  };
  assert.equal(allowed(20), 6);
  assert.equal(one.attempt("b"), true, "another address");
  clock.now += 10_000;
  assert.equal(allowed(5), 1);
  clock.now += 3_600_000;
  assert.equal(allowed(20), 6);
});

Deno.test("a clock that jumps back locks nobody out", () => {
  const { one, clock } = threads();
  for (let i = 0; i < 6; i++) one.attempt("a");
  clock.now -= 3_600_000;
  assert.equal(one.attempt("a"), true);
});

/** Two of one server that allows six attempts a minute. */
function threads() {
  const memory = SharedCounts.memory();
  const clock = { now: 1_795_000_000_000 };
  const options = { memory, attemptsPerMinute: 6, seed: 7, now: () => clock.now };
  return { one: new SharedCounts(options), other: new SharedCounts(options), clock };
}
