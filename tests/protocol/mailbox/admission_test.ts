import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { admit, type Offer } from "../../../src/protocol/mailbox/admission.ts";
import { Capacity } from "../../../src/protocol/mailbox/capacity.ts";
import { PairSequence } from "../../../src/protocol/mailbox/pair_sequence.ts";

const good: Offer = {
  senderPaired: true,
  recipientPaired: true,
  recipient: "bob",
  size: 10,
  sequence: 1,
  known: "no",
  diskHasRoom: true,
};
const limits = { maxPerPeer: 3, maxTotalBytes: 100, largestBody: 60 };

/** Everything that can be wrong at once; each is mended in the order in which it is checked. */
const order: [string, Partial<Offer>][] = [
  ["sender is not a paired peer", { senderPaired: true }],
  ["recipient is not a paired peer", { recipientPaired: true }],
  ["message ID was used for another body", { known: "no" }],
  ["message too large (61 bytes, at most 60)", { size: 50 }],
  ["sequence 5 was already used (last accepted 5)", { sequence: 2000 }],
  ["quota exceeded", { size: 1 }],
  ["the mailbox's disk is full", { diskHasRoom: true }],
  ["recipient queue full (3 messages)", { recipient: "carol" }],
  ["sequence gap 1995 exceeds max skip threshold 1000", { sequence: 6 }],
];

Deno.test("admit() checks in the order of the protocol and speaks its words", () => {
  const capacity = new Capacity(limits);
  for (const size of [55, 2, 2]) capacity.take("bob", size);
  let offer: Offer = {
    senderPaired: false,
    recipientPaired: false,
    recipient: "bob",
    size: 61,
    sequence: 5,
    known: "other body",
    diskHasRoom: false,
  };
  for (const [reason, mend] of order) {
    deepStrictEqual(admit(offer, new PairSequence(5), capacity), { kind: "refuse", reason });
    offer = { ...offer, ...mend };
  }
  deepStrictEqual(admit(offer, new PairSequence(5), capacity), { kind: "store" });
});

Deno.test("admit() takes room and sequence on acceptance and notes a refusal", () => {
  const capacity = new Capacity(limits);
  const pair = new PairSequence(0);
  deepStrictEqual(admit(good, pair, capacity), { kind: "store" });
  deepStrictEqual([capacity.messages, capacity.bytes, pair.lastReserved], [1, 10, 1]);
  admit({ ...good, sequence: 2, size: 61 }, pair, capacity);
  strictEqual(pair.awaited, 2);
  deepStrictEqual(admit({ ...good, sequence: 3 }, pair, capacity), {
    kind: "refuse",
    reason: "waiting for sequence 2",
  });
  deepStrictEqual([capacity.messages, capacity.bytes], [1, 10]);
});

Deno.test("admit() accepts a repeat whatever is full, and counts it only in its turn", () => {
  const capacity = new Capacity({ maxPerPeer: 0, maxTotalBytes: 0, largestBody: 0 });
  const known = "same body";
  const pair = new PairSequence(4);
  const repeat = { ...good, known, diskHasRoom: false } as const;
  deepStrictEqual(admit({ ...repeat, sequence: 4 }, pair, capacity), {
    kind: "repeat",
    advance: false,
  });
  deepStrictEqual(admit({ ...repeat, sequence: 5 }, pair, capacity), {
    kind: "repeat",
    advance: true,
  });
  deepStrictEqual(admit({ ...repeat, sequence: 1006 }, pair, capacity), {
    kind: "repeat",
    advance: false,
  });
  pair.refuse(6);
  deepStrictEqual(admit({ ...repeat, sequence: 7 }, pair, capacity), {
    kind: "repeat",
    advance: false,
  });
  strictEqual(pair.lastReserved, 5);
  deepStrictEqual([capacity.messages, capacity.bytes], [0, 0]);
});

Deno.test("Capacity gives room back", () => {
  const capacity = new Capacity({ maxPerPeer: 1, maxTotalBytes: 10, largestBody: 10 });
  capacity.take("bob", 10);
  strictEqual(capacity.overQuota("bob", 1), "quota exceeded");
  strictEqual(capacity.overQuota("bob", 0), undefined);
  strictEqual(capacity.overCount("bob"), "recipient queue full (1 messages)");
  strictEqual(capacity.overCount("carol"), undefined);
  capacity.give("bob", 10);
  strictEqual(capacity.overQuota("bob", 10), undefined);
  strictEqual(capacity.overCount("bob"), undefined);
});
