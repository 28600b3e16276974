// deno-lint-ignore-file no-console -- a script speaks to the terminal that started it.
/**
 * Writes the dump of the present store format to `tests/vectors`: a server, a sender and a reader
 * in the middle of their work. Run it in the commit that changes the format, and keep the others.
 *
 * `deno task store-dump`
 */

import { utf8 } from "../src/base/bytes.ts";
import { createServer, Node } from "../src/mod.ts";
import { FORMAT_VERSION } from "../src/roles/store_record.ts";
import { dumpStore } from "../tests/support/store_dump.ts";

const PSK = "correct horse battery staple";

const path = await Deno.makeTempDir({ prefix: "cairn-dump-" });
try {
  await work();
  let text = "";
  for (const store of ["server", "sender", "reader", "tablet"]) {
    text += await dumpStore(store, `${path}/${store}`);
  }
  const file = new URL(`../tests/vectors/store_format_${FORMAT_VERSION}.jsonl`, import.meta.url);
  await Deno.writeTextFile(file, text);
  console.log(`Wrote ${file.pathname}`);
} finally {
  await Deno.remove(path, { recursive: true });
}

async function work(): Promise<void> {
  const server = createServer({
    storagePath: `${path}/server`,
    listenAddr: "127.0.0.1:0",
    management: { enabled: false },
    psk: PSK,
  });
  await server.start();
  const serverUrl = `ws://127.0.0.1:${server.addresses.links.port}/link`;
  const join = async (name: string) => {
    const node = await Node.create({ storagePath: `${path}/${name}`, serverUrl });
    await node.start();
    await node.pairWithPsk(PSK, server.peerId);
    return node;
  };
  const [sender, reader] = [await join("sender"), await join("reader")];
  const tablet = await join("tablet");
  await tablet.close();
  const both = [reader.peerId, tablet.peerId];
  const send = async (text: string) => {
    const delivered = new Promise((resolve) => sender.on("delivered", resolve));
    await sender.send(reader.peerId, "chat", utf8(text));
    return { delivered };
  };
  // One that was delivered, whose id is remembered.
  const taken = new Promise<void>((resolve) => reader.on("message", () => resolve()));
  await (await send("delivered")).delivered;
  await taken;
  await reader.close();
  // One that the reader has and its application has not taken.
  const again = await Node.create({ storagePath: `${path}/reader`, serverUrl });
  await again.start();
  await (await send("in the inbox")).delivered;
  await again.close();
  // And what waits in the mailbox, in one record and in several.
  for (const text of ["one", "two ".repeat(2_000), "three ".repeat(9_000), "four"]) {
    await (await sender.send(reader.peerId, "chat", utf8(text))).accepted;
  }
  const shared = await sender.broadcast("chat", utf8("for both ".repeat(9_000)), { to: both });
  await Promise.all(shared.map(({ accepted }) => accepted));
  await server.close();
  await sender.send(reader.peerId, "chat", utf8("in the outbox"));
  await sender.broadcast("chat", utf8("for both in the outbox"), { to: both });
  await sender.close();
}
