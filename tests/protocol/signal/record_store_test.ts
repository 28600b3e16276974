import assert from "node:assert/strict";
import fc from "fast-check";
import {
  mergeRecords,
  RECORD_OVERHEAD,
  type RecordLimits,
  RecordStore,
} from "../../../src/protocol/signal/record_store.ts";

const NOTHING = { payload: undefined, peers: [] };
const ann = { peerId: "ann", addresses: ["1.2.3.4:5"] };
const bob = { peerId: "bob", addresses: ["[::1]:5", "ws://b"] };

Deno.test("a payload is found until its time is over, and the newest counts", () => {
  const records = store({ ttl: 1_000 });
  assert.deepEqual(records.find("abc", 0), NOTHING);
  assert.equal(records.publish("a", "abc", bytes(1), 0), true);
  assert.deepEqual(records.find("abc", 999), { payload: bytes(1), peers: [] });
  assert.equal(records.publish("b", "abc", bytes(2), 999), true);
  assert.deepEqual(records.find("abc", 1_998), { payload: bytes(2), peers: [] });
  assert.deepEqual(records.find("abc", 1_999), NOTHING);
  assert.deepEqual([records.size, records.bytes], [0, 0]);
});

Deno.test("of several stores the newest payload counts, and the newest of a peer's announcements", () => {
  const [one, other] = [store({ ttl: 1_000 }), store({ ttl: 1_000 })];
  one.publish("a", "abc", bytes(1), 100);
  other.publish("a", "abc", bytes(2), 200);
  one.announce("a", "abc", { ...ann, addresses: ["newer"] }, 210);
  other.announce("a", "abc", ann, 120);
  other.announce("a", "abc", bob, 220);
  const parts = [one, other].map((store) => store.dated("abc", 300));
  const found = { payload: bytes(2), peers: [bob, { ...ann, addresses: ["newer"] }] };
  assert.deepEqual(mergeRecords(parts), found);
  assert.deepEqual(mergeRecords(parts.toReversed()), found);
});

Deno.test("publishing again makes a record live on", () => {
  const records = store({ ttl: 1_000 });
  for (let now = 0; now < 10_000; now += 900) records.publish("a", "abc", bytes(1), now);
  assert.deepEqual(records.find("abc", 10_000).payload, bytes(1));
  assert.equal(records.size, 1);
});

Deno.test("a topic holds a payload and announcements, newest first", () => {
  const records = store();
  records.announce("a", "abc", ann, 0);
  records.publish("a", "abc", bytes(1), 1);
  records.announce("b", "abc", bob, 2);
  assert.deepEqual(records.find("abc", 3), { payload: bytes(1), peers: [bob, ann] });
  const moved = { peerId: "ann", addresses: ["6.7.8.9:10"] };
  records.announce("a", "abc", moved, 4);
  assert.deepEqual(records.find("abc", 5).peers, [moved, bob]);
});

Deno.test("announcements without a Peer ID are told apart by what they say", () => {
  const records = store();
  const one = { peerId: "", addresses: ["00ff"] };
  const other = { peerId: "", addresses: ["00fe"] };
  records.announce("a", "abc", one, 0);
  records.announce("a", "abc", other, 1);
  records.announce("b", "abc", one, 2);
  assert.deepEqual(records.find("abc", 3).peers, [one, other]);
});

Deno.test("a topic keeps the 64 newest announcements, and its payload", () => {
  const records = store();
  records.publish("a", "abc", bytes(1), 0);
  for (let i = 0; i < 70; i++) records.announce("a", "abc", { ...ann, peerId: `${i}` }, 0);
  const { payload, peers } = records.find("abc", 0);
  assert.deepEqual(payload, bytes(1));
  assert.deepEqual(peers.map(({ peerId }) => Number(peerId)), range(69, 6));
});

Deno.test("an owner beyond its share pushes out its own oldest record, never another's", () => {
  const records = store({ records: 100, recordsPerOwner: 2 });
  records.publish("b", "theirs", bytes(9), 0);
  for (const topic of ["1", "2", "3"]) records.publish("a", topic, bytes(1), 0);
  const found = ["theirs", "1", "2", "3"].map((topic) => records.find(topic, 0).payload?.[0]);
  assert.deepEqual(found, [9, undefined, 1, 1]);
});

Deno.test("an owner's share of the bytes is that of the records", () => {
  const each = RECORD_OVERHEAD + 100 + 2;
  const records = store({ records: 10, bytes: 10 * 2 * each, recordsPerOwner: 1 });
  assert.equal(records.publish("a", "1", new Uint8Array(100 + each), 0), true);
  assert.equal(records.publish("a", "1", new Uint8Array(101 + each), 0), false);
  assert.equal(records.find("1", 0).payload?.length, 100 + each);
});

Deno.test("a full store refuses what is new and keeps what it has", () => {
  const records = store({ records: 2, recordsPerOwner: 2 });
  records.publish("a", "1", bytes(1), 0);
  records.publish("b", "2", bytes(2), 0);
  assert.equal(records.publish("c", "3", bytes(3), 0), false);
  assert.equal(records.publish("c", "1", bytes(3), 0), true, "in place of one that is there");
  assert.deepEqual(records.find("1", 0).payload, bytes(3));
  assert.equal(records.publish("d", "4", bytes(4), 60_000), true, "the others' time is over");
});

Deno.test("whatever comes, a store stays within its bounds, and empty of what is over", () => {
  const step = fc.record({
    owner: fc.constantFrom("a", "b", "c", "d"),
    topic: fc.constantFrom("1", "2", "3", "4", "5"),
    length: fc.nat(600),
    peer: fc.option(fc.constantFrom("", "p", "q")),
    wait: fc.nat(400),
  });
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const limits = { records: 6, bytes: 4_000, recordsPerOwner: 3, ttl: 1_000 };
    const records = new RecordStore(limits);
    let now = 0;
    for (const { owner, topic, length, peer, wait } of steps) {
      now += wait;
      if (peer === null) {
        const kept = records.publish(owner, topic, new Uint8Array(length), now);
        if (kept) assert.equal(records.find(topic, now).payload?.length, length);
      } else {
        const announcement = { peerId: peer, addresses: ["x".repeat(length)] };
        const kept = records.announce(owner, topic, announcement, now);
        if (kept) assert.deepEqual(records.find(topic, now).peers[0], announcement);
      }
      assert.ok(records.size <= limits.records && records.bytes <= limits.bytes);
      assert.ok(records.size > 0 || records.bytes === 0);
    }
    records.expire(now + 1_000);
    assert.deepEqual([records.size, records.bytes], [0, 0]);
  }));
});

function store(limits: Partial<RecordLimits> = {}): RecordStore {
  return new RecordStore({
    records: 1_000,
    bytes: 1e6,
    recordsPerOwner: 1_000,
    ttl: 60_000,
    ...limits,
  });
}

function bytes(...values: number[]): Uint8Array {
  return Uint8Array.from(values);
}

function range(first: number, last: number): number[] {
  return Array.from({ length: first - last + 1 }, (_, i) => first - i);
}
