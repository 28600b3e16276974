import { deepEqual, doesNotMatch, equal, match } from "node:assert/strict";
import { hasOpenssl, makeSelfSigned } from "../support/self_signed.ts";
import { runCairn } from "./run_cairn.ts";

const check = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  runCairn(["config", "check", ...args], { env });

Deno.test("cairn config check says for each role where it would listen and whom it would let in", async () => {
  const folder = await Deno.makeTempDir({ prefix: "cairn-config-" });
  try {
    await Deno.chmod(folder, 0o755);
    const { code, stdout, stderr } = await check([], {
      CAIRN_DATA_DIR: folder,
      CAIRN_MGMT_TOKEN: "canary-token",
      CAIRN_SIGNAL_AUTH_TOKEN: "canary-one,canary-two",
      CAIRN_SERVER_PUBLIC_URL: "wss://cairn.example.com",
      CAIRN_SIGNAL_SERVERS: "wss://signal.example.com",
      CAIRN_RELAY_CREDENTIALS: "anna:canary-password",
    });
    deepEqual([code, stderr], [0, ""]);
    for (
      const line of [
        /^cairn up\n {2}signal: listens on 0\.0\.0\.0:8443, reached as ws:/m,
        /^ {2}signal: lets in who has the token \(2 set\)$/m,
        /^ {2}links: listens on 0\.0\.0\.0:9091, reached as wss:\/\/cairn\.example\.com/m,
        /^ {2}management: .* the dashboard is http:\/\/127\.0\.0\.1:9090\/$/m,
        /^ {2}management: asks for the token that is set$/m,
        /^ {2}data folder: .* is there, with \d+ MiB free$/m,
        /^ {2}note: others may look into .*; close it with: chmod 700/m,
        /^ {2}relay: lets in 1 users by password/m,
        /^cairn signal\n {2}signal: listens on 0\.0\.0\.0:443/m,
        /^ {2}note: port 443 needs a permission/m,
        /^ {2}signaling: peers find this server at wss:\/\/signal\.example\.com$/m,
        /^Nothing is wrong with these settings\.$/m,
      ]
    ) match(stdout, line);
    doesNotMatch(stdout, /canary/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("cairn config check says what joins a signaling server with others, and no password of it", async () => {
  const shared = { CAIRN_SIGNAL_WORKERS: "64", CAIRN_SIGNAL_BUS: "nats://a:canary@one,nats://two" };
  const { code, stdout } = await check(["signal"], shared);
  equal(code, 0, stdout);
  match(stdout, /^ {2}signal: 64 threads share the port and the work$/m);
  if (navigator.hardwareConcurrency < 64) match(stdout, /^ {2}note: this machine has \d+ cores/m);
  match(stdout, /^ {2}signal: joins others over the bus at one:4222, two:4222$/m);
  match(stdout, /^ {2}note: the bus may be reached without TLS/m);
  doesNotMatch(stdout, /canary/);
  const alone = await check(["signal"], { CAIRN_SIGNAL_BUS_CREDENTIALS: "/nowhere.creds" });
  match(alone.stdout, /^problem: There are credentials for a bus .* name it with --bus/m);
  const lost = await check(["signal"], {
    ...shared,
    CAIRN_SIGNAL_BUS_CREDENTIALS: "/nowhere.creds",
  });
  match(lost.stdout, /^problem: Cannot read the file of credentials .*ENOENT/m);
});

Deno.test("cairn config check names everything that is wrong at once, and makes nothing", async () => {
  const folder = await Deno.makeTempDir({ prefix: "cairn-config-" });
  try {
    const env = { CAIRN_DATA_DIR: `${folder}/data` };
    const wrong = await check(["server"], {
      ...env,
      CAIRN_SINGAL_SERVERS: "wss://signal.example.com",
      CAIRN_COLOUR: "red",
      CAIRN_MGMT_PORT: "ninety",
      CAIRN_PSK: "canary",
    });
    equal(wrong.code, 1);
    match(wrong.stdout, /problem: CAIRN_SINGAL_SERVERS .*; did you mean CAIRN_SIGNAL_SERVERS\?/);
    match(wrong.stdout, /problem: CAIRN_COLOUR is no setting of cairn; see docs/);
    match(wrong.stdout, /problem: CAIRN_MGMT_PORT: "ninety" is not right; expected a port/);
    match(wrong.stdout, /problem: CAIRN_PSK: its value is not right/);
    match(wrong.stdout, /^4 of these must be put right\.$/m);
    doesNotMatch(wrong.stdout, /canary/);

    const both = await check(["up"], { ...env, CAIRN_MGMT_PORT: "9091", CAIRN_TURN_USERNAME: "n" });
    equal(both.code, 1);
    match(both.stdout, /problem: management and links would both listen on port 9091/);
    match(both.stdout, /problem: .*CAIRN_TURN_USERNAME is set without/);
    deepEqual(await Array.fromAsync(Deno.readDir(folder)), []);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test({
  name: "cairn config check reads certificates, and says when they end",
  ignore: !hasOpenssl,
  async fn() {
    await using one = await makeSelfSigned();
    await using other = await makeSelfSigned();
    const env = { CAIRN_SIGNAL_TLS_CERT: one.certPath, CAIRN_SIGNAL_LISTEN_ADDR: "[::1]:7443" };
    const right = await check(["signal"], { ...env, CAIRN_SIGNAL_TLS_KEY: one.keyPath });
    equal(right.code, 0, right.stdout);
    match(right.stdout, /(is valid until|ends on) \d{4}-\d\d-\d\d/);
    match(right.stdout, /reached as wss:\/\/\[::1\]:7443$/m);
    const wrong = await check(["signal"], { ...env, CAIRN_SIGNAL_TLS_KEY: other.keyPath });
    equal(wrong.code, 1);
    match(wrong.stdout, /problem: The private key .* does not belong to the certificate/);
  },
});

Deno.test("--env-file gives variables behind those of the environment, and names a wrong line", async () => {
  const folder = await Deno.makeTempDir({ prefix: "cairn-config-" });
  try {
    const file = `${folder}/a.env`;
    await Deno.writeTextFile(
      file,
      "# comment\n\nCAIRN_SIGNAL_LISTEN_ADDR=127.0.0.1:1111\nexport CAIRN_SIGNAL_AUTH_TOKEN='one'\r\n",
    );
    await Deno.chmod(file, 0o644);
    const read = await check(["signal", "--env-file", file]);
    match(read.stdout, /listens on 127\.0\.0\.1:1111/);
    match(read.stdout, /the token \(1 set\)/);
    match(read.stdout, /^note: others can read .*a\.env; close it with: chmod 600/m);
    const env = { CAIRN_ENV_FILE: file, CAIRN_SIGNAL_LISTEN_ADDR: "127.0.0.1:2222" };
    match((await check(["signal"], env)).stdout, /listens on 127\.0\.0\.1:2222/);

    await Deno.writeTextFile(file, "CAIRN_PSK=canary-key-0123\ncanary\n");
    const wrong = await check(["server", "--env-file", file]);
    equal(wrong.code, 2);
    match(wrong.stderr, /^error: Line 2 of .*a\.env is not right; expected NAME=value/);
    doesNotMatch(wrong.stderr, /canary/);
    const missing = await check(["--env-file", `${folder}/b.env`]);
    equal(missing.code, 2);
    match(missing.stderr, /Cannot read the file of variables .*or make one with cairn init/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
