import { strictEqual } from "node:assert/strict";
import fc from "fast-check";
import {
  ageOf,
  CONFIRMATION_MS,
  EARLIEST_PLAUSIBLE_MS,
  ExpiryClock,
  SETTLING_MS,
  STEP_MS,
} from "../../../src/protocol/mailbox/expiry_clock.ts";

const START = Date.UTC(2026, 5, 1);

Deno.test("ExpiryClock does not believe the wall clock in the first ten minutes", () => {
  const clock = new ExpiryClock(START, 500);
  strictEqual(clock.observe(START + SETTLING_MS - 1, 500 + SETTLING_MS - 1), false);
  strictEqual(clock.observe(START + SETTLING_MS, 500 + SETTLING_MS), true);
});

for (const [direction, step] of [["forward", STEP_MS + 1], ["back", -STEP_MS - 1]] as const) {
  Deno.test(`ExpiryClock does not believe a clock that jumped ${direction}, for an hour`, () => {
    const clock = settled();
    strictEqual(clock.observe(START + SETTLING_MS + step, SETTLING_MS), false);
    const wall = START + SETTLING_MS + step;
    strictEqual(clock.observe(wall + 1_800_000, SETTLING_MS + 1_800_000), false);
    strictEqual(
      clock.observe(wall + CONFIRMATION_MS, SETTLING_MS + CONFIRMATION_MS),
      true,
    );
  });
}

Deno.test("ExpiryClock waits again when the clock jumps back before the hour is over", () => {
  const clock = settled();
  clock.observe(START + 10 * STEP_MS, SETTLING_MS);
  const later = SETTLING_MS + CONFIRMATION_MS - 1;
  strictEqual(clock.observe(START + later, later), false);
  strictEqual(clock.observe(START + later + 1000, later + 1000), false);
  strictEqual(clock.observe(START + later + CONFIRMATION_MS, later + CONFIRMATION_MS), true);
});

Deno.test("ExpiryClock bears drift and small corrections", () => {
  const clock = settled();
  let wall = START + SETTLING_MS;
  for (let mono = SETTLING_MS; mono < SETTLING_MS + 1e9; mono += 1e7) {
    wall += 1e7 + 50_000;
    strictEqual(clock.observe(wall, mono + 1e7), true);
  }
});

Deno.test("ExpiryClock never believes a clock that was not set", () => {
  const clock = new ExpiryClock(1000, 0);
  strictEqual(clock.observe(1000 + 10 * CONFIRMATION_MS, 10 * CONFIRMATION_MS), false);
});

Deno.test("ExpiryClock believes no wall time within an hour after any jump", () => {
  const jumps = fc.array(
    fc.record({ pass: fc.nat(5_000_000), jump: fc.integer({ min: -1e10, max: 1e10 }) }),
    { maxLength: 30 },
  );
  fc.assert(fc.property(jumps, (steps) => {
    const clock = new ExpiryClock(START, 0);
    let [wall, mono, jumpedAt] = [START, 0, -Infinity];
    for (const { pass, jump } of steps) {
      mono += pass;
      wall += pass + jump;
      if (Math.abs(jump) > STEP_MS) jumpedAt = mono;
      const expected = mono >= SETTLING_MS && mono - jumpedAt >= CONFIRMATION_MS &&
        wall >= EARLIEST_PLAUSIBLE_MS;
      strictEqual(clock.observe(wall, mono), expected);
    }
  }));
});

Deno.test("ageOf() tells an age from a time that a wrong clock wrote down", () => {
  strictEqual(ageOf(START - 5, START), 5);
  strictEqual(ageOf(START + STEP_MS, START), 0);
  strictEqual(ageOf(START + STEP_MS + 1, START), "implausible");
  strictEqual(ageOf(1000, START), "implausible");
});

function settled(): ExpiryClock {
  const clock = new ExpiryClock(START, 0);
  strictEqual(clock.observe(START + SETTLING_MS, SETTLING_MS), true);
  return clock;
}
