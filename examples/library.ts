// deno-lint-ignore-file no-console -- it shows what comes.
import { createServer, Node } from "../src/mod.ts";

const server = createServer({
  storagePath: "./home/server",
  listenAddr: "127.0.0.1:0",
  management: { enabled: false }, // No dashboard.
});
await server.start();
const serverUrl = `ws://127.0.0.1:${server.addresses.links.port}`;

async function device(name: string): Promise<Node> {
  const node = await Node.create({ storagePath: `./home/${name}`, serverUrl });
  await node.start();
  if (node.pairings().length === 0) await node.pairWithPin(server.pairing.createPin().pin);
  return node;
}

const [phone, laptop] = [await device("phone"), await device("laptop")];
await laptop.close(); // It is switched off.
const sent = await phone.send(laptop.peerId, "chat", new TextEncoder().encode("Good morning"));
await sent.accepted; // The server has it on disk and cannot read it.

const again = await device("laptop");
again.on("message", ({ channel, data }) => {
  console.log(channel, new TextDecoder().decode(data));
});
