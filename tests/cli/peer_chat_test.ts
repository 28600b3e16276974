import { deepEqual, equal, match } from "node:assert/strict";
import { createServer } from "../../src/mod.ts";
import { within } from "../support/deadline.ts";
import { PrintedLines } from "../support/processes.ts";
import { cairnCommand, runCairn } from "./run_cairn.ts";

const PSK = "0123456789abcdef";

Deno.test("cairn peer chat carries lines both ways, with presence and receipts", async () => {
  await using scene = await Scene.open();
  const [aliceId, bobId] = [await scene.pair("alice"), await scene.pair("bob")];
  const alice = scene.chat("alice", bobId, "--json");
  const bob = scene.chat("bob", aliceId, "--json");
  await alice.event({ event: "presence", online: true });
  await alice.say("héllo");
  const heard = await bob.event({ event: "message", text: "héllo", from: aliceId });
  await alice.event({ event: "delivered", id: heard.id });
  await bob.say("hi yourself");
  await alice.event({ event: "message", text: "hi yourself", channel: "chat" });

  equal(await bob.interrupt(), 0);
  await alice.event({ event: "presence", online: false });
  await alice.say("are you there?");
  equal(await alice.endInput(), 0);

  const back = scene.chat("bob", aliceId);
  const [line] = await back.output.first(1);
  match(line ?? "", /^(\* Qm\w+… is away|Qm\w+…: are you there\?)$/);
  equal(await back.interrupt(), 0);
});

Deno.test("cairn peer chat in a pipe sends what it is given and ends with its input", async () => {
  await using scene = await Scene.open();
  const [, bobId] = [await scene.pair("alice"), await scene.pair("bob")];
  const alice = scene.chat("alice", bobId);
  await alice.say("one", "two");
  equal(await alice.endInput("and no newline"), 0);
  const bob = await scene.run("bob", "listen", "--json", "--count", "3", "--timeout", "2m");
  const texts = bob.stdout.trim().split("\n").map((line) => JSON.parse(line).text);
  deepEqual(texts, ["one", "two", "and no newline"]);
});

Deno.test("cairn peer safety-number is the same on both sides, and another one for another peer", async () => {
  await using scene = await Scene.open();
  const names = ["alice", "bob", "carol"];
  const [alice = "", bob = "", carol = ""] = await Promise.all(
    names.map(async (name) => (await scene.run(name, "id")).stdout.trim()),
  );
  const [ab, ba, ac] = await Promise.all([
    scene.run("alice", "safety-number", bob),
    scene.run("bob", "safety-number", alice),
    scene.run("alice", "safety-number", carol),
  ]);
  match(ab.stdout, /^(\d{5} ){11}\d{5}\n$/);
  equal(ab.stdout, ba.stdout);
  equal(ab.stdout === ac.stdout, false);
});

/** A `cairn peer chat` whose standard input the test writes. */
class ChatProcess {
  readonly output: PrintedLines;
  readonly errors: PrintedLines;
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #deadline: AbortSignal;

  constructor(child: Deno.ChildProcess, deadline: AbortSignal) {
    this.#child = child;
    this.#deadline = deadline;
    this.#input = child.stdin.getWriter();
    const describe = () => `a line of chat\n${this.output.all.join("\n")}`;
    this.output = new PrintedLines(child.stdout, deadline, describe);
    this.errors = new PrintedLines(child.stderr, deadline, describe);
  }

  async say(...lines: string[]): Promise<void> {
    for (const line of lines) await this.#input.write(new TextEncoder().encode(`${line}\n`));
  }

  /** Waits for the line that has these members. */
  async event(members: Record<string, unknown>): Promise<Record<string, unknown>> {
    for await (const line of this.output) {
      const event = JSON.parse(line);
      if (Object.entries(members).every(([key, value]) => event[key] === value)) return event;
    }
    throw new Error(`No ${JSON.stringify(members)} in\n${this.output.all.join("\n")}`);
  }

  /** Ends standard input, after `rest`, and waits for the exit status. */
  async endInput(rest = ""): Promise<number> {
    if (rest) await this.#input.write(new TextEncoder().encode(rest));
    await this.#input.close();
    return await this.#status();
  }

  /** As Ctrl-C does. */
  async interrupt(): Promise<number> {
    this.#child.kill("SIGINT");
    const status = await this.#status();
    await this.#input.close().catch(() => {});
    return status;
  }

  async #status(): Promise<number> {
    const { code } = await within(this.#deadline, this.#child.status, () => "the end of chat");
    await Promise.all([this.output.ended, this.errors.ended]);
    deepEqual(this.errors.all.filter((line) => line !== ""), []);
    return code;
  }
}

class Scene implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly #deadline = AbortSignal.timeout(300_000);

  private constructor(
    readonly folder: string,
    readonly server: ReturnType<typeof createServer>,
  ) {}

  static async open(): Promise<Scene> {
    const folder = await Deno.makeTempDir({ prefix: "cairn-test-" });
    const server = createServer({
      storagePath: `${folder}/server`,
      listenAddr: "127.0.0.1:0",
      management: { enabled: false },
      psk: PSK,
    });
    await server.start();
    const scene = new Scene(folder, server);
    scene.#stack.defer(() => Deno.remove(folder, { recursive: true }));
    scene.#stack.defer(() => server.close());
    return scene;
  }

  /** Pairs a peer and returns its id. */
  async pair(name: string): Promise<string> {
    await this.run(name, "pair", "--psk", PSK, "--peer", this.server.peerId.toString());
    return (await this.run(name, "id")).stdout.trim();
  }

  run(name: string, ...args: string[]) {
    return runCairn(this.#args(name, args), { env: this.#env });
  }

  chat(name: string, peer: string, ...args: string[]): ChatProcess {
    const command = cairnCommand(
      this.#args(name, ["chat", peer, ...args]),
      { env: this.#env },
      { stdin: "piped" },
    );
    const child = command.spawn();
    this.#stack.defer(async () => {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended.
      }
      await child.status;
    });
    return new ChatProcess(child, this.#deadline);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  get #env(): Record<string, string> {
    return { CAIRN_SERVER_URL: `ws://127.0.0.1:${this.server.addresses.links.port}` };
  }

  #args(name: string, [verb = "", ...rest]: string[]): string[] {
    return ["peer", verb, "--data-dir", `${this.folder}/${name}`, ...rest];
  }
}
