import { deepEqual } from "node:assert/strict";
import { systemHost } from "../../../src/base/host.ts";
import { sealedKv } from "../../../src/roles/sealed_kv.ts";
import { ValueSeal } from "../../../src/roles/value_seal.ts";
import { DAY_MS, Inbox, MemoryFolder, openDesk, peer, request, TestHost } from "./mailbox_scene.ts";

const [alice, bob, carol] = [peer("alice"), peer("bob"), peer("carol")];

Deno.test("A damaged record of an encrypted store is passed over, and holds up no other message", async () => {
  using kv = await Deno.openKv(":memory:");
  const folder = new MemoryFolder(sealedKv(kv, new ValueSeal(new Uint8Array(32), systemHost)));
  const host = new TestHost();
  const first = await openDesk(folder, host);
  for (const n of [1, 2, 3]) await first.desk.forward(alice, request(bob, n));
  await first.desk.forward(carol, request(bob, 1, "carol's"));
  await first.close();
  const waiting = { prefix: ["mailbox", "waiting", bob.bytes, alice.bytes] };
  const [, second] = await Array.fromAsync(kv.list<Uint8Array>(waiting));

  const { desk, close } = await openDesk(folder, host);
  await kv.set(second!.key, second!.value.with(50, second!.value[50]! ^ 1));
  const inbox = new Inbox(desk, bob);
  await inbox.untilReceived(3);
  deepEqual(inbox.texts().sort(), ["carol's", "message 1", "message 3"]);
  inbox.attachment.detach();

  host.pass(8 * DAY_MS);
  await desk.sweep();
  const left = await Array.fromAsync(kv.list(waiting));
  await close();
  deepEqual(left.map(({ key }) => key), [second!.key]);
});
