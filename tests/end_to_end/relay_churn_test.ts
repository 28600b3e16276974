import assert from "node:assert/strict";
import { AttackedRelay } from "../support/attacked_relay.ts";
import { churn } from "../support/relay_churn.ts";
import { hasOpenssl, makeSelfSigned } from "../support/self_signed.ts";

const CLIENTS = 150;
const MEBIBYTE = 1_048_576;
/** What a round may take: the first clients fill what is kept for the next ones. */
const MARGIN = 24 * MEBIBYTE;
/** A garbage collector has its own mind, but what leaks takes more in each round. */
const MAX_ROUNDS = 6;

/** `deno task proof:relay-churn` does it for an hour. */
Deno.test("clients that come and go leave no memory, port or connection behind", {
  ignore: Deno.build.os !== "linux" || !hasOpenssl,
}, async () => {
  await using tls = await makeSelfSigned();
  await using relay = await AttackedRelay.start({ tls, unlimited: true });
  const ports = await relay.metric("relay_ports_free");
  const memory: number[] = [];
  let more = Infinity;
  while (more >= MARGIN) {
    assert.ok(memory.length < MAX_ROUNDS, `each round takes more: ${memory.join(", ")} bytes`);
    await churn(relay, CLIENTS, tls.cert);
    more = relay.memory() - (memory.at(-1) ?? -Infinity);
    memory.push(relay.memory());
  }
  await relay.until("connections", (count) => count === 0);
  const left = await relay.metric("allocations");
  // The crowd, and those that went without a word.
  assert.ok(left <= 4 + memory.length * CLIENTS / 50, `${left} allocations`);
  assert.equal(await relay.metric("relay_ports_free"), ports + 4 - left);
  await relay.stands();
});
