import { deepEqual, equal } from "node:assert/strict";
import type { Offer } from "../../../src/protocol/mailbox/admission.ts";
import { Capacity } from "../../../src/protocol/mailbox/capacity.ts";
import { PairSequence } from "../../../src/protocol/mailbox/pair_sequence.ts";
import { admitTogether } from "../../../src/protocol/mailbox/shared_admission.ts";

const NOTE = 10;
const BODY = 100;

function capacityOf(maxTotalBytes = 10_000): Capacity {
  return new Capacity({ maxPerPeer: 10, maxTotalBytes, largestBody: 1_000 });
}

function part(recipient: string, change: Partial<Offer> = {}, pair = new PairSequence(0)) {
  const offer: Offer = {
    senderPaired: true,
    recipientPaired: true,
    recipient,
    size: NOTE + BODY,
    sequence: 1,
    known: "no",
    diskHasRoom: true,
    ...change,
  };
  return { offer, pair };
}

Deno.test("admitTogether() counts the body for each recipient, and once for the mailbox", () => {
  const capacity = capacityOf();
  const parts = [part("bob"), part("carol"), part("dave")];
  const admission = admitTogether(parts, BODY, capacity);
  deepEqual(admission, {
    kind: "admit",
    admissions: parts.map(() => ({ kind: "store" })),
    saved: 2 * BODY,
  });
  equal(capacity.bytes, 3 * NOTE + BODY);
  deepEqual(capacity.usage("bob"), { messages: 1, bytes: NOTE + BODY });
  deepEqual(parts.map(({ pair }) => pair.lastReserved), [1, 1, 1]);
});

Deno.test("admitTogether() refuses all when one cannot have it, and names that one", () => {
  const capacity = capacityOf();
  capacity.setQuota("carol", { bytes: 50 });
  const parts = [part("bob"), part("carol"), part("dave", { recipientPaired: false })];
  const admission = admitTogether(parts, BODY, capacity);
  deepEqual(admission, {
    kind: "refuse",
    reasons: [undefined, "quota exceeded", "recipient is not a paired peer"],
  });
  equal(capacity.bytes, 0);
  // Its number is awaited again: what comes behind it must not pass it.
  deepEqual(parts.map(({ pair }) => pair.awaited), [1, 1, 1]);
});

Deno.test("admitTogether() takes what fits only because the body is there once", () => {
  const capacity = capacityOf(3 * NOTE + BODY);
  equal(admitTogether([part("bob"), part("carol"), part("dave")], BODY, capacity).kind, "admit");
  const full = capacityOf(3 * NOTE + BODY - 1);
  deepEqual(admitTogether([part("bob"), part("carol"), part("dave")], BODY, full), {
    kind: "refuse",
    reasons: ["quota exceeded", "quota exceeded", "quota exceeded"],
  });
});

Deno.test("admitTogether() stores a repeat for those alone that do not have it", () => {
  const capacity = capacityOf();
  const had = part("bob", { known: "same body" }, new PairSequence(1));
  const admission = admitTogether([had, part("carol")], BODY, capacity);
  deepEqual(admission, {
    kind: "admit",
    admissions: [{ kind: "repeat", advance: false }, { kind: "store" }],
    saved: 0,
  });
  equal(capacity.bytes, NOTE + BODY);
});
