import { strictEqual } from "node:assert/strict";
import { PairSequence } from "../../../src/protocol/mailbox/pair_sequence.ts";

Deno.test("PairSequence takes ascending numbers up to a thousand apart", () => {
  const pair = new PairSequence(5);
  strictEqual(pair.outOfTurn(5), "sequence 5 was already used (last accepted 5)");
  strictEqual(pair.outOfTurn(6), undefined);
  strictEqual(pair.tooFarAhead(1005), undefined);
  strictEqual(pair.tooFarAhead(1006), "sequence gap 1001 exceeds max skip threshold 1000");
});

Deno.test("PairSequence measures from what is on its way, and reports what is durable", () => {
  const pair = new PairSequence(0);
  pair.reserve(1);
  pair.reserve(900);
  strictEqual(pair.tooFarAhead(1900), undefined);
  strictEqual(pair.outOfTurn(900), "sequence 900 was already used (last accepted 900)");
  strictEqual(pair.lastAccepted, 0);
  pair.committed(1);
  strictEqual(pair.lastAccepted, 1);
  strictEqual(pair.lastReserved, 900);
  pair.committed(900);
  strictEqual(pair.lastAccepted, 900);
});

Deno.test("PairSequence holds back what is above a refused number until it comes or a new link", () => {
  const pair = new PairSequence(0);
  pair.refuse(3);
  strictEqual(pair.outOfTurn(4), "waiting for sequence 3");
  strictEqual(pair.outOfTurn(2), undefined);
  pair.refuse(2);
  strictEqual(pair.outOfTurn(3), "waiting for sequence 2");
  pair.refuse(9);
  strictEqual(pair.awaited, 2);
  pair.reserve(2);
  strictEqual(pair.outOfTurn(9), undefined);
  pair.refuse(5);
  pair.forgetRefusal();
  strictEqual(pair.outOfTurn(6), undefined);
});

Deno.test("PairSequence gives up what was reserved after a number that could not be stored", () => {
  const pair = new PairSequence(10);
  pair.reserve(11);
  pair.reserve(12);
  pair.reserve(13);
  pair.committed(11);
  pair.failed(12);
  strictEqual(pair.lastReserved, 11);
  strictEqual(pair.outOfTurn(13), "waiting for sequence 12");
  strictEqual(pair.outOfTurn(12), undefined);
});

Deno.test("PairSequence is not held back by the refusal of a number that was used", () => {
  const pair = new PairSequence(10);
  pair.reserve(11);
  pair.refuse(11);
  pair.refuse(4);
  strictEqual(pair.awaited, undefined);
  strictEqual(pair.lastReserved, 11);
});
