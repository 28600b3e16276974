import { deepEqual, equal, ok } from "node:assert/strict";
import { fromUtf8, toBase64, toHex, utf8 } from "../../../src/base/bytes.ts";
import { exportPeer } from "../../../src/roles/server/peer_export.ts";
import { MessageTrace } from "../../../src/roles/server/message_trace.ts";
import { DAY_MS, Inbox, memoryFolder, openDesk, peer, request, TestHost } from "./mailbox_scene.ts";

const [alice, bob, carol] = [peer("alice"), peer("bob"), peer("carol")];

Deno.test("What became of a message is known after a restart, until its id is forgotten", async () => {
  const folder = await memoryFolder();
  const host = new TestHost();
  let scene = await openDesk(folder, host);
  let trace = new MessageTrace(scene.desk.inquiry, host);
  scene.desk.accounts.watch((event) => trace.hear(event));
  const [read, waiting] = [request(bob, 1), request(bob, 2)];
  for (const message of [read, waiting]) await scene.desk.forward(alice, message);
  const inbox = new Inbox(scene.desk, bob);
  await inbox.untilReceived(2);
  await inbox.purge(inbox.received[0]!);
  const stepsOf = async (msgId: Uint8Array) =>
    (await trace.of(msgId)).map(({ state, steps }) => [state, ...steps.map(({ step }) => step)]);
  deepEqual(await stepsOf(read.msgId), [[
    "delivered",
    "accepted",
    "stored",
    "offered",
    "delivered",
  ]]);
  deepEqual(await stepsOf(waiting.msgId), [["waiting", "accepted", "stored", "offered"]]);

  await scene.close();
  scene = await openDesk(folder, host);
  trace = new MessageTrace(scene.desk.inquiry, host);
  deepEqual(await stepsOf(read.msgId), [["delivered", "delivered"]]);
  deepEqual(await stepsOf(waiting.msgId), [["waiting", "accepted"]]);
  deepEqual(await stepsOf(request(bob, 3).msgId), []);
  await scene.close();
  folder.kv.close();
});

Deno.test("An export holds what belongs to one peer, and of others only who wrote to whom", async () => {
  const folder = await memoryFolder();
  const host = new TestHost();
  const { desk, close } = await openDesk(folder, host);
  const sealed = new Uint8Array(5_000).fill(7);
  for (const n of [1, 2]) await desk.forward(alice, request(bob, n, sealed));
  const { msgId, ...row } = request(bob, 3, "the note");
  const rows = [{ ...row, msgId, recipient: bob }];
  await desk.sync(alice, { id: msgId, sharedBody: sealed, rows });
  await desk.forward(bob, request(carol, 1));
  await desk.forward(alice, request(carol, 1));
  await desk.accounts.setQuota(bob, { messages: 5 });
  const entry = { at: host.now(), actor: "cli", action: "peer.approve", detail: null } as const;
  const audit = [
    { ...entry, id: 2, peerId: bob.toString() },
    { ...entry, id: 1, peerId: carol.toString() },
  ];
  const secret = new Uint8Array(32).fill(9);
  const pairing = { peerId: bob, mechanism: "pin", pairedAt: DAY_MS, lastSeen: 0, secret } as const;

  const server = {
    book: { get: () => pairing, has: () => true, list: () => [pairing] },
    names: { get: () => "Bob's phone", set: () => Promise.resolve() },
    accounts: desk.accounts,
    inquiry: desk.inquiry,
    audit: {
      record: () => Promise.resolve(),
      entries: (_limit: number, before = Infinity) =>
        Promise.resolve(audit.filter(({ id }) => id < before)),
    },
  };
  const text = (await Array.fromAsync(exportPeer(server, bob))).map(fromUtf8).join("");
  const lines = text.trimEnd().split("\n").map((line) => JSON.parse(line));

  deepEqual(lines.map(({ type }) => type), [
    ...["pairing", "waiting-for-it", "waiting-for-it", "waiting-for-it", "sent-by-it"],
    ...["audit", "end"],
  ]);
  deepEqual([lines[0].name, lines[0].quota.messages], ["Bob's phone", 5]);
  deepEqual(lines.slice(1, 4).map(({ sequence }) => sequence), [1, 2, 3]);
  equal(lines[1].body_base64, toBase64(sealed));
  deepEqual([lines[3].body_base64, lines[3].shared_body_base64], [
    toBase64(utf8("the note")),
    toBase64(sealed),
  ]);
  equal(lines[1].from, alice.toString());
  deepEqual([lines[4].to, lines[4].bytes, lines[4].body_base64], [carol.toString(), 9, undefined]);
  equal(lines[6].lines, 6);
  for (const form of [toHex(secret), toBase64(secret)]) ok(!text.includes(form));
  await close();
  folder.kv.close();
});
