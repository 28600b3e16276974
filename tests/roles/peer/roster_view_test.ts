import { deepEqual, equal, throws } from "node:assert/strict";
import { ProtocolError } from "../../../src/base/errors.ts";
import { PeerId } from "../../../src/protocol/crypto/peer_id.ts";
import type { Presence, RosterRow } from "../../../src/protocol/hub_messages.ts";
import { RosterView } from "../../../src/roles/peer/roster_view.ts";
import { bytesFor, identityFor } from "../../support/identities.ts";

const [here, there] = [identityFor("here").peerId, identityFor("there").peerId];
const bob = identityFor("bob").peerId;

function row(presence: Presence, name: string | null = null): RosterRow {
  return { peerId: bob, name, presence };
}

function opened(): { view: RosterView; told: string[] } {
  const told: string[] = [];
  const view = new RosterView(({ name, online, known }) => {
    told.push(`${name} ${online ? "online" : "away"}${known ? "" : ", unknown"}`);
  });
  return { view, told };
}

Deno.test("RosterView tells what changed, once", () => {
  const { view, told } = opened();
  view.take(here, { rows: [row("away", "laptop")], more: false });
  view.change(here, [row("online", "laptop")]);
  view.change(here, [row("online", "laptop")]);
  view.change(here, [row("online", "old laptop")]);
  view.change(here, [row("gone")]);
  deepEqual(told, [
    "laptop away",
    "laptop online",
    "old laptop online",
    "undefined away, unknown",
  ]);
  deepEqual(view.list(), []);
});

Deno.test("RosterView has a peer online that one of two servers sees", () => {
  const { view, told } = opened();
  view.take(here, { rows: [row("online", "laptop")], more: false });
  view.take(there, { rows: [row("away")], more: false });
  view.silent(here);
  view.change(there, [row("online")]);
  view.forget(here);
  deepEqual(told, ["laptop online", "laptop away", "laptop online", "undefined online"]);
  equal(view.presence(there, bob), "online");
  equal(view.presence(here, bob), undefined);
});

Deno.test("RosterView puts a roster in parts together, and drops who is not in the next one", () => {
  const { view, told } = opened();
  const other: RosterRow = { ...row("away", "phone"), peerId: identityFor("carol").peerId };
  view.take(here, { rows: [other], more: true });
  deepEqual(view.list(), []);
  view.change(here, [row("online", "laptop")]);
  view.take(here, { rows: [row("away", "laptop")], more: false });
  deepEqual(view.list().map(({ name }) => name).sort(), ["laptop", "phone"]);
  told.length = 0;
  view.take(here, { rows: [other], more: false });
  deepEqual(told, ["undefined away, unknown"]);
});

Deno.test("RosterView does not let a server invent peers without end", () => {
  const { view } = opened();
  const rows = Array.from({ length: 10_001 }, (_, index): RosterRow => (
    { peerId: peerNumber(index), name: null, presence: "away" }
  ));
  throws(() => view.change(here, rows), ProtocolError);
});

function peerNumber(index: number): PeerId {
  const bytes = bob.bytes.slice();
  bytes.set(bytesFor(`peer ${index}`), 2);
  return PeerId.fromBytes(bytes);
}

Deno.test("RosterView takes a peer for gone when every server has told, and none of it", () => {
  const { view } = opened();
  const servers = [here, there];
  equal(view.isGone(bob, servers), false, "nobody has told of anybody");
  view.take(here, { rows: [], more: false });
  equal(view.isGone(bob, servers), false, "the other one may know it");
  view.take(there, { rows: [row("away")], more: false });
  equal(view.isGone(bob, servers), false);
  view.change(there, [row("gone")]);
  equal(view.isGone(bob, servers), true);
});

Deno.test("RosterView takes a contact that was just added for gone only after it was told of", () => {
  const { view } = opened();
  view.take(here, { rows: [], more: false });
  view.expect(bob);
  equal(view.isGone(bob, [here]), false, "its pairing may have yet to be told");
  view.change(here, [row("away")]);
  view.change(here, [row("gone")]);
  equal(view.isGone(bob, [here]), true);
  view.expect(bob);
  view.unexpect(bob);
  equal(view.isGone(bob, [here]), true);
});
