/**
 * Shows what cairn is for: `deno task demo`. A message to a peer that is away is kept by a server,
 * survives that server's crash, and reaches its reader once. Exit status 0 only if it did.
 */

import { Buffer } from "node:buffer";
import { Peers, Queues } from "../src/roles/server/api/shapes.ts";
import { type Program, Programs, StepFailure, unlessEnding, wrappers } from "./demo_processes.ts";
import { DemoScreen } from "./demo_screen.ts";

const TEXT = "Hello Bob, schöne Grüße! Call me when you are back.";
const LATER_TEXT = "That was all.";
const TIME_LIMIT_MS = 120_000;
const STEP_LIMIT_MS = 30_000;
const ASK_AGAIN_MS = 50;
const WATCH_MS = 200;

/** The signals that end the demo, with the numbers that its exit status is made of. */
const SIGNALS: readonly (readonly [Deno.Signal, number])[] = Deno.build.os === "windows"
  ? [["SIGINT", 2]]
  : [["SIGHUP", 1], ["SIGINT", 2], ["SIGTERM", 15]];

/** Somebody wants the demo to end before it is done. */
class Interruption extends Error {
  override readonly name = "Interruption";

  constructor(message: string, readonly status: number) {
    super(message);
  }
}

/** A running server. */
interface Server {
  readonly program: Program;
  readonly peerId: string;
  /** Asks its management API. */
  readonly ask: (path: string) => Promise<Response>;
}

const ending = new AbortController();
const interrupt = (message: string, status: number) =>
  ending.abort(new Interruption(message, status));
const screen = new DemoScreen(() => interrupt("nobody reads this any more", 1));
const managementToken = randomKey();
Deno.exit(await run());

async function run(): Promise<number> {
  for (const [signal, number] of SIGNALS) {
    Deno.addSignalListener(signal, () => interrupt(`interrupted by ${signal}`, 128 + number));
  }
  const started = wrappers();
  setInterval(() => {
    if (wrappers() !== started) interrupt("the program that started it is gone", 1);
  }, WATCH_MS);
  setTimeout(() => {
    ending.abort(new StepFailure(`the demo may take ${TIME_LIMIT_MS / 1000} s and is not done`));
  }, TIME_LIMIT_MS);

  const folder = await Deno.makeTempDir({ prefix: "cairn-demo-" });
  const programs = new Programs(folder, ending.signal, {
    CAIRN_PSK: randomKey(),
    CAIRN_MGMT_TOKEN: managementToken,
    CAIRN_SIGNAL_AUTH_TOKEN: randomKey(),
  });
  let status = 0;
  try {
    await show(programs);
  } catch (error) {
    status = report(error, programs.running);
  } finally {
    await programs.end();
    await Deno.remove(folder, { recursive: true });
  }
  screen.done("all processes have ended and their files are removed");
  if (status === 0) screen.success("The text arrived intact and exactly once.");
  return status;
}

async function show(programs: Programs): Promise<void> {
  const { folder } = programs;
  screen.line(
    "Alice writes to Bob, who is away: a server keeps the message, crashes, and still delivers it.",
  );

  screen.begin("starting the signaling server");
  const signal = programs.start("cairn signal", ["signal", "--listen-addr", "127.0.0.1:0"]);
  const signalPort = await signal.logged(({ properties: { port } }) =>
    typeof port === "number" ? port : undefined
  );
  const signalUrl = `ws://127.0.0.1:${signalPort}`;
  screen.done(`cairn signal runs at ${signalUrl} (process ${signal.pid})`);

  screen.begin("starting the server");
  const server = await startServer(programs, signalUrl);
  screen.done(`cairn server runs as ${short(server.peerId)} (process ${server.program.pid})`);

  const peer = (name: string, verb: string, ...args: readonly string[]) => {
    const common = ["--data-dir", `${folder}/${name}`, "--signal", signalUrl];
    return programs.run(`${name}'s cairn peer ${verb}`, ["peer", verb, ...common, ...args]);
  };
  screen.begin("pairing Bob with the server");
  const bob = await peer("Bob", "id");
  await peer("Bob", "pair", "--peer", server.peerId);
  await until(server.program, "the server sees Bob go", async () => {
    const peers = Peers.parse(await (await server.ask("/peers")).json());
    return peers.some(({ peer_id, connected }) => peer_id === bob && !connected);
  });
  screen.done(
    `Bob (${short(bob)}) is paired with the server by a pre-shared key, and goes offline`,
  );

  screen.begin("pairing Alice with the server");
  const alice = await peer("Alice", "id");
  await peer("Alice", "pair", "--peer", server.peerId);
  screen.done(`Alice (${short(alice)}) is paired with the server too`);

  screen.begin("sending");
  const id = await peer("Alice", "send", bob, TEXT);
  check(await waiting(server, bob) === 1, "the server does not hold the message", server.program);
  screen.done(`Alice sent "${TEXT}"`);
  screen.done("the server accepted the message and holds it for Bob");

  screen.begin("killing the server");
  server.program.kill("SIGKILL");
  await unlessEnding(ending.signal, server.program.ended);
  screen.done("the server was killed (SIGKILL) while it held the message");
  check(!await contains(`${folder}/server`, TEXT), "the server's files show the text");
  screen.done("its files do not show what Alice wrote");

  screen.begin("starting the server again");
  const again = await startServer(programs, signalUrl);
  check(again.peerId === server.peerId, "the server has another Peer ID", again.program);
  check(await waiting(again, bob) === 1, "the server has lost the message", again.program);
  screen.done(
    `the server runs again (process ${again.program.pid}), on other ports, with the message`,
  );

  screen.begin("bringing Bob back");
  const receive = () => peer("Bob", "listen", "--json", "--count", "1", "--timeout", "60");
  expectOnly(await receive(), { from: alice, id, text: TEXT });
  screen.done("Bob is back, and found the server through signaling");
  screen.done(`Bob decrypted "${TEXT}"`);

  screen.begin("checking that it came once");
  const nothingWaits = async () => await waiting(again, bob) === 0;
  await until(again.program, "the server has nothing left for Bob", nothingWaits);
  const laterId = await peer("Alice", "send", bob, LATER_TEXT);
  // Messages come in order: were the first one to come again, it would come before this one.
  expectOnly(await receive(), { from: alice, id: laterId, text: LATER_TEXT });
  await until(again.program, "the server has nothing left for Bob", nothingWaits);
  screen.done(`Alice sent "${LATER_TEXT}" and Bob got only that: the first did not come again`);

  screen.begin("ending all processes");
}

/** Starts the server on ports that no peer knows, and waits until it answers. */
async function startServer(programs: Programs, signalUrl: string): Promise<Server> {
  const program = programs.start("cairn server", [
    "server",
    ...["--data-dir", `${programs.folder}/server`],
    ...["--signal", signalUrl],
    ...["--listen-addr", "127.0.0.1:0"],
    ...["--mgmt-port", "0"],
  ]);
  const managementPort = await program.logged(({ message, properties: { port } }) =>
    /management API answers/.test(message) && typeof port === "number" ? port : undefined
  );
  const ask = async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${managementPort}${path}`, {
      headers: { authorization: `Bearer ${managementToken}` },
      signal: ending.signal,
    });
    if (response.ok) return response;
    await response.body?.cancel();
    throw new StepFailure(`the server answers ${path} with status ${response.status}`, program);
  };
  const { peer_id: peerId }: { peer_id: string } = await (await ask("/health")).json();
  return { program, peerId, ask };
}

/** How many messages `server` holds for `peerId`. */
async function waiting(server: Server, peerId: string): Promise<number> {
  const { queues } = Queues.parse(await (await server.ask("/queues")).json());
  return queues.find(({ peer_id }) => peer_id === peerId)?.pending_messages ?? 0;
}

/** Waits until `fact`, called `what`, is so, while `program` runs. */
async function until(
  program: Program,
  what: string,
  fact: () => Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + STEP_LIMIT_MS;
  while (!await program.whileRunning(fact())) {
    check(performance.now() < deadline, `waited in vain until ${what}`, program);
    await program.whileRunning(new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS)));
  }
}

/** That `cairn peer listen --json` printed this one message. */
function expectOnly(printed: string, wanted: { from: string; id: string; text: string }): void {
  const [line = "", ...more] = printed.split("\n");
  const { from, id, text }: Record<string, unknown> = JSON.parse(line);
  const intact = from === wanted.from && id === wanted.id && text === wanted.text;
  check(intact && more.length === 0, `Bob got something else:\n${printed}`);
}

function check(isSo: boolean, otherwise: string, program?: Program): void {
  if (!isSo) throw new StepFailure(otherwise, program);
}

/** Says why the demo did not end as it should; returns the exit status. */
function report(error: unknown, running: readonly Program[]): number {
  if (error instanceof Interruption) {
    screen.line(`The demo stops: ${error.message}`);
    return error.status;
  }
  screen.fail(error instanceof Error ? error.message : String(error));
  const failed = error instanceof StepFailure && error.program ? [error.program] : [];
  for (const program of new Set([...failed, ...running])) {
    const { name, pid, lastWords } = program;
    screen.line(
      `Standard error of ${name} (process ${pid})${lastWords.length ? ":" : ": nothing"}`,
    );
    for (const line of lastWords) screen.line(`  ${line}`);
  }
  return 1;
}

/** Whether a file in `folder` shows `text`. */
async function contains(folder: string, text: string): Promise<boolean> {
  for await (const { name, isFile } of Deno.readDir(folder)) {
    if (isFile && Buffer.from(await Deno.readFile(`${folder}/${name}`)).includes(text)) return true;
  }
  return false;
}

function randomKey(): string {
  return crypto.getRandomValues(new Uint8Array(24)).toHex();
}

function short(peerId: string): string {
  return `${peerId.slice(0, 8)}…`;
}
