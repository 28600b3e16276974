import { deepStrictEqual, strictEqual, throws } from "node:assert/strict";
import { RateLimit } from "../../src/base/rate_limit.ts";

Deno.test("RateLimit allows a burst, then the rate", () => {
  const limit = new RateLimit({ burst: 3, perSecond: 2 });
  const at = (ms: number) => limit.take("key", ms);
  deepStrictEqual([at(0), at(0), at(0), at(0)], [true, true, true, false]);
  deepStrictEqual([at(499), at(500), at(500)], [false, true, false]);
  deepStrictEqual([at(60_000), at(60_000), at(60_000), at(60_000)], [true, true, true, false]);
});

Deno.test("RateLimit keeps keys apart and charges what something costs", () => {
  const limit = new RateLimit({ burst: 10, perSecond: 1 });
  strictEqual(limit.take("a", 0, 9), true);
  strictEqual(limit.take("a", 0, 2), false);
  strictEqual(limit.take("a", 0, 1), true);
  strictEqual(limit.take("b", 0, 10), true);
});

Deno.test("RateLimit forgets full buckets first, and does not grow beyond its bound", () => {
  const limit = new RateLimit({ burst: 1, perSecond: 1 }, 2);
  strictEqual(limit.take("a", 0), true);
  strictEqual(limit.take("b", 500), true);
  strictEqual(limit.take("c", 1000), true);
  strictEqual(limit.take("b", 1000), false, "still remembered");
  strictEqual(limit.take("d", 1001), true);
  strictEqual(limit.take("b", 1001), false, "c was used longest ago");
});

Deno.test("RateLimit does not refill when a clock goes back", () => {
  const limit = new RateLimit({ burst: 1, perSecond: 1 });
  strictEqual(limit.take("a", 10_000), true);
  strictEqual(limit.take("a", 0), false);
  strictEqual(limit.take("a", 10_500), false);
});

Deno.test("RateLimit refuses rates that allow nothing", () => {
  throws(() => new RateLimit({ burst: 0, perSecond: 1 }), RangeError);
  throws(() => new RateLimit({ burst: 1, perSecond: NaN }), RangeError);
});

Deno.test("RateLimit tells what is left without taking it", () => {
  const limit = new RateLimit({ burst: 2, perSecond: 1 });
  strictEqual(limit.has("a", 0, 2), true);
  strictEqual(limit.has("a", 0, 3), false);
  limit.take("a", 0);
  strictEqual(limit.has("a", 0), true);
  strictEqual(limit.has("a", 0, 2), false);
  strictEqual(limit.has("a", 1_000, 2), true);
  strictEqual(limit.take("a", 0), true);
  strictEqual(limit.has("a", 0), false);
});
