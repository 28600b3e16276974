/* What threads of a relay share: rates, users, ports and reservations, each held against its rule. */

import assert from "node:assert/strict";
import { Endpoint } from "../../../src/base/endpoint.ts";
import { systemHost } from "../../../src/base/host.ts";
import { Nonces } from "../../../src/protocol/turn/nonces.ts";
import { DEFAULT_TURN_SETTINGS } from "../../../src/protocol/turn/settings.ts";
import { Ledger, ledgerMemory } from "../../../src/roles/relay/workers/ledger.ts";
import { KeyedBuckets, SharedBuckets } from "../../../src/roles/relay/workers/shared_buckets.ts";

const RANGE = { min: 50_000, max: 50_009 };

Deno.test("a bucket has its burst at once, and then its rate", () => {
  const buckets = new SharedBuckets({ burst: 3, perSecond: 2 }, new Int32Array(1));
  const taken = (now: number) => buckets.take(0, now, 1);
  assert.deepEqual([taken(0), taken(0), taken(0), taken(0)], [true, true, true, false]);
  assert.deepEqual([taken(499), taken(500), taken(600)], [false, true, false]);
  assert.ok(buckets.has(0, 10_000, 3) && !buckets.has(0, 10_000, 4));
});

Deno.test("a bucket of many bytes a second is exact to some parts in a hundred", () => {
  const rate = { burst: 125_000_000, perSecond: 125_000_000 };
  const buckets = new SharedBuckets(rate, new Int32Array(1));
  const start = 1_000_000;
  let bytes = 0;
  while (buckets.take(0, start, 1_200)) bytes += 1_200;
  assert.ok(bytes > 0.97 * rate.burst && bytes <= rate.burst, `${bytes}`);
  // Also when its clock has turned over many times since.
  for (const later of [60_000, 3_600_000, 86_400_000, 30 * 86_400_000]) {
    assert.ok(buckets.take(0, start + later, 60_000_000), `${later} ms later`);
  }
});

Deno.test("two threads' views of the buckets are one", () => {
  const memory = KeyedBuckets.memory();
  const [one, other] = [1, 2].map(() => new KeyedBuckets({ burst: 2, perSecond: 1 }, memory, 7));
  assert.ok(one!.take("a", 0) && other!.take("a", 0));
  assert.ok(!one!.take("a", 0) && !other!.has("a", 0));
  assert.ok(other!.take("b", 0), "who is not meant is not held back");
});

Deno.test("what a user holds is counted over all threads, and forgotten with the last", () => {
  const [one, other] = ledgers();
  const here = one.tally("ann", 0);
  const there = other.tally("ann", 0);
  here.add(1);
  there.add(1);
  other.tally("ben", 0).add(1);
  assert.deepEqual([one.holdingsOf("ann"), other.holdingsOf("ben")], [2, 1]);
  here.add(-1);
  assert.equal(other.holdingsOf("ann"), 1);
  there.add(-1);
  assert.equal(one.holdingsOf("ann"), 0);
  // More users than rows, one after the other: rows are used again.
  for (let i = 0; i < 100; i++) {
    const tally = one.tally(`user ${i}`, 0);
    tally.add(1);
    assert.equal(other.holdingsOf(`user ${i}`), 1);
    tally.add(-1);
  }
  assert.equal(other.holdingsOf("ben"), 1);
});

Deno.test("ports go to one thread at a time, and each knows which are another's", () => {
  const [one, other] = ledgers();
  const taken = Array.from({ length: 10 }, (_, i) => (i % 2 ? one : other).supply(4).take("any"));
  assert.equal(new Set(taken).size, 10);
  assert.equal(one.supply(4).take("any"), undefined);
  assert.ok(other.isElsewhere(4, taken[1]!) && !one.isElsewhere(4, taken[1]!));
  assert.ok(!other.isElsewhere(6, taken[1]!) && !other.isElsewhere(4, 1));
  other.supply(4).release(taken[0]!);
  assert.ok(!one.isElsewhere(4, taken[0]!));
  assert.equal(one.supply(4).take("even") ?? one.supply(4).take("any"), taken[0]);
});

Deno.test("a reservation is taken once, by whichever thread, and its user pays until then", () => {
  const [one, other] = ledgers();
  const first = one.supply(4).take("pair")!;
  const token = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
  one.offer(4, first + 1, token, "ann");
  assert.equal(other.holdingsOf("ann"), 1);
  assert.ok(!other.isElsewhere(4, first + 1), "nobody relays from it");
  assert.equal(other.offered(Uint8Array.of(8, 7, 6, 5, 4, 3, 2, 1)), undefined);
  const offer = other.offered(token)!;
  assert.deepEqual([offer.family, offer.port], [4, first + 1]);
  assert.ok(offer.isOf("ann") && !offer.isOf("ben"));
  assert.deepEqual([other.claim(token), one.claim(token)], [true, false]);
  assert.equal(other.holdingsOf("ann"), 0);
  assert.ok(one.isElsewhere(4, first + 1));
});

Deno.test("a nonce of one thread is taken by another, whose clock is a little behind", () => {
  const [one, other] = ledgers();
  const client = {
    transport: "udp",
    endpoint: new Endpoint(Uint8Array.of(203, 0, 113, 7), 40_000),
    allocation: undefined,
    send() {},
  } as const;
  const nonce = new Nonces(one.nonceKey).make(client, 5_000);
  assert.ok(new Nonces(other.nonceKey).isValid(nonce, client, 4_990));
  assert.ok(!new Nonces(systemHost.random(32)).isValid(nonce, client, 5_000));
});

function ledgers(): [Ledger, Ledger] {
  const settings = {
    ...DEFAULT_TURN_SETTINGS,
    relayedV4: Uint8Array.of(127, 0, 0, 1),
    relayedV6: undefined,
    relayPorts: RANGE,
  };
  const memory = ledgerMemory(settings, 2, systemHost);
  const make = (self: number) =>
    new Ledger({ memory, self, settings, bound: { 4: settings.relayedV4 }, host: systemHost });
  return [make(0), make(1)];
}
