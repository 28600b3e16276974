// deno-lint-ignore-file no-console -- a script speaks to the terminal that started it.
/**
 * Holds the mailbox against a model for a long time: peers and a server that die between any two
 * commits, and then real processes that are killed. Prints what went wrong, and fails if anything
 * did.
 *
 * `deno task proof:mailbox [rounds, default 4000] [seed, default by chance] [kills, default 6]`
 */

import { systemHost } from "../src/base/host.ts";
import { readU32 } from "../src/base/bytes.ts";
import { proveMailbox } from "../tests/support/mailbox_proof.ts";
import { proveKills } from "../tests/support/kill_proof.ts";

/** A world is begun anew after so many rounds, so that it stays small. */
const ROUNDS_PER_WORLD = 250;

const rounds = Number(Deno.args[0] ?? 4_000);
const seed = Number(Deno.args[1] ?? readU32(systemHost.random(4), 0) % 1_000_000);
const kills = Number(Deno.args[2] ?? 6);
console.log(`Seed ${seed}, ${rounds} rounds, ${kills} kills of real processes`);

const sums: Record<string, number> = { messages: 0, shown: 0, "given up": 0 };
const wrongs: Record<string, string[]> = {
  Lost: [],
  Twice: [],
  "Out of order per sender": [],
  "Keys used for two plaintexts": [],
};
for (let done = 0; done < rounds; done += ROUNDS_PER_WORLD) {
  const world = seed + done / ROUNDS_PER_WORLD;
  const result = await proveMailbox({
    seed: world,
    rounds: Math.min(ROUNDS_PER_WORLD, rounds - done),
  });
  add({ messages: result.sent, shown: result.shown, "given up": result.givenUp, ...result.events });
  const found = [result.lost, result.twice, result.outOfOrder, result.keysUsedTwice];
  for (const [index, list] of Object.values(wrongs).entries()) {
    for (const what of found[index] ?? []) list.push(`${what} (seed ${world})`);
  }
  if (found.some((list) => list.length > 0)) {
    const story = await Deno.makeTempFile({ prefix: `cairn-proof-${world}-`, suffix: ".txt" });
    await Deno.writeTextFile(story, result.story.join("\n"));
    console.log(`What happened in the world of seed ${world}: ${story}`);
  }
}
if (kills > 0) {
  const sent = await proveKills({ seed, kills });
  add({ "messages of killed processes": sent, "processes killed": kills });
}

for (const [name, count] of Object.entries(sums)) console.log(`${name.padEnd(32)}${count}`);
for (const [name, list] of Object.entries(wrongs)) {
  console.log(`${name.padEnd(32)}${list.length}${list.length > 0 ? `: ${list.join("; ")}` : ""}`);
}
if (Object.values(wrongs).some((list) => list.length > 0)) Deno.exit(1);

function add(counts: Record<string, number>): void {
  for (const [name, count] of Object.entries(counts)) sums[name] = (sums[name] ?? 0) + count;
}
