import { deepEqual, doesNotMatch, equal, match, notEqual, ok } from "node:assert/strict";
import { parsePairingLink } from "../../src/protocol/pairing/invitation.ts";
import { CairnProcess } from "../support/processes.ts";
import { freePort } from "../support/free_port.ts";
import { runCairn } from "./run_cairn.ts";

const DEADLINE = 300_000;
const LOOPBACK = "127.0.0.1";

Deno.test("cairn up shows the way to a paired peer, and goes on with everything after a restart", async () => {
  await using home = await Home.make();
  const first = await home.up("--pair", "true");
  const shown = first.lines.join("\n");
  match(shown, /^cairn \S+ is up; no peer is paired yet\.$/m);
  match(
    shown,
    /^ {2}Dashboard +http:\/\/127\.0\.0\.1:\d+\/ \(sign in with the token in .*mgmt_token\)$/m,
  );
  match(shown, /^ {2}Relay +turn:127\.0\.0\.1:\d+$/m);
  match(shown, /^To stop: Ctrl-C/m);
  match(shown, /█/, "the QR code");
  const [, link = ""] = /^ {2}cairn peer pair '(cairn:\/\/pair\?[^']+)'$/m.exec(shown) ?? [];
  const hints = parsePairingLink(link).hints.map(({ type, value }) => `${type} ${value}`);
  deepEqual(hints, [
    `signal ${row(first.lines, "Signaling")}`,
    `turn ${first.relay}`,
    `ws ${row(first.lines, "Links")}`,
  ]);
  const secret = await home.relaySecret();
  const paired = await home.run("peer", "pair", link);
  equal(paired.stdout.trim(), first.peerId, paired.stderr);
  const check = await home.run("relay", "check", first.relay, "--user", "me", "--timeout", "1m");
  match(check.stdout, /The relay works\.\n$/, check.stderr);
  doesNotMatch(first.log.join("\n"), /pake=/, "the link is not logged");
  equal(await first.end(), 0);

  const again = await home.up();
  match(again.lines.join("\n"), /is up; paired peers: 1\.$/m);
  equal(again.peerId, first.peerId);
  equal(await home.relaySecret(), secret);
  const sent = await home.run("peer", "send", first.peerId, "Good morning");
  equal(sent.code, 1, "a server reads nothing");
  equal((await home.run("peer", "list")).stdout.includes(first.peerId), true);
  equal(await again.end(), 0);
});

Deno.test("cairn up keeps its secrets for its user alone, and says none of them", async () => {
  await using home = await Home.make();
  const up = await home.up();
  doesNotMatch(up.lines.join("\n"), /pake=|█/, "nobody sees it: no invitation");
  equal(await up.end(), 0);
  const folder = `${home.folder}/server`;
  const secrets = await Promise.all(["mgmt_token", "relay_secret"].map(async (name) => {
    equal((await Deno.stat(`${folder}/${name}`)).mode! & 0o777, 0o600);
    return (await Deno.readTextFile(`${folder}/${name}`)).trim();
  }));
  const said = [...up.lines, ...up.log].join("\n");
  for (const secret of secrets) ok(secret.length >= 40 && !said.includes(secret));
  notEqual(secrets[0], secrets[1]);
  doesNotMatch(said, /canary/, "nor what the operator set");
});

Deno.test("cairn up without its relay, or with a relay's port in use, says so plainly", async () => {
  await using home = await Home.make();
  const without = await home.up("--relay-enabled", "false");
  match(without.lines.join("\n"), /^ {2}Relay +off$/m);
  equal(await without.end(), 0);

  using taken = Deno.listen({ hostname: LOOPBACK, port: 0 });
  const { port } = taken.addr;
  const refused = await home.run("up", "--relay-listen-addr", `${LOOPBACK}:${port}`);
  equal(refused.code, 1);
  match(
    refused.stderr.split("\n").filter((line) => line.startsWith("error:")).join(),
    /^error: The address .* is already in use: .* another with --relay-tcp-addr \(CAIRN_RELAY_TCP/,
  );
});

Deno.test("The line of cairn up that pairs a device works where the token is in a file of settings", async () => {
  await using home = await Home.make();
  const file = `${home.folder}/cairn.env`;
  await Deno.writeTextFile(file, "CAIRN_MGMT_TOKEN=a-token-of-the-operator\n");
  const up = await home.up("--env-file", file);
  const [, line = ""] = /^To pair a device: cairn (.*)$/m.exec(up.lines.join("\n")) ?? [];
  const made = await home.run(...line.split(" "), "--leave-open");
  equal(made.code, 0, `${line}: ${made.stderr}`);
  match(made.stdout, /cairn:\/\/pair\?/);
  equal(await up.end(), 0);
});

/** A folder in which `cairn up` and one peer live, on ports of their own. */
class Home implements AsyncDisposable {
  readonly #env: Readonly<Record<string, string>>;
  readonly #deadline = AbortSignal.timeout(DEADLINE);
  readonly #running: CairnProcess[] = [];

  private constructor(readonly folder: string) {
    this.#env = {
      CAIRN_DATA_DIR: `${folder}/server`,
      CAIRN_PEER_DIR: `${folder}/peer`,
      CAIRN_SIGNAL_LISTEN_ADDR: `${LOOPBACK}:${freePort()}`,
      CAIRN_SERVER_LISTEN_ADDR: `${LOOPBACK}:${freePort()}`,
      CAIRN_RELAY_LISTEN_ADDR: `${LOOPBACK}:${freePort()}`,
      CAIRN_MGMT_PORT: String(freePort()),
      CAIRN_PSK: "canary-key-0123",
    };
  }

  static async make(): Promise<Home> {
    return new Home(await Deno.makeTempDir({ prefix: "cairn-up-" }));
  }

  /** Starts it and waits until it has said everything. */
  async up(...args: readonly string[]) {
    const process = new CairnProcess(["up", ...args], {
      deadline: this.#deadline,
      env: { ...this.#env, RUST_LOG: "trace" },
    });
    this.#running.push(process);
    const lines: string[] = [];
    for await (const line of process.output) {
      lines.push(line);
      if (line.startsWith("To stop:")) break;
    }
    return {
      lines,
      log: process.log.all,
      peerId: row(lines, "Peer ID"),
      relay: row(lines, "Relay"),
      end: () => process.end(),
    };
  }

  async run(...args: readonly string[]) {
    const secret = await this.relaySecret();
    const relay = secret === undefined ? {} : { CAIRN_RELAY_REST_SECRET: secret };
    const env = { ...this.#env, ...(args[0] === "relay" && relay) };
    return await runCairn([...args], { env });
  }

  /** `undefined` before the first start. */
  async relaySecret(): Promise<string | undefined> {
    const text = await Deno.readTextFile(`${this.folder}/server/relay_secret`).catch(() => "");
    return text.trim() || undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const process of this.#running) await process[Symbol.asyncDispose]();
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** What stands beside a name in the table that it printed. */
function row(lines: readonly string[], name: string): string {
  return new RegExp(`^ {2}${name} +(\\S+)`, "m").exec(lines.join("\n"))?.[1] ?? "";
}
