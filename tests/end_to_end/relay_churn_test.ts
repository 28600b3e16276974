import assert from "node:assert/strict";
import { AttackedRelay } from "../support/attacked_relay.ts";
import { churn } from "../support/relay_churn.ts";
import { hasOpenssl, makeSelfSigned } from "../support/self_signed.ts";

const CLIENTS = 150;
const MEBIBYTE = 1_048_576;
/** The first clients fill what is kept for the next ones; a garbage collector has its own mind. */
const MARGIN = 24 * MEBIBYTE;

/** `deno task proof:relay-churn` does it for an hour. */
Deno.test("clients that come and go leave no memory, port or connection behind", {
  ignore: Deno.build.os !== "linux" || !hasOpenssl,
}, async () => {
  await using tls = await makeSelfSigned();
  await using relay = await AttackedRelay.start({ tls, unlimited: true });
  const ports = await relay.metric("relay_ports_free");
  await churn(relay, CLIENTS, tls.cert);
  const before = relay.memory();
  await churn(relay, CLIENTS, tls.cert);
  const more = relay.memory() - before;
  assert.ok(more < MARGIN, `${more} bytes more`);
  await relay.until("connections", (count) => count === 0);
  const left = await relay.metric("allocations");
  // The crowd, and those that went without a word.
  assert.ok(left <= 4 + 2 * CLIENTS / 50, `${left} allocations`);
  assert.equal(await relay.metric("relay_ports_free"), ports + 4 - left);
  await relay.stands();
});
