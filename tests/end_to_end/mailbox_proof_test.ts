/** A short run of `deno task proof:mailbox`. */

import { deepEqual, ok } from "node:assert/strict";
import { proveMailbox } from "../support/mailbox_proof.ts";

const ROUNDS = 60;

for (const seed of [1, 2, 3]) {
  Deno.test(`Nothing is lost, repeated or disordered, whatever dies or is restored (seed ${seed})`, async () => {
    const result = await proveMailbox({ seed, rounds: ROUNDS });
    ok(result.sent > 20, `${result.sent} messages`);
    const { lost, twice, outOfOrder, keysUsedTwice } = result;
    deepEqual({ lost, twice, outOfOrder, keysUsedTwice }, {
      lost: [],
      twice: [],
      outOfOrder: [],
      keysUsedTwice: [],
    });
  });
}
