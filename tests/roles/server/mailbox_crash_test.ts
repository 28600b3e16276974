import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { openDataFolder } from "../../../src/roles/data_folder.ts";
import { Inbox, openDesk, peer, TestHost } from "./mailbox_scene.ts";

const [alice, bob] = [peer("alice"), peer("bob")];
const ROUNDS = 4;

Deno.test("The mailbox has every message it accepted after kill -9, once and in order", async () => {
  const path = await Deno.makeTempDir();
  const host = new TestHost(7);
  let delivered = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const acknowledged = await storeUntilKilled(path, round, delivered + 20 + host.pick(150));

    const folder = await openDataFolder({ path, kind: "server" });
    strictEqual(folder.restored, false);
    const { desk, close } = await openDesk(folder, host);
    const last = desk.lastAccepted(alice, bob);
    ok(last >= acknowledged, `accepted ${acknowledged}, ${last} on disk`);
    const texts: string[] = [];
    while (delivered + texts.length < last) {
      const inbox = new Inbox(desk, bob);
      await inbox.untilReceived(Math.min(256, last - delivered - texts.length));
      texts.push(...inbox.texts());
      await inbox.purge(...inbox.received);
      inbox.attachment.detach();
    }
    const expected = Array.from(
      { length: last - delivered },
      (_, n) => `message ${delivered + n + 1}`,
    );
    deepStrictEqual(texts, expected);
    deepStrictEqual(desk.totals(), { messages: 0, bytes: 0 });
    for (const kind of ["staged", "part"]) {
      const blobs = folder.kv.list({ prefix: ["mailbox", "blob", kind] });
      deepStrictEqual(await Array.fromAsync(blobs), [], `${kind} left over`);
    }
    delivered = last;
    await close();
    await folder.close();
  }
  await Deno.remove(path, { recursive: true });
});

/** Returns the highest sequence that the server had said to have accepted. */
async function storeUntilKilled(path: string, seed: number, enough: number): Promise<number> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-lock", "mailbox_crash_child.ts", path, String(seed)],
    cwd: new URL(".", import.meta.url),
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let acknowledged = 0;
  let text = "";
  for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const lines = text.split("\n");
    text = lines.pop()!;
    for (const line of lines) acknowledged = Math.max(acknowledged, Number(line));
    if (acknowledged < enough) continue;
    child.kill("SIGKILL");
    enough = Infinity;
  }
  strictEqual((await child.status).signal, "SIGKILL");
  return acknowledged;
}
