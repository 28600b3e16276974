/**
 * Two peers behind one NAT, as a program to be run in their network: they pair with the server,
 * write to one another, and say as JSON how that went. Asked to by a line of standard input, they do
 * it once more.
 */

import { Node } from "../../src/mod.ts";
import { fromUtf8, utf8 } from "../../src/base/bytes.ts";

const DEADLINE = AbortSignal.timeout(120_000);

interface Orders {
  readonly folder: string;
  readonly signal: string;
  readonly server: string;
  /** One for each peer. */
  readonly pins: readonly [string, string];
  readonly large: number;
  readonly turn?: readonly string[];
  readonly turnUser?: { readonly username: string; readonly password: string };
}

const orders: Orders = JSON.parse(Deno.args[0] ?? "");
await main(orders);

async function main({ folder, signal, server, pins, large, turn, turnUser }: Orders) {
  const started = performance.now();
  const options = (name: string) => ({
    storagePath: `${folder}/${name}`,
    signalServers: [signal],
    ...(turn && { turnServers: turn }),
    ...(turnUser && { turnUser }),
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
  await (await alice.send(bob.peerId, "text", utf8("kept"))).accepted;

  const connecting = performance.now();
  bob = await Node.create(options("bob"));
  const came = Promise.withResolvers<void>();
  const count = new Map<string, number>();
  let first: number | undefined;
  bob.on("message", ({ channel, data, id }) => {
    first ??= performance.now();
    count.set(id, (count.get(id) ?? 0) + 1);
    if (channel === "text" && fromUtf8(data) === "kept") came.resolve();
  });
  await bob.start();
  await within(came.promise, "the kept messages");
  const answered = Promise.withResolvers<void>();
  alice.on("message", ({ data }) => {
    if (fromUtf8(data) === "back") answered.resolve();
  });
  await (await bob.send(alice.peerId, "text", utf8("back"))).accepted;
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
  });
  let round = 0;
  for await (const line of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    if (line.includes("end")) break;
    const asked = performance.now();
    const again = Promise.withResolvers<void>();
    const text = `round ${++round}`;
    const stop = bob.on("message", ({ data }) => {
      if (fromUtf8(data) === text) again.resolve();
    });
    await (await alice.send(bob.peerId, "text", utf8(text))).accepted;
    await within(again.promise, text);
    const ms = Math.round(performance.now() - asked);
    stop();
    const info = await bob.networkInfo();
    say({ event: "round", ms, via: info.links[0]?.via });
  }
  await alice.close();
  await bob.close();
}

async function pairWithPin(node: Node, pin: string, server: string): Promise<void> {
  const paired = await node.pairWithPin(pin);
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
