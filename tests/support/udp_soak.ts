// deno-lint-ignore-file no-console -- a script speaks to the test that started it.
/**
 * Batching UDP sockets while the collector runs all the time: four clients send datagrams of all
 * lengths to a socket that sends each back where it came from, and every byte of what returns is
 * looked at. Run it with `--v8-flags=--expose-gc`; the argument is how many datagrams to send. It
 * prints how many came back, and how many of those were wrong.
 */

import { parseIp } from "../../src/base/address.ts";
import { Endpoint } from "../../src/base/endpoint.ts";
import { BatchKernel } from "../../src/roles/relay/udp_batch/batch_kernel.ts";
import { BatchDatagramSockets } from "../../src/roles/relay/udp_batch/batch_sockets.ts";
import { Dice } from "./dice.ts";

const CLIENTS = 4;
const BURST = 24;
const BURST_WITHIN_MS = 20_000;
/** One more than the longest datagram, which is refused. */
const TOO_LONG = 65_508;

const collect: unknown = Reflect.get(globalThis, "gc");
if (typeof collect !== "function") throw new Error("run it with --v8-flags=--expose-gc");
const wanted = Number(Deno.args[0] ?? 2_000);
const dice = new Dice(7);
await using sockets = new BatchDatagramSockets(BatchKernel.load());
const hostname = "127.0.0.1";
const shared = { hostname, inFlight: 1, kernelBuffer: 8_388_608 };
const unexpected = () => {
  throw new Error("a socket was lost");
};
let refused = 0;
const echo = sockets.open({
  ...shared,
  port: 0,
  onDatagram(buffer, offset, length, from) {
    echo.send(buffer, offset, length, from.toEndpoint());
    if (dice.below(16) === 0) collect();
  },
  onDrop: () => refused++,
  onLost: unexpected,
});
const to = new Endpoint(parseIp(hostname)!, echo.port);

let returned = 0;
let wrong = 0;
/** Of each client, what was sent and has not come back. */
const expected: Uint8Array[][] = Array.from({ length: CLIENTS }, () => []);
let settled = Promise.withResolvers<void>();
const clients = expected.map((queue) =>
  sockets.open({
    ...shared,
    port: 0,
    onDatagram(buffer, offset, length) {
      const sent = queue.shift();
      const got = buffer.subarray(offset, offset + length);
      if (
        sent === undefined || sent.length !== length || !got.every((byte, i) => byte === sent[i])
      ) {
        wrong++;
      }
      returned++;
      if (expected.every(({ length }) => length === 0)) settled.resolve();
    },
    onDrop: () => refused++,
    onLost: unexpected,
  })
);

let sent = 0;
let oversize = 0;
/** Memory that was given back must be written over by somebody for a mistake to show. */
let garbage: Uint8Array[] = [];
while (sent < wanted) {
  settled = Promise.withResolvers();
  for (let i = 0; i < BURST; i++) {
    const client = dice.below(CLIENTS);
    // Rows of one length to one address are what the kernel joins and cuts.
    const row = dice.below(3) === 0 ? 1 + dice.below(12) : 1;
    const length = lengthOf(dice.below(12));
    for (let j = 0; j < row; j++) {
      const bytes = crypto.getRandomValues(new Uint8Array(length));
      expected[client]!.push(bytes);
      clients[client]!.send(bytes, 0, length, to);
      sent++;
    }
  }
  if (dice.below(4) === 0) {
    oversize++;
    clients[0]!.send(new Uint8Array(TOO_LONG), 0, TOO_LONG, to);
  }
  garbage = Array.from({ length: 50 }, () => new Uint8Array(1 + dice.below(70_000)).fill(0xee));
  collect();
  const timer = setTimeout(() => settled.reject(new Error("not all came back")), BURST_WITHIN_MS);
  await settled.promise;
  clearTimeout(timer);
}
console.log(JSON.stringify({ sent, returned, wrong, oversize, refused, kept: garbage.length > 0 }));

function lengthOf(kind: number): number {
  if (kind === 0) return 0;
  if (kind === 1) return 9_000;
  if (kind === 2) return 20_000 + dice.below(10_000);
  return dice.below(1_500);
}
