/* What a peer is told of a pairing, once it is made. */

import { deepEqual, match, ok } from "node:assert/strict";
import { PeerUnreachable } from "../../../src/base/errors.ts";
import { CuttableProxy } from "../../support/cuttable_proxy.ts";
import { FakeTime } from "../../support/fake_time.ts";
import { Home, PSK } from "../../support/home.ts";
import { untilHolds } from "../../support/rested.ts";

Deno.test("a pairing that is made, and no link after it: the peer is told which of them failed", async () => {
  using time = new FakeTime();
  await using home = await Home.open();
  await using proxy = new CuttableProxy(home.server.addresses.links.port, 1);
  const node = await home.reopen("alice", { serverUrl: `ws://127.0.0.1:${proxy.port}` });
  let told: unknown;
  void node.pairWithPsk(PSK, home.server.peerId).catch((error) => told = error);
  await untilHolds(() => node.pairings().length > 0, () => "the pairing");
  await untilHolds(() => told !== undefined, () => "the end", () => time.elapse(1_000));
  ok(told instanceof PeerUnreachable);
  match(told.message, /^The pairing with Qm\w+ is made, and need not be repeated; but no link/);
  deepEqual(node.pairings().map(({ mechanism }) => mechanism), ["psk"]);
});
