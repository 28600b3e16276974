import { turns } from "./fake_time.ts";

const DEADLINE_MS = 180_000;

/**
 * Lets work go on until `condition` holds, also where the clocks are fake: what is under way on
 * other threads takes as long as the machine is busy. `step` runs before each look.
 */
export async function untilHolds(
  condition: () => boolean | Promise<boolean>,
  describe: () => string,
  step: () => Promise<void> = turns,
): Promise<void> {
  const start = performance.now();
  while (!await condition()) {
    if (performance.now() - start > DEADLINE_MS) throw new Error(`Waited in vain: ${describe()}`);
    await step();
  }
}
