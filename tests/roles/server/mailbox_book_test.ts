import { deepStrictEqual, ok, rejects, strictEqual } from "node:assert/strict";
import type { MailboxEvent } from "../../../src/roles/server/mailbox_accounts.ts";
import type { MailboxDesk } from "../../../src/roles/server/mailbox_desk.ts";
import { DAY_MS, Inbox, memoryFolder, openDesk, peer, request, TestHost } from "./mailbox_scene.ts";

const [alice, bob, carol] = [peer("alice"), peer("bob"), peer("carol")];

/** A desk over a folder in memory, and how to open the same again. */
async function deskTest(
  story: (
    desk: MailboxDesk,
    reopen: (limits?: { maxAgeMs: number }) => Promise<MailboxDesk>,
    host: TestHost,
  ) => Promise<void>,
): Promise<void> {
  const folder = await memoryFolder();
  const host = new TestHost();
  let scene = await openDesk(folder, host, { limits: { maxPerPeer: 3 } });
  const reopen = async (limits: { maxAgeMs?: number } = {}) => {
    await scene.close();
    scene = await openDesk(folder, host, { limits: { maxPerPeer: 3, ...limits } });
    return scene.desk;
  };
  await story(scene.desk, reopen, host);
  await scene.close();
  folder.kv.close();
}

async function reason(desk: MailboxDesk, ...forward: Parameters<MailboxDesk["forward"]>) {
  return (await desk.forward(...forward)).rejectionReason;
}

Deno.test("A quota of one peer holds for that peer only, and across restarts", async () => {
  await deskTest(async (first, reopen) => {
    await first.accounts.setQuota(bob, { messages: 1 });
    let desk = await reopen();
    strictEqual(await reason(desk, alice, request(bob, 1)), null);
    strictEqual(await reason(desk, alice, request(bob, 2)), "recipient queue full (1 messages)");
    for (const n of [1, 2, 3]) strictEqual(await reason(desk, alice, request(carol, n)), null);
    deepStrictEqual(desk.accounts.of(bob), {
      peerId: bob,
      messages: 1,
      bytes: 9,
      quota: { messages: 1, bytes: 1024 ** 3 },
      own: { messages: true, bytes: false },
    });
    await desk.accounts.setQuota(bob, { bytes: 20 });
    await desk.accounts.setQuota(bob, { messages: null });
    desk = await reopen();
    strictEqual(await reason(desk, alice, request(bob, 2, new Uint8Array(12))), "quota exceeded");
    strictEqual(await reason(desk, alice, request(bob, 2, new Uint8Array(11))), null);
    const listed = desk.accounts.list().map(({ peerId, messages }) => [`${peerId}`, messages]);
    deepStrictEqual(listed, [[`${carol}`, 3], [`${bob}`, 2]].sort());
  });
});

Deno.test("A quota below what waits drops nothing, and holds until there is room", async () => {
  await deskTest(async (desk) => {
    for (const n of [1, 2, 3]) strictEqual(await reason(desk, alice, request(bob, n)), null);
    await desk.accounts.setQuota(bob, { messages: 2 });
    const inbox = new Inbox(desk, bob);
    await inbox.untilReceived(3);
    await inbox.purge(inbox.received[0]!);
    strictEqual(await reason(desk, alice, request(bob, 4)), "recipient queue full (2 messages)");
    await inbox.purge(inbox.received[1]!);
    strictEqual(await reason(desk, alice, request(bob, 4)), null);
  });
});

Deno.test("A quota that is no whole number is refused", async () => {
  await deskTest(async (desk) => {
    for (const messages of [-1, 0.5, NaN, 2 ** 60]) {
      await rejects(desk.accounts.setQuota(bob, { messages }), RangeError);
    }
    await desk.accounts.setQuota(bob, { messages: 0 });
    strictEqual(await reason(desk, alice, request(bob, 1)), "recipient queue full (0 messages)");
  });
});

Deno.test("An unpaired peer takes its quota along", async () => {
  await deskTest(async (desk, reopen) => {
    await desk.accounts.setQuota(bob, { messages: 1 });
    await desk.removePeer(bob);
    strictEqual((await reopen()).accounts.of(bob).own.messages, false);
  });
});

Deno.test("Those who watch hear what was accepted, refused and ended", async () => {
  await deskTest(async (desk, _reopen, host) => {
    const events: MailboxEvent[] = [];
    const stop = desk.accounts.watch((event) => events.push(event));
    const first = request(bob, 1, "12345");
    await desk.forward(alice, first);
    await desk.forward(alice, request(bob, 1, "1"));
    const waiting = await desk.accounts.messages(bob, 10);
    deepStrictEqual(waiting.map(({ from, size }) => [from, size]), [[alice, 5]]);
    strictEqual(await desk.accounts.purge(bob), 1);
    stop();
    await desk.forward(alice, request(bob, 2));
    const parts = { from: alice, to: bob };
    const message = { ...parts, msgId: first.msgId, size: 5, acceptedAt: host.now() };
    deepStrictEqual(events, [
      { type: "accepted", ...message },
      {
        type: "refused",
        ...parts,
        size: 1,
        reason: "sequence 1 was already used (last accepted 1)",
      },
      { type: "ended", ...message, reason: "purged by the operator" },
    ]);
  });
});

Deno.test("Another retention at a restart holds for what is stored", async () => {
  await deskTest(async (first, reopen, host) => {
    await first.forward(alice, request(bob, 1));
    const sweepAfter = async (desk: MailboxDesk, ms: number) => {
      host.pass(600_000);
      await desk.sweep();
      host.pass(ms - 600_000);
      await desk.sweep();
      return desk.totals().messages;
    };
    const longer = await reopen({ maxAgeMs: 30 * DAY_MS });
    for (let day = 0; day < 28; day++) strictEqual(await sweepAfter(longer, DAY_MS / 2), 1);
    const shorter = await reopen({ maxAgeMs: DAY_MS });
    ok(shorter.totals().messages === 1, "the clock is not believed at once");
    strictEqual(await sweepAfter(shorter, 1_200_000), 0);
  });
});
