/* A relay's process from its start to its end, as an operator has it. */

import assert from "node:assert/strict";
import { parseIp } from "../../src/base/address.ts";
import { freePort } from "../support/free_port.ts";
import { CairnProcess } from "../support/processes.ts";
import { WireClient } from "../support/wire_client.ts";

const LOOPBACK = parseIp("127.0.0.1")!;
const WITHIN_MS = 300_000;

Deno.test("cairn relay takes other users at SIGHUP, and at SIGTERM waits for its allocations", {
  ignore: Deno.build.os === "windows",
}, async () => {
  const deadline = AbortSignal.timeout(WITHIN_MS);
  const users = await Deno.makeTempFile({ prefix: "cairn-users-" });
  await Deno.writeTextFile(users, "user:pass\n");
  const port = freePort();
  await using relay = new CairnProcess([
    "relay",
    ...["--listen-addr", `127.0.0.1:${port}`, "--relay-ip", "127.0.0.1"],
    ...["--port-range", "10000-19999", "--allow-peers", "127.0.0.0/8", "--drain-timeout", "600s"],
  ], { deadline, env: { CAIRN_RELAY_CREDENTIALS_FILE: users, CAIRN_LOG_FORMAT: "pretty" } });
  await logged(relay, /Relay listens on/);
  await using first = await WireClient.open({ transport: "udp", port });
  await first.allocate();

  await Deno.writeTextFile(users, "other:word\n");
  relay.signal("SIGHUP");
  await logged(relay, /were read again/);
  await using former = await WireClient.open({ transport: "tcp", port });
  await assert.rejects(former.allocate(), { code: 401 });
  const login = { username: "other", password: "word" };
  await using second = await WireClient.open({ transport: "tcp", port, ...login });
  await second.allocate();
  await second.permit(LOOPBACK);

  relay.signal("SIGTERM");
  await logged(relay, /Waiting for 2 allocations/);
  await using late = await WireClient.open({ transport: "udp", port, ...login });
  await assert.rejects(late.allocate(), { code: 508 });
  await second.bind({ address: LOOPBACK, port: 9 });
  second.close();
  // The first one's user is gone: it cannot give back what it has.
  await logged(relay, /over tcp ended after \d+ s \(disconnected\)/);
  relay.signal("SIGKILL");
  await relay.exit();
  await Deno.remove(users);
});

async function logged(relay: CairnProcess, pattern: RegExp): Promise<void> {
  for await (const line of relay.log) if (pattern.test(line)) return;
  throw new Error(`The log ended without ${pattern}`);
}
