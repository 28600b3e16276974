import { equal, match } from "node:assert/strict";
import { startedSignal } from "../support/started_signal.ts";
import { runCairn } from "./run_cairn.ts";

Deno.test("cairn peer doctor says in words what is wrong, and with its exit status", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const args = ["peer", "doctor", "--data-dir", folder, "--signal", "ws://127.0.0.1:9"];
    const { code, stdout } = await runCairn(args);
    equal(code, 1);
    match(stdout, /^problem: ws:\/\/127\.0\.0\.1:9 is not reachable/m);
    match(stdout, /^problem: this peer is paired with no server/m);
    match(stdout, /must be put right\.$/m);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("cairn peer doctor finds the signaling server, its token and its clock", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await using signal = await startedSignal({ authTokens: ["right"] });
    const args = [
      "peer",
      "doctor",
      "--data-dir",
      folder,
      "--signal",
      `ws://127.0.0.1:${signal.port}`,
    ];
    const refused = await runCairn(args, { env: { CAIRN_SIGNAL_AUTH_TOKEN: "wrong" } });
    match(refused.stdout, /^problem: .*refused the token/m);
    const { stdout } = await runCairn(args, { env: { CAIRN_SIGNAL_AUTH_TOKEN: "right" } });
    match(stdout, /^ok: the signaling server .* lets this peer in/m);
    match(stdout, /^ok: the clock agrees/m);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
