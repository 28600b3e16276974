// deno-lint-ignore-file no-console -- a task speaks to the terminal that started it.
/**
 * Follows the README on three fresh machines, by its own lines: `deno task proof:newcomer`. From a
 * Debian that has neither Node nor Deno to paired devices, messages both ways, to one that is away,
 * the dashboard, a backup and what is restored of it. Prints each line with its time; exit status 0
 * only if all of them work within ten minutes.
 */

import { fileURLToPath } from "node:url";
import { Machines, type Machines as Made, newcomerObstacle } from "./newcomer_machines.ts";

const ROOT = new URL("../", import.meta.url);
const README = await Deno.readTextFile(new URL("README.md", ROOT));
const WITHIN_SECONDS = 600;
/** For one line. */
const PATIENCE = 300_000;

const obstacle = await newcomerObstacle();
if (obstacle !== undefined) {
  console.log(`SKIPPED: the README was not tried on a fresh machine: ${obstacle}`);
  Deno.exit(0);
}

console.log("Making a fresh machine (not counted) …");
await using machines = await Machines.open();
await cloneFor(machines);
const begin = performance.now();

await step(
  "base",
  asWritten("sudo apt-get install --no-install-recommends git npm", { npm: "npm -y" }),
);
await step("base", asWritten("git clone REPOSITORY cairn", { REPOSITORY: "/srv/cairn.git" }));
await step("base", `cd cairn; ${asWritten("npx -y deno@2.9.6 task build")}`, /^Made .*$/m);
await step("base", `cd cairn; ${asWritten("sudo install cairn /usr/local/bin/")}`);
await step("base", "cairn --version", /^cairn \d.*$/m);
await machines.copy("home", "laptop", "phone");

const { found: [, link = ""], process: up } = await goes(
  "home",
  asWritten("cairn up"),
  /cairn peer pair '(cairn:[^']+)'[^]*To stop:/,
);
const server = /Peer ID +(Qm\w+)/.exec(up.text())?.[1] ?? "";
const byLink = asWritten("cairn peer pair 'cairn://pair?…'", { "cairn://pair?…": link });
await step("laptop", byLink, new RegExp(server));
const { found: [, byPin = ""], process: pairing } = await goes(
  "home",
  asWritten("cairn server pair --pin"),
  /On the device: (cairn peer pair --pin .*)/,
);
await step("phone", byPin, new RegExp(server));
await pairing.says(/Paired with Qm/, PATIENCE);
await pairing[Symbol.asyncDispose]();

const id = async (machine: string) => {
  return (await step(machine, asWritten("cairn peer id"), /^Qm\w+$/m)).trim();
};
const [laptop, phone] = [await id("laptop"), await id("phone")];
const send = (peer: string, text = "Good morning") =>
  asWritten('cairn peer send PEER_ID "Good morning"', { PEER_ID: peer, "Good morning": text });
const { process: listening } = await goes("phone", asWritten("cairn peer listen"));
await step("laptop", send(phone), /^[\da-f-]{36}$/m);
await listening.says(new RegExp(`${laptop} Good morning`), PATIENCE);
await step("phone", send(laptop, "You were away"), /^[\da-f-]{36}$/m);
const { process: back } = await goes(
  "laptop",
  asWritten("cairn peer listen"),
  new RegExp(`${phone} You were away`),
);
await back[Symbol.asyncDispose]();

await step("home", asWritten("cairn health"), /^ok: server/m);
await step("home", asWritten("cairn doctor"), /Nothing must be put right/);
// What a browser would ask for: the machine has none.
await step(
  "home",
  "node -e 'fetch(`http://127.0.0.1:9090/`).then((a) => a.text()).then(console.log)'",
  /<title>cairn/,
);
await step("home", "echo nine green apples in a row > passphrase");
const [words, told] = [" server.age", " server.age --passphrase-file passphrase"];
await step("home", asWritten("cairn server backup server.age", { [words]: told }), /^Backup of/m);
await listening[Symbol.asyncDispose]();
await step("laptop", send(phone, "After the backup"), /^[\da-f-]{36}$/m);
await up[Symbol.asyncDispose]();
const restore = asWritten("cairn server restore server.age --verify", { [words]: told });
await step("home", restore, /^Whole and right/m);
await step("home", restore.replace("--verify", "--data-dir restored"), /^Restored/m);
const { process: upAgain } = await goes(
  "home",
  // Nobody knows its port: devices find it at the signaling server, whichever way they were paired.
  "cairn up --data-dir restored --server-listen-addr 0.0.0.0:9191",
  /paired peers: 2/,
);
const { process: hearing } = await goes(
  "phone",
  asWritten("cairn peer listen"),
);
const { process: resending } = await goes("laptop", asWritten("cairn peer listen"));
await hearing.says(new RegExp(`${laptop} After the backup`), PATIENCE);
for (const each of [resending, hearing, upAgain]) await each[Symbol.asyncDispose]();

const seconds = (performance.now() - begin) / 1000;
console.log(`${seconds.toFixed(0)} s from a bare Debian to a restored backup`);
Deno.exitCode = seconds < WITHIN_SECONDS ? 0 : 1;

/** A line of the README, with what the reader is to put in. */
function asWritten(line: string, given: Readonly<Record<string, string>> = {}): string {
  const written = README.split("\n").some((each) => {
    return each === line || each.startsWith(`${line} `);
  });
  if (!written) throw new Error(`The README does not say: ${line}`);
  return Object.entries(given).reduce((text, [from, to]) => text.replace(from, to), line);
}

/** Runs a line to its end, and returns what it said. */
async function step(machine: string, line: string, expected = /^/): Promise<string> {
  const started = performance.now();
  const { code, text } = machine === "base"
    ? await machines.onBase(line)
    : await machines.on(machine, line);
  tell(started, machine, line);
  if (code !== 0 || !expected.test(text)) {
    throw new Error(`${machine}: ${line}\nended with ${code}, and said no ${expected}:\n${text}`);
  }
  return text;
}

/** Starts a line that goes on, on a terminal, and waits until it has said what it is to say. */
async function goes(machine: string, line: string, expected = /^/) {
  const started = performance.now();
  const process = machines.start(machine, `script -qec "${line}" /dev/null`);
  const found = await process.says(expected, PATIENCE);
  tell(started, machine, `${line} &`);
  return { found, process };
}

function tell(started: number, machine: string, line: string): void {
  const [at, took] = [begin, started].map((since) => (performance.now() - since) / 1000);
  const shown = line.replace(/(cairn:\/\/pair\?.{8})[^']+/, "$1…");
  console.log(
    `${at?.toFixed(0).padStart(4)} s ${took?.toFixed(1).padStart(6)} s  ${
      machine.padEnd(6)
    } ${shown}`,
  );
}

/** What is here, as the repository that a newcomer clones. */
async function cloneFor(made: Made): Promise<void> {
  const target = `${made.base}/srv/cairn.git`;
  const args = ["clone", "--quiet", "--bare", "--no-hardlinks", fileURLToPath(ROOT), target];
  const { success, stderr } = await new Deno.Command("git", { args, stderr: "piped" }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  await new Deno.Command("chown", { args: ["-R", "1000:1000", target] }).output();
}
