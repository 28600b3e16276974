/**
 * Two peers behind one NAT, as a program to be run in their network: they pair with the server,
 * write to one another, and say as JSON how that went. A line of standard input, `send MESSAGES BYTES`,
 * asks for more of it.
 */

import { Node } from "../../src/mod.ts";
import { fromUtf8, utf8 } from "../../src/base/bytes.ts";

const LINKED_WITHIN_MS = 300_000;
/** Whoever runs this has a deadline that ends it before. */
const DEADLINE = AbortSignal.timeout(900_000);

interface Orders {
  readonly folder: string;
  readonly signal: string;
  readonly server: string;
  /** One for each peer. */
  readonly pins: readonly [string, string];
  readonly large: number;
  /** Goes into every text and the name of its channel. */
  readonly mark: string;
}

const orders: Orders = JSON.parse(Deno.args[0] ?? "");
await main(orders);

async function main({ folder, signal, server, pins, large, mark }: Orders) {
  const started = performance.now();
  const options = (name: string) => ({
    storagePath: `${folder}/${name}`,
    signalServers: [signal],
  });
  const alice = await Node.create(options("alice"));
  await alice.start();
  await pairWithPin(alice, pins[0], server);
  const paired = performance.now();
  say({ event: "paired", ms: Math.round(paired - started) });

  // Bob pairs and goes away; what is written to him is kept.
  let bob = await Node.create(options("bob"));
  await bob.start();
  await pairWithPin(bob, pins[1], server);
  await bob.close();
  const body = crypto.getRandomValues(new Uint8Array(60_000));
  const parts = Math.ceil(large / body.length);
  for (let i = 0; i < parts; i++) await (await alice.send(bob.peerId, "large", body)).accepted;
  await (await alice.send(bob.peerId, mark, utf8(`kept ${mark}`))).accepted;

  const connecting = performance.now();
  bob = await Node.create(options("bob"));
  const came = Promise.withResolvers<void>();
  const count = new Map<string, number>();
  let first: number | undefined;
  bob.on("message", ({ channel, data, id }) => {
    first ??= performance.now();
    count.set(id, (count.get(id) ?? 0) + 1);
    if (channel === mark && fromUtf8(data) === `kept ${mark}`) came.resolve();
  });
  await bob.start();
  await within(came.promise, "the kept messages");
  const answered = Promise.withResolvers<void>();
  alice.on("message", ({ data }) => {
    if (fromUtf8(data) === `back ${mark}`) answered.resolve();
  });
  await (await bob.send(alice.peerId, mark, utf8(`back ${mark}`))).accepted;
  await within(answered.promise, "the answer");
  const { natKind, links } = await bob.networkInfo();
  say({
    event: "done",
    messages: count.size,
    expected: parts + 1,
    repeated: [...count.values()].filter((times) => times > 1).length,
    firstMessageMs: Math.round((first ?? NaN) - connecting),
    natKind,
    via: links[0]?.via,
    peerIds: [alice.peerId.toString(), bob.peerId.toString()],
  });
  let round = 0;
  for await (const line of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    if (line.trim() === "end") break;
    const [, messages = "1", bytes = "8"] = line.trim().split(" ");
    const report = await transfer(alice, bob, `${++round}`, Number(messages), Number(bytes));
    const { natKind, links } = await bob.networkInfo();
    say({ event: "transferred", ...report, natKind, via: links[0]?.via });
  }
  await alice.close();
  await bob.close();
}

/** Sends a number of messages on a channel of their own; says when a fifth of them have come. */
async function transfer(from: Node, to: Node, channel: string, messages: number, bytes: number) {
  const asked = performance.now();
  const all = Promise.withResolvers<void>();
  const times = new Map<string, number>();
  let last = asked;
  let pause = 0;
  const stop = to.on("message", (message) => {
    if (message.channel !== channel) return;
    times.set(message.id, (times.get(message.id) ?? 0) + 1);
    pause = Math.max(pause, performance.now() - last);
    last = performance.now();
    if (times.size === Math.ceil(messages / 5)) say({ event: "some" });
    if (times.size === messages) all.resolve();
  });
  const body = crypto.getRandomValues(new Uint8Array(bytes));
  for (let i = 0; i < messages; i++) await from.send(to.peerId, channel, body);
  await within(all.promise, "the messages of a transfer");
  stop();
  return {
    ms: Math.round(last - asked),
    pause: Math.round(pause),
    repeated: [...times.values()].filter((count) => count > 1).length,
  };
}

/** Pairs, and waits for the link: on a busy machine longer than the pairing itself does. */
async function pairWithPin(node: Node, pin: string, server: string): Promise<void> {
  const paired = await node.pairWithPin(pin).catch(async (error) => {
    const [pairing] = node.pairings();
    if (!pairing) throw error;
    await node.connect(pairing.peerId, LINKED_WITHIN_MS);
    return pairing.peerId;
  });
  if (paired.toString() !== server) throw new Error(`Paired with ${paired}`);
}

function say(what: Record<string, unknown>): void {
  // deno-lint-ignore no-console
  console.log(JSON.stringify(what));
}

function within<T>(promise: Promise<T>, what: string): Promise<T> {
  return Promise.race([
    promise,
    new Promise<never>((_, reject) => {
      DEADLINE.addEventListener("abort", () => reject(new Error(`Waited in vain for ${what}`)));
    }),
  ]);
}
