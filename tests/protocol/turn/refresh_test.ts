/** Refresh (RFC 8656 section 8): statements 80 to 86 of docs/relay_checklist.md. */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { utf8 } from "../../../src/base/bytes.ts";
import { AttributeType } from "../../../src/protocol/stun/attributes.ts";
import { Method } from "../../../src/protocol/stun/message.ts";
import {
  BOTH,
  errorOf,
  isSuccess,
  lifetimeOf,
  PEER,
  PEER_V6,
  receivedBy,
  relayedOf,
  TurnScene,
  V4,
  V6,
} from "./turn_scene.ts";

Deno.test("2-RE-80 Refresh without an allocation is refused with a signed 437", () => {
  const client = new TurnScene().client();
  const answer = client.refresh(600);
  strictEqual(errorOf(answer), 437);
  ok(client.trusts(answer));
});

Deno.test("2-RE-81 Another user on the same 5-tuple touches nothing", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  client.permit(PEER);
  client.as("other");
  for (
    const answer of [
      client.refresh(0),
      client.refresh(3_600),
      client.permit("8.8.4.4:1"),
      client.bind(0x4000, PEER),
    ]
  ) {
    strictEqual(errorOf(answer), 441);
    ok(client.trusts(answer));
  }
  strictEqual(errorOf(client.allocate()), 437);
  client.as("user");
  ok(isSuccess(client.refresh(0)));
});

Deno.test("2-RE-82 Refresh of a family that the allocation has not is refused with 443", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  strictEqual(errorOf(client.refresh(600, V6)), 443);
  ok(isSuccess(client.refresh(600, V4)));
  const unreadable = [AttributeType.RequestedAddressFamily, new Uint8Array(4)] as const;
  strictEqual(errorOf(client.refresh(600, unreadable)), 400);
});

Deno.test("2-RE-82 One family of two is refreshed and deleted by itself", () => {
  const scene = new TurnScene();
  const client = scene.client();
  const [v4, v6] = relayedOf(client.allocate(BOTH));
  client.permit(PEER, PEER_V6);
  client.bind(0x4004, PEER);
  client.bind(0x4006, PEER_V6);
  scene.pass(500);
  ok(isSuccess(client.refresh(600, V6)));
  scene.pass(100);
  strictEqual(scene.relayPort(v4), undefined, "it was not refreshed");
  ok(scene.relayPort(v6) && client.allocation);
  strictEqual(client.channelData(0x4004, utf8("x")), undefined);
  ok(client.bind(0x4006, PEER_V6) && client.channelData(0x4006, utf8("x")));
  strictEqual(scene.sessions.length, 0);
  strictEqual(errorOf(client.refresh(600, V4)), 443);
  ok(isSuccess(client.refresh(0, V6)));
  strictEqual(client.allocation, undefined);
  deepStrictEqual(scene.sessions[0]?.relayed, [v4, v6]);
});

Deno.test("2-RE-83 LIFETIME 0 ends the allocation; said again, there is none", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  const transactionId = scene.nextTransaction();
  const refresh = () =>
    client.request(Method.Refresh, [[AttributeType.Lifetime, new Uint8Array(4)]], {
      transactionId,
    });
  const answer = refresh();
  ok(isSuccess(answer) && client.trusts(answer));
  strictEqual(lifetimeOf(answer), 0);
  strictEqual(scene.open.size, 0);
  strictEqual(errorOf(refresh()), 437);
  ok(isSuccess(client.allocate()), "the 5-tuple is free");
});

Deno.test("2-RE-84 Refresh has the bounds of Allocate", () => {
  const client = new TurnScene().allocated();
  deepStrictEqual([1, 599, 1_800, 100_000].map((seconds) => lifetimeOf(client.refresh(seconds))), [
    600,
    600,
    1_800,
    3_600,
  ]);
  const malformed = client.request(Method.Refresh, [[AttributeType.Lifetime, new Uint8Array(3)]]);
  strictEqual(errorOf(malformed), 400);
});

Deno.test("2-RE-84 Refresh without LIFETIME gives ten minutes from now", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  scene.pass(500);
  strictEqual(lifetimeOf(client.request(Method.Refresh, [])), 600);
  scene.pass(599);
  ok(client.allocation);
  scene.pass(1);
  strictEqual(client.allocation, undefined);
});

Deno.test("2-RE-84 Refresh may also shorten", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  client.refresh(3_600);
  client.refresh(600);
  scene.pass(600);
  strictEqual(client.allocation, undefined);
});

Deno.test("2-RE-85 Permissions and channels do not live longer for a Refresh", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  client.permit(PEER);
  client.bind(0x4000, "8.8.4.4:1");
  scene.pass(200);
  client.refresh(3_600);
  ok(receivedBy(scene.fromPeer(PEER, client.relayed, utf8("x"))));
  scene.pass(101);
  strictEqual(scene.fromPeer(PEER, client.relayed, utf8("x")), undefined);
  scene.pass(300);
  strictEqual(client.channelData(0x4000, utf8("x")), undefined);
});

Deno.test("2-RE-86 Traffic does not extend an allocation", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  client.bind(0x4000, PEER);
  for (let second = 0; second < 590; second += 59) {
    scene.pass(59);
    client.channelData(0x4000, utf8("x"));
    scene.fromPeer(PEER, client.relayed, utf8("x"));
  }
  scene.pass(10);
  strictEqual(client.allocation, undefined);
});
