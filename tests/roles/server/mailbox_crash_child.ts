/** A server that stores without end, and says what it has accepted, until it is killed. */

import { openDataFolder } from "../../../src/roles/data_folder.ts";
import { bodyOf, openDesk, peer, request, TestHost } from "./mailbox_scene.ts";

const [path, seed] = Deno.args;
const host = new TestHost(Number(seed));
const folder = await openDataFolder({ path: path!, kind: "server" });
const { desk } = await openDesk(folder, host);
const [alice, bob] = [peer("alice"), peer("bob")];
let sequence = desk.lastAccepted(alice, bob);
while (true) {
  const batch = Array.from({ length: 1 + host.pick(20) }, () => {
    const n = ++sequence;
    const size = host.pick(10) === 0 ? 60_000 + host.pick(600_000) : host.pick(3000);
    const message = request(bob, n, bodyOf(`message ${n}\0`, size));
    const forwarded = desk.forward(alice, { ...message, msgId: host.random(16) });
    return forwarded.then((ack) => ({ n, ack }));
  });
  for (const { n, ack } of await Promise.all(batch)) {
    if (!ack.accepted) throw new Error(ack.rejectionReason ?? "");
    await Deno.stdout.write(new TextEncoder().encode(`${n}\n`));
  }
}
