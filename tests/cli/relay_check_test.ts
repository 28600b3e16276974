import assert from "node:assert/strict";
import { startedRelay } from "../support/started_relay.ts";
import { runCairn } from "./run_cairn.ts";

Deno.test("cairn relay check prints a line for each step, and exits 0 when the relay works", async () => {
  await using relay = await startedRelay({ restSecrets: ["old", "s3cret"] });
  const uri = `turn:127.0.0.1:${relay.port}`;
  const env = { CAIRN_RELAY_REST_SECRET: "s3cret" };
  const right = await runCairn(["relay", "check", uri, "--timeout", "1m"], { env });
  assert.deepEqual([right.code, right.stderr], [0, ""]);
  assert.match(right.stdout, /^ok: it answers over UDP/);
  assert.match(right.stdout, /\nThe relay works\.\n$/);

  const wrong = await runCairn(["relay", "check", uri, "--user", "user", "--timeout", "1m"], {
    env: { CAIRN_RELAY_CHECK_PASS: "hunter2" },
  });
  assert.equal(wrong.code, 1);
  assert.match(wrong.stderr, /^error: It does not let this user in/);
  assert.doesNotMatch(wrong.stdout + wrong.stderr, /hunter2/);
});

Deno.test("cairn relay check-peer says what the gate of a relay with these options says", async () => {
  const said =
    "10.0.0.1 is refused: it is private (RFC 1918); to open it, add 10.0.0.0/8 or a part " +
    "of it to the allowed peers\n";
  const refused = await runCairn(["relay", "check-peer", "10.0.0.1"]);
  assert.deepEqual(refused, { code: 1, stdout: said, stderr: "" });
  const allowed = await runCairn(["relay", "check-peer", "10.0.0.1:5000"], {
    env: { CAIRN_RELAY_ALLOW_PEERS: "10.0.0.0/8", CAIRN_RELAY_EXTERNAL_IP: "198.41.0.4" },
  });
  const lies = "10.0.0.1 is allowed: it lies in 10.0.0.0/8 of the allowed peers\n";
  assert.deepEqual(allowed, { code: 0, stdout: lies, stderr: "" });
});
