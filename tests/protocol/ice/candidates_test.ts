import assert from "node:assert/strict";
import {
  candidatePriority,
  formatCandidate,
  pairPriority,
  parseCandidate,
} from "../../../src/protocol/ice/candidates.ts";
import { at } from "./ice_world.ts";

Deno.test("Candidates: priorities put direct before reflexive before relayed, and IPv6 first", () => {
  const v4 = at("192.0.2.1", 9);
  const v6 = { address: new Uint8Array(16).fill(0x20), port: 9 };
  const order = [
    candidatePriority("host", v6),
    candidatePriority("host", v4),
    candidatePriority("prflx", v4),
    candidatePriority("srflx", v4),
    candidatePriority("relay", v4),
  ];
  assert.deepEqual(order, order.toSorted((a, b) => b - a));
  assert.ok(order.every((priority) => priority > 0 && priority < 2 ** 31));
});

Deno.test("Candidates: a pair's priority is RFC 8445's formula", () => {
  assert.equal(pairPriority(3, 2), 2n * 2n ** 32n + 6n + 1n);
  assert.equal(pairPriority(2, 3), 2n * 2n ** 32n + 6n);
});

Deno.test("Candidates: what is sent can be read, and nothing else is an address to send to", () => {
  const candidate = { type: "srflx", address: at("198.51.100.4", 4_000) } as const;
  assert.deepEqual(parseCandidate(formatCandidate(candidate)), candidate);
  for (
    const [type, value] of [
      ["host", "198.51.100.4:0"],
      ["host", "0.0.0.0:9"],
      ["host", "224.0.0.1:9"],
      ["host", "255.255.255.255:9"],
      ["host", "[ff02::1]:9"],
      ["host", "[::]:9"],
      ["host", "example.org:9"],
      ["prflx", "198.51.100.4:9"],
      ["ws", "ws://198.51.100.4:9/link"],
    ] as const
  ) {
    assert.equal(parseCandidate({ type, value }), undefined, `${type} ${value}`);
  }
});
