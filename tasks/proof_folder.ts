// deno-lint-ignore-file no-console -- a script speaks to the terminal that started it.
/**
 * Brings a large folder from one device to another over a server that is killed twice and a network
 * that is cut twice: `deno task proof:folder [megabytes] [folder for the files]`. Fails unless both
 * have the same files in the end.
 */

import { proveFolder } from "../tests/support/folder_proof.ts";

const megabytes = Number(Deno.args[0] ?? 100);
const folder = Deno.args[1];
/** Slower than this is a failure. */
const SLOWEST_BYTES_PER_MS = 500;

const waitMs = 180_000 + megabytes * 1_000_000 / SLOWEST_BYTES_PER_MS;
const proof = await proveFolder({
  megabytes,
  disturb: true,
  waitMs,
  ...(folder !== undefined && { within: folder }),
});
console.log(`${proof.files} files, ${megabytes} MB: the same on both devices`);
console.log(`Disturbed: ${proof.disturbances.join(", ")}`);
console.log(`${proof.seconds.toFixed(1)} s, ${(megabytes / proof.seconds).toFixed(1)} MB/s`);
for (const [name, bytes] of proof.peaks) {
  console.log(`Peak memory of ${name}: ${(bytes / 2 ** 20).toFixed(0)} MiB`);
}
if (proof.disturbances.length < 4) {
  console.log("It was over before all of them; take a larger folder");
  Deno.exit(1);
}
