/**
 * `cairn signal` with limits of a test's choice, as a process: it prints its port, and ends with
 * its standard input. Arguments: the limits as JSON, then the token.
 */

import { startSignal } from "../../src/roles/signal/run_signal.ts";

const [limits = "{}", token = ""] = Deno.args;
const signal = await startSignal({
  listenAddr: "127.0.0.1:0",
  authTokens: [token],
  limits: JSON.parse(limits),
});
await Deno.stdout.write(new TextEncoder().encode(`${signal.address.port}\n`));
for await (const _ of Deno.stdin.readable);
await signal.close();
