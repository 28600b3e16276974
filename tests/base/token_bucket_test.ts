import assert from "node:assert/strict";
import { TokenBucket } from "../../src/base/token_bucket.ts";

Deno.test("TokenBucket gives its burst at once, then as fast as it refills", () => {
  const bucket = new TokenBucket({ burst: 3, perSecond: 2 }, 1_000);
  assert.deepEqual([1, 2, 3, 4].map(() => bucket.take(1_000)), [true, true, true, false]);
  assert.equal(bucket.take(1_499), false);
  assert.equal(bucket.take(1_500), true);
  assert.equal(bucket.take(1_500), false);
});

Deno.test("TokenBucket holds no more than its burst, however long it rests", () => {
  const bucket = new TokenBucket({ burst: 3, perSecond: 2 }, 0);
  assert.equal(bucket.take(1e9, 4), false);
  assert.equal(bucket.take(1e9, 3), true);
  assert.equal(bucket.take(1e9), false);
});

Deno.test("TokenBucket takes nothing where it has too little, and ignores a clock that steps back", () => {
  const bucket = new TokenBucket({ burst: 2, perSecond: 1 }, 1_000);
  assert.equal(bucket.take(1_000, 3), false);
  assert.equal(bucket.take(1_000, 2), true);
  assert.equal(bucket.take(0), false);
  assert.equal(bucket.take(1_999), false);
  assert.equal(bucket.take(2_000), true);
});
