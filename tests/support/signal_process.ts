/**
 * `cairn signal` with limits of a test's choice, as a process: it prints its port, and ends with
 * its standard input. Arguments: the limits as JSON, the token, and for TLS the paths of the
 * certificate and its key.
 */

import { startSignal } from "../../src/roles/signal/run_signal.ts";

const [limits = "{}", token = "", certPath, keyPath] = Deno.args;
const signal = await startSignal({
  listenAddr: "127.0.0.1:0",
  authTokens: [token],
  ...(certPath && keyPath && { tls: { certPath, keyPath } }),
  limits: JSON.parse(limits),
});
await Deno.stdout.write(new TextEncoder().encode(`${signal.address.port}\n`));
for await (const _ of Deno.stdin.readable);
await signal.close();
