/**
 * Megabytes per second over a QUIC carrier on this machine: `deno run -A --unstable-net
 * bench/path_throughput.ts [direct|relay-udp|relay-tcp] [megabytes]`. Both ends are in this process; the relay,
 * where there is one, is a process of its own.
 */

import { PathPair } from "../tests/roles/path/path_pair.ts";
import type { RelayServer } from "../src/roles/path/relay_keeper.ts";

const [way = "direct", megabytes = "400"] = Deno.args;
const FRAME = 65_535;
/** Bytes that may wait in the carrier. */
const AHEAD = 4 * 1_048_576;
/** Documentation addresses (RFC 5737): nobody answers there. */
const NOWHERE = "192.0.2.77";

const relay = way === "direct" ? undefined : startRelay();
if (relay) await relay.ready;
const transport = way === "relay-tcp" ? "tcp" : "udp";
const side = relay
  ? { relays: [relay.server(transport)], address: NOWHERE, relayedOnly: true }
  : {};
const pair = new PathPair(side, side);
const connecting = performance.now();
const { near, far } = await pair.connect();
const connected = performance.now();
const total = Number(megabytes) * 1_000_000;
const done = Promise.withResolvers<number>();
let received = 0;
far.socket.onFrame = (frame) => {
  received += frame.length;
  if (received >= total) done.resolve(performance.now());
};
const frame = new Uint8Array(FRAME);
const started = performance.now();
for (let sent = 0; sent < total; sent += FRAME) {
  near.socket.send(frame);
  while (near.socket.bufferedBytes > AHEAD) await new Promise((resolve) => setTimeout(resolve, 0));
}
const seconds = (await done.promise - started) / 1000;
// deno-lint-ignore no-console
console.log(
  `${way}: ${near.path.description}, carrier after ${Math.round(connected - connecting)} ms, ` +
    `${(received / 1e6 / seconds).toFixed(1)} MB/s`,
);
await pair[Symbol.asyncDispose]();
relay?.end();

function startRelay() {
  const port = 34_780;
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", "--unstable-kv", "--unstable-net", "main.ts", "relay"],
      ...["--listen-addr", `127.0.0.1:${port}`, "--relay-ip", "127.0.0.1"],
      ...["--allow-peers", "127.0.0.0/8", "--credentials", "user:pass"],
      ...["--port-range", "10000-10999", "--metrics-addr", "127.0.0.1:0"],
    ],
    stderr: "piped",
  }).spawn();
  const ready = (async () => {
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
      if (/listens/i.test(text)) return;
    }
  })();
  return {
    ready,
    end: () => child.kill("SIGTERM"),
    server: (transport: "udp" | "tcp"): RelayServer => ({
      uri: { host: "127.0.0.1", port, transport },
      credentials: () => ({ username: "user", password: "pass" }),
    }),
  };
}
