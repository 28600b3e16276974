// deno-lint-ignore-file no-console -- a task speaks to the terminal that started it.
/**
 * Lets clients come to a relay and go for an hour, over UDP, TCP and TLS, and says whether its
 * memory stays flat: `deno task proof:relay-churn [minutes]`. Exit status 0 only if it does. Linux.
 */

import { AttackedRelay } from "../tests/support/attacked_relay.ts";
import { churn } from "../tests/support/relay_churn.ts";
import { makeSelfSigned } from "../tests/support/self_signed.ts";

const CLIENTS_PER_ROUND = 500;
const MINUTE = 60_000;
const MEBIBYTE = 1_048_576;
/** What a median of the last fifth may lie above that of the second fifth. */
const MARGIN = 16 * MEBIBYTE;
const MIN_SAMPLES = 10;

const minutes = Number(Deno.args[0] ?? 60);
if (!(minutes > 0)) {
  console.error("How many minutes? As in: deno task proof:relay-churn 5");
  Deno.exit(2);
}

await using tls = await makeSelfSigned(2);
await using relay = await AttackedRelay.start({ tls, unlimited: true });
const start = performance.now();
const samples: number[] = [];
let clients = 0;
while (performance.now() - start < minutes * MINUTE || samples.length < MIN_SAMPLES) {
  await churn(relay, CLIENTS_PER_ROUND, tls.cert);
  clients += CLIENTS_PER_ROUND;
  samples.push(relay.memory());
  console.log(
    `${((performance.now() - start) / MINUTE).toFixed(1)} min: ${clients} clients, ` +
      `${megabytes(samples.at(-1)!)} MB, ${await relay.metric("allocations")} allocations`,
  );
}
await relay.stands();
const fifth = Math.floor(samples.length / 5);
const early = median(samples.slice(fifth, 2 * fifth));
const late = median(samples.slice(-fifth));
const isFlat = late - early < MARGIN;
console.log(
  `${clients} clients: ${megabytes(early)} MB early, ${megabytes(late)} MB late: ` +
    (isFlat ? "flat" : "it grows"),
);
Deno.exitCode = isFlat ? 0 : 1;

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}
