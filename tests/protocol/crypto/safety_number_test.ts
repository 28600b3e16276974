import { equal, match, notEqual, ok } from "node:assert/strict";
import { fromHex } from "../../../src/base/bytes.ts";
import { PeerId } from "../../../src/protocol/crypto/peer_id.ts";
import { safetyNumber } from "../../../src/protocol/crypto/safety_number.ts";
import { identityFor } from "../../support/identities.ts";

const [alice, bob, carol] = ["alice", "bob", "carol"].map((label) => identityFor(label).peerId);

Deno.test("safetyNumber() is sixty digits, the same for both, and another one for another peer", () => {
  ok(alice && bob && carol);
  match(safetyNumber(alice, bob), /^(\d{5} ){11}\d{5}$/);
  equal(safetyNumber(alice, bob), safetyNumber(bob, alice));
  notEqual(safetyNumber(alice, bob), safetyNumber(alice, carol));
  notEqual(safetyNumber(alice, bob), safetyNumber(carol, bob));
});

Deno.test("safetyNumber() holds the half that Python's hashlib computes for a Peer ID", () => {
  ok(alice);
  const known = PeerId.fromBytes(
    fromHex("122010ba682c8ad13513971e8b56881aab8bd702bb807796eca81932c735a94d6e6d"),
  );
  ok(safetyNumber(known, alice).includes("75314 76846 26475 77734 91565 24706"));
});
