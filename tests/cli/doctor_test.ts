import { deepEqual, doesNotMatch, equal, match, ok } from "node:assert/strict";
import { freePort } from "../support/free_port.ts";
import { hasOpenssl, makeSelfSigned } from "../support/self_signed.ts";
import { startedRelay } from "../support/started_relay.ts";
import { startedSignal } from "../support/started_signal.ts";
import { runCairn } from "./run_cairn.ts";

const LOOPBACK = "127.0.0.1";
const SECRET = "canary-relay-secret";

Deno.test("cairn doctor finds nothing wrong where everything works, over UDP and TCP", async () => {
  await using relay = await startedRelay({ restSecrets: [SECRET] });
  await using signal = await startedSignal({ authTokens: ["canary-token"] });
  const folder = await Deno.makeTempDir({ prefix: "cairn-doctor-" });
  const { code, stdout, stderr } = await runCairn(["doctor"], {
    env: {
      CAIRN_DATA_DIR: `${folder}/not/yet/there`,
      CAIRN_SIGNAL_SERVERS: `ws://${LOOPBACK}:${signal.port}`,
      CAIRN_SIGNAL_AUTH_TOKEN: "canary-token",
      CAIRN_TURN_SERVERS: `turn:${LOOPBACK}:${relay.port}`,
      CAIRN_TURN_SECRET: SECRET,
    },
  });
  const left = await Array.fromAsync(Deno.readDir(folder));
  await Deno.remove(folder, { recursive: true });
  deepEqual([code, stderr], [0, ""], stdout);
  match(stdout, /^ok: ws:.*: a WebSocket opens, for signaling$/m);
  match(stdout, /^ok: ws:.*: its clock agrees with this one \(\d+ s apart\)$/m);
  match(stdout, /^ok: turn:.* over UDP: it relays datagrams both ways$/m);
  match(stdout, /^ok: turn:.* over TCP: it relays datagrams both ways$/m);
  match(stdout, /: a write is on disk (only )?after [\d.]+ ms/);
  match(stdout, /open files: \d+ at a time are allowed/);
  match(stdout, /^Nothing must be put right\.$/m);
  doesNotMatch(stdout, /canary/);
  deepEqual(left, [], "nothing is left in the folder");
});

Deno.test("cairn doctor says how to mend what is wrong, for programs too", async () => {
  await using relay = await startedRelay({ restSecrets: [SECRET] });
  await using signal = await startedSignal({ authTokens: ["right"] });
  const addresses = [
    `ws://${LOOPBACK}:${signal.port}`,
    `wss://${LOOPBACK}:${signal.port}`,
    `ws://${LOOPBACK}:${freePort()}/link`,
    "wss://no-such-name.invalid",
    `turn:${LOOPBACK}:${relay.port}`,
  ];
  const { code, stdout } = await runCairn(["doctor", "--json", ...addresses], {
    env: {
      CAIRN_SIGNAL_AUTH_TOKEN: "wrong",
      CAIRN_TURN_SECRET: "wrong",
      CAIRN_DATA_DIR: "/proc/1",
    },
  });
  equal(code, 1);
  const { ok: isOk, findings } = JSON.parse(stdout);
  equal(isOk, false);
  const said = (check: string, subject: string): string =>
    findings.find((each: Record<string, string>) => (
      each.check === check && each.subject?.startsWith(subject) && each.state === "problem"
    ))?.sentence ?? `nothing: ${stdout}`;
  match(
    said("websocket", `ws://${LOOPBACK}:${signal.port}`),
    /the right one in CAIRN_SIGNAL/,
  );
  match(said("tls", "wss://127"), /no TLS handshake .* the one with the certificate$/);
  match(said("websocket", addresses[2]?.replace("/link", "") ?? ""), /must pass on Upgrade/);
  match(said("dns", "wss://no-such-name"), /check its spelling and its DNS records$/);
  match(said("relay", `turn:${LOOPBACK}`), /It does not let this user in: check/);
  match(said("fsync", "/proc"), /this user cannot write there .* CAIRN_DATA_DIR$/);
});

Deno.test({
  name: "cairn doctor tells a certificate that is trusted from one that is not",
  ignore: !hasOpenssl,
  async fn() {
    await using tls = await makeSelfSigned();
    await using signal = await startedSignal({ tls });
    const asked = ["doctor", `wss://localhost:${signal.port}`];
    const stranger = await runCairn(asked);
    const trusting = await runCairn(asked, { env: { DENO_CERT: tls.certPath } });
    equal(stranger.code, 1);
    match(stranger.stdout, /problem: wss:.*: the certificate is not trusted .*DENO_CERT/);
    ok(
      /: the certificate (is trusted and valid until|ends on)/.test(trusting.stdout),
      trusting.stdout,
    );
    match(trusting.stdout, /ok: wss:.*: a WebSocket opens/);
  },
});
