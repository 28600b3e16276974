import { mock } from "node:test";
import { TestHost } from "../roles/server/mailbox_scene.ts";
import { untilStoreRests } from "./store_work.ts";

/** Long times pass in larger steps: what a timer then finds is some seconds late. */
const stepOf = (ms: number) => ms > 600_000 ? 30_000 : 1_000;

/**
 * Clocks and timers that stand still until told. It replaces the process's `setTimeout` and
 * `setInterval`, so dispose of it.
 */
export class FakeTime extends TestHost implements Disposable {
  constructor(seed = 1) {
    super(seed);
    // A test that was cut short could not do it.
    mock.timers.reset();
    mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  }

  /** Moves every clock on, step by step, and fires the timers that are due. */
  override pass(ms: number): void {
    for (let left = ms; left > 0; left -= stepOf(ms)) {
      const step = Math.min(stepOf(ms), left);
      super.pass(step);
      mock.timers.tick(step);
    }
  }

  /** The same, but what the timers set off gets done in between: links stay alive. */
  async elapse(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 20_000) {
      this.pass(Math.min(20_000, left));
      await turns();
    }
  }

  [Symbol.dispose](): void {
    mock.timers.reset();
  }
}

/**
 * Lets everything that is under way without a timer get as far as it can: until nothing was asked
 * of a store for `count` turns of the event loop.
 */
export async function turns(count = 8): Promise<void> {
  for (let turn = 0; turn < count; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
    if (await untilStoreRests()) turn = 0;
  }
}
