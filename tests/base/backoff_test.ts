import assert from "node:assert/strict";
import { backoffDelay } from "../../src/base/backoff.ts";

Deno.test("backoffDelay() doubles from half a second to thirty and stays there", () => {
  const longest = (attempt: number) => backoffDelay(attempt, 1 - Number.EPSILON);
  assert.deepEqual(
    [0, 1, 2, 3, 4, 5, 6, 7, 100, 5_000].map(longest),
    [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000, 30_000],
  );
});

Deno.test("backoffDelay() leaves the second half to chance", () => {
  assert.deepEqual([0, 0.5].map((random) => backoffDelay(2, random)), [1_000, 1_500]);
});
