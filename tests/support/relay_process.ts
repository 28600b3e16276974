/**
 * A relay with options of a test's choice, as a process: it prints its ports as JSON, and ends with
 * its standard input. Arguments: the limits, `unlimited` for clients that may ask as often as they
 * like, then the paths of certificate and key.
 */

import { startedRelay } from "./started_relay.ts";

// Deno ends when it has no file descriptor left to begin to listen for signals.
Deno.addSignalListener("SIGUSR2", () => {});
const [limits = "{}", rates = "", certPath = "", keyPath = ""] = Deno.args;
const relay = await startedRelay({
  limits: JSON.parse(limits),
  userQuota: 10_000,
  ...(rates !== "unlimited" && { rates: {} }),
  ...(certPath !== "" && { tls: { certPath, keyPath } }),
});
const { port, tlsPort, metricsPort } = relay;
const line = JSON.stringify({ port, tlsPort, metricsPort });
await Deno.stdout.write(new TextEncoder().encode(`${line}\n`));
for await (const _ of Deno.stdin.readable);
await relay.close();
