// deno-lint-ignore-file no-console -- a script speaks to the terminal that started it.
/**
 * Holds the bodies that several recipients share against a list, for a long time: the mailbox dies
 * behind any of its commits, or cannot write, while messages are accepted, read, expire, are purged
 * and lose their recipients. Prints how often what happened, and fails at the first difference.
 *
 * `deno task proof:sync [steps, default 4000] [seed, default by chance]`
 */

import { readU32 } from "../src/base/bytes.ts";
import { systemHost } from "../src/base/host.ts";
import { SyncModel } from "../tests/support/sync_model.ts";

/** A world is begun anew after so many steps, so that it stays small. */
const STEPS_PER_WORLD = 200;

const steps = Number(Deno.args[0] ?? 4_000);
const seed = Number(Deno.args[1] ?? readU32(systemHost.random(4), 0) % 1_000_000);
console.log(`Seed ${seed}, ${steps} steps`);

const taken = new Map<string, number>();
for (let done = 0; done < steps; done += STEPS_PER_WORLD) {
  const world = seed + done / STEPS_PER_WORLD;
  await using model = await SyncModel.open(world);
  try {
    await model.run(Math.min(STEPS_PER_WORLD, steps - done));
  } catch (error) {
    console.error(`Seed ${world}:`, error);
    Deno.exit(1);
  }
  for (const [name, count] of model.steps) taken.set(name, (taken.get(name) ?? 0) + count);
}
for (const [name, count] of taken) console.log(`${name}: ${count}`);
console.log("Nothing was freed early, and nothing left behind");
