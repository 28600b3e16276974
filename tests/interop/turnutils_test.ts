import assert from "node:assert/strict";
import { type StartedTurn, startTurn } from "./turn_under_test.ts";
import {
  assertAllCameBack,
  EchoPeer,
  hasTurnutils,
  runUclient,
  type UclientResult,
} from "./turnutils.ts";

const NOTE = hasTurnutils ? "" : " (ignored: Debian package coturn is not installed)";
/** Ten messages of two clients, and an IPv4 relay unless `-x` comes after. */
const SHORT = "-n 10 -m 2 -l 160 -z 20 -X".split(" ");
const WITHIN_MS = 90_000;
/** For what would never end by itself. */
const PATIENCE_MS = 8_000;

type Expectation =
  /** Every message comes back. */
  | "all"
  /** Every message is sent back, but of those in one TLS record the client counts one. */
  | "all in records"
  /** It ends well; it prints no statistics. */
  | "ends"
  /** The client is refused, and says so by its status. */
  | "refused"
  /** One of both, as the client's dice fall: it takes either of its two relayed addresses. */
  | "all or refused"
  /** Anything, for a while: what counts is that the server lives. */
  | "anything";

interface Row {
  readonly options: string;
  readonly exercises: string;
  readonly expect: Expectation;
  /** With the REST secret, or with a wrong password. */
  readonly login?: readonly string[];
}

const USER = ["-u", "user", "-w", "pass"];

/** Section 6.2 of the relay's checklist; `-T -P` reports losses by design and is left out. */
const MATRIX: readonly Row[] = [
  { options: "", exercises: "EVEN-PORT with RESERVATION-TOKEN", expect: "all" },
  { options: "-c", exercises: "channels", expect: "all" },
  { options: "-c -y", exercises: "client to client", expect: "all" },
  { options: "-y", exercises: "client to client, port pairs", expect: "all" },
  { options: "-c -s", exercises: "Send and Data indications", expect: "all" },
  { options: "-c -x", exercises: "IPv6 relay for an IPv4 client", expect: "all" },
  { options: "-c -g", exercises: "DONT-FRAGMENT", expect: "all" },
  { options: "-c -G", exercises: "extra CreatePermission and ChannelBind", expect: "all" },
  { options: "-c -D", exercises: "padded ChannelData over UDP", expect: "all" },
  { options: "-c -B", exercises: "random disconnects", expect: "all" },
  { options: "-c -a 100000", exercises: "an optional attribute", expect: "all" },
  { options: "-c -O", exercises: "quick connect and exit", expect: "ends" },
  { options: "-t -c", exercises: "TCP", expect: "all" },
  { options: "-t -c -s", exercises: "TCP, indications", expect: "all" },
  { options: "-t", exercises: "TCP, port pairs", expect: "all" },
  { options: "-t -S -c", exercises: "TLS", expect: "all in records" },
  { options: "-t -S -c -s", exercises: "TLS, indications", expect: "all in records" },
  { options: "-S -c", exercises: "DTLS, which is not offered", expect: "anything" },
  { options: "-T", exercises: "RFC 6062, which is not offered", expect: "refused" },
  { options: "-c -M", exercises: "RFC 8016, which is not offered", expect: "all" },
  { options: "-Z -c", exercises: "dual allocation, IPv4 peer", expect: "all or refused" },
  { options: "-c -N", exercises: "negative tests", expect: "refused" },
  { options: "-c -R", exercises: "negative protocol tests", expect: "anything" },
  {
    options: "-c -y",
    exercises: "REST credential",
    login: ["-u", "alice", "-W", "secret"],
    expect: "all",
  },
  {
    options: "-c",
    exercises: "wrong password",
    login: ["-u", "user", "-w", "wrong"],
    expect: "refused",
  },
];

Deno.test({
  name: `coturn's client against our relay${NOTE}`,
  ignore: !hasTurnutils,
  async fn(test) {
    await using turn = await startTurn();
    await using turnOfTls = await startTurn();
    await using peer = await EchoPeer.start();
    const results = await Promise.all(
      MATRIX.map((row) => run(row, isInRecords(row) ? turnOfTls : turn, peer)),
    );
    for (const [i, row] of MATRIX.entries()) {
      const title = `turnutils_uclient ${row.options}: ${row.exercises}`;
      await test.step(title, () => check(row, results[i]!));
    }
    await test.step("over TLS every message went there and back", async () => {
      const ofTls = results.filter((_, i) => isInRecords(MATRIX[i]!));
      const sent = ofTls.reduce((sum, result) => sum + result.sent, 0);
      const metrics = await turnOfTls.metrics();
      for (const relayed of ["to_peer", "to_client"]) {
        const count = `cairn_relay_relayed_packets_total{direction="${relayed}"} ${sent}`;
        assert.ok(metrics.split("\n").includes(count), metrics);
      }
      assert.match(metrics, /^cairn_relay_dropped_total\{reason="backpressure"\} 0$/m);
    });
    await test.step("the server still relays", async () => {
      assertAllCameBack(await run({ options: "-c", exercises: "", expect: "all" }, turn, peer));
    });
  },
});

function isInRecords({ expect }: Row): boolean {
  return expect === "all in records";
}

function run(row: Row, turn: StartedTurn, peer: EchoPeer): Promise<UclientResult> {
  const options = row.options.split(" ").filter((option) => option !== "");
  const isTls = options.includes("-S") && options.includes("-t");
  const port = isTls ? turn.tlsPort : turn.port;
  const family = options.includes("-x") ? SHORT.filter((option) => option !== "-X") : SHORT;
  return runUclient(
    [
      ...options,
      ...family,
      ...["-p", `${port}`, "-e", options.includes("-x") ? "::1" : "127.0.0.1"],
      ...["-r", `${peer.port}`],
      ...(row.login ?? USER),
    ],
    row.expect === "anything" ? PATIENCE_MS : WITHIN_MS,
  );
}

function check({ expect }: Row, result: UclientResult): void {
  switch (expect) {
    case "all":
      return assertAllCameBack(result);
    case "all in records":
      assert.equal(result.status, 0, result.output);
      return assert.ok(result.received > 0, result.output);
    case "ends":
      return assert.equal(result.status, 0, result.output);
    case "refused":
      assert.equal(result.timedOut, false, result.output);
      return assert.equal(result.status, 255, result.output);
    case "all or refused":
      return result.status === 255 ? undefined : assertAllCameBack(result);
    case "anything":
      return;
  }
}
