/**
 * A hostile machine on the local network, as a program: says in the name of every server it hears
 * of that it is here, floods the network with inventions and broken messages, and takes every
 * connection without a word. It prints a line once it listens; a line of standard input asks how often
 * it was dialed, which it tells when it has heard of a server.
 */

import { Buffer } from "node:buffer";
import { createSocket } from "node:dgram";
// @ts-types="@types/dns-packet"
import dnsPacket, { type Answer } from "dns-packet";

const GROUP = "224.0.0.251";
const PORT = 5353;
const SERVICE = "_cairn._tcp.local";
/** Milliseconds. No more than others read: what they hear must not be chance. */
const FLOOD_INTERVAL = 150;

const [address = ""] = Deno.args;
let dialed = 0;
const heard = new Set<string>();
const hasHeard = Promise.withResolvers<void>();
const listener = Deno.listen({ port: 0 });
const { port } = listener.addr;
void (async () => {
  for await (const _connection of listener) dialed++;
})();

const socket = createSocket({ type: "udp4", reuseAddr: true });
await new Promise<void>((resolve) => socket.bind(PORT, "0.0.0.0", resolve));
socket.addMembership(GROUP, address);
socket.setMulticastInterface(address);
socket.on("message", (bytes, { address: sender }) => {
  if (sender === address) return;
  try {
    for (const { name, type, ...rest } of dnsPacket.decode(bytes).answers ?? []) {
      if (name !== SERVICE || type !== "PTR" || !("data" in rest)) continue;
      heard.add(String(rest.data));
      hasHeard.resolve();
      // Nobody else is to be heard before.
      say(claim(String(rest.data), [address]));
    }
  } catch {
    // It is not for us.
  }
});
setInterval(flood, FLOOD_INTERVAL);

print({ port });
for await (const _line of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
  await hasHeard.promise;
  print({ dialed });
}

function print(values: Record<string, number>): void {
  // deno-lint-ignore no-console
  console.log(JSON.stringify(values));
}

function flood(): void {
  const invented = crypto.getRandomValues(new Uint8Array(20)).toHex();
  say(claim(`${invented}.${SERVICE}`, [address]));
  for (const name of heard) {
    say(claim(name, [address]));
    say(claim(name, ["127.0.0.1", "8.8.8.8", "255.255.255.255", "0.0.0.0"]));
    // A goodbye that is not its own.
    say(claim(name, [address], 0));
  }
  say(broken());
  say(crypto.getRandomValues(new Uint8Array(1_400)));
}

function claim(instance: string, addresses: readonly string[], ttl = 120): Uint8Array {
  const host = `${crypto.randomUUID()}.local`;
  const answers: Answer[] = [
    { type: "PTR", name: SERVICE, ttl, data: instance },
    { type: "SRV", name: instance, ttl, flush: true, data: { port, target: host } },
    ...addresses.map((data): Answer => ({ type: "A", name: host, ttl, flush: true, data })),
  ];
  return dnsPacket.encode({ type: "response", flags: dnsPacket.AUTHORITATIVE_ANSWER, answers });
}

/** A header that promises 65,535 answers, the first of which has a name that points to itself. */
function broken(): Uint8Array {
  return Buffer.from("000084000000ffff00000000c00c000c000100000078000000", "hex");
}

function say(message: Uint8Array): void {
  socket.send(message, PORT, GROUP, () => {});
}
