import assert from "node:assert/strict";
import { utf8 } from "../../src/base/bytes.ts";
import { timeLimitedPassword } from "../../src/protocol/turn/credentials.ts";
import { type TrialOptions, tryRelay } from "../../src/roles/relay/relay_trial.ts";
import { freePort } from "../support/free_port.ts";

const AVAILABLE = await new Deno.Command("turnserver", {
  args: ["--help"],
  stdout: "null",
  stderr: "null",
}).output().then(() => true, () => false);
const NOTE = AVAILABLE ? "" : " (ignored: Debian package coturn is not installed)";

const PATIENT = 60_000;
const TIME_LIMITED = `${Math.floor(Date.now() / 1000) + 600}:check`;

/** How coturn lets users in, and who comes. */
const WAYS: [name: string, args: string[], credential: { username: string; password: string }][] = [
  ["a password", ["--lt-cred-mech", "--user", "user:pass"], { username: "user", password: "pass" }],
  ["a secret", ["--use-auth-secret", "--static-auth-secret", "s3cret"], {
    username: TIME_LIMITED,
    password: timeLimitedPassword(TIME_LIMITED, utf8("s3cret")),
  }],
];

for (const [name, args, credential] of WAYS) {
  Deno.test({
    name: `our TURN client finds coturn in order, with ${name}, over UDP and TCP${NOTE}`,
    ignore: !AVAILABLE,
    async fn() {
      const port = freePort();
      await using _coturn = startCoturn(port, args);
      // Over UDP the first requests are repeated until coturn listens.
      for (const transport of ["udp", "tcp"] as const) {
        const uri = { host: "127.0.0.1", port, transport };
        const said = await lastSentence({ uri, ...credential, timeout: PATIENT });
        assert.equal(said, "both allocations were given back", transport);
      }
    },
  });
}

function startCoturn(port: number, args: readonly string[]): AsyncDisposable {
  const coturn = new Deno.Command("turnserver", {
    args: [
      ..."-n -L 127.0.0.1 -E 127.0.0.1 -r realm --no-tls --no-dtls --no-cli".split(" "),
      ..."--allow-loopback-peers --pidfile /dev/null --log-file stdout".split(" "),
      ...["-p", `${port}`],
      ...args,
    ],
    stdout: "null",
    stderr: "null",
  }).spawn();
  return {
    async [Symbol.asyncDispose]() {
      coturn.kill("SIGTERM");
      await coturn.status;
    },
  };
}

async function lastSentence(options: TrialOptions): Promise<string | undefined> {
  let last: string | undefined;
  for await (const { sentence } of tryRelay(options)) last = sentence;
  return last;
}
