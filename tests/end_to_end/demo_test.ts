import { deepEqual, equal, match, ok } from "node:assert/strict";

const ROOT = new URL("../../", import.meta.url);
const GONE_WITHIN_MS = 60_000;
const LOOK_AGAIN_MS = 50;
/** Processes are found by their environment, in /proc. */
const ignore = Deno.build.os !== "linux";

const STEPS: readonly RegExp[] = [
  /cairn signal runs at ws:\/\/127\.0\.0\.1:\d+/,
  /cairn server runs as Qm/,
  /Bob \(Qm\w+…\) is paired with the server .* and goes offline/,
  /Alice \(Qm\w+…\) is paired with the server/,
  /Alice sent "Hello Bob, schöne Grüße! .*"/,
  /the server accepted the message and holds it for Bob/,
  /the server was killed \(SIGKILL\) while it held the message/,
  /its files do not show what Alice wrote/,
  /the server runs again .* with the message/,
  /Bob is back, and found the server through signaling/,
  /Bob decrypted "Hello Bob, schöne Grüße! .*"/,
  /Bob got only that: the first did not come again/,
  /all processes have ended and their files are removed/,
];

Deno.test(
  "The demo tells every step with its time and leaves nothing behind",
  { ignore },
  async () => {
    await using demo = await RunningDemo.start({
      // What a user has set for a peer of their own is not for the demo.
      CAIRN_PSK_FILE: "/nonexistent",
      CAIRN_SERVER_URL: "ws://127.0.0.1:1",
      CAIRN_SIGNAL_SERVERS: "ws://127.0.0.1:1",
    });
    const { code } = await demo.status;

    equal(code, 0, demo.output);
    const [title = "", ...lines] = demo.output.trimEnd().split("\n");
    match(title, /^Alice writes to Bob, who is away/);
    equal(lines.pop(), "The text arrived intact and exactly once.");
    equal(lines.length, STEPS.length, demo.output);
    let latest = 0;
    for (const [i, step] of STEPS.entries()) {
      const [, seconds, text = ""] = /^ *(\d+\.\d\d) s {2}(.*)$/.exec(lines[i] ?? "") ?? [];
      match(text, step);
      ok(Number(seconds) >= latest, `${lines[i]} comes after ${latest} s`);
      latest = Number(seconds);
    }
    deepEqual(await demo.processes(), []);
    deepEqual(await demo.files(), []);
  },
);

const INTERRUPTIONS: readonly (readonly [Deno.Signal, RegExp, number])[] = [
  ["SIGINT", /is paired with the server too/, 130],
  ["SIGTERM", /the server was killed/, 143],
  ["SIGHUP", /cairn server runs/, 129],
];
for (const [signal, moment, status] of INTERRUPTIONS) {
  Deno.test(`The demo leaves nothing behind after ${signal}`, { ignore }, async () => {
    await using demo = await RunningDemo.start();
    await demo.shown(moment);
    // The terminal tells the whole group, and `deno task` passes it on a second time.
    const pids = [demo.pid, await demo.demoPid()];
    for (const pid of pids) signalTo(pid, signal);

    equal((await demo.status).code, status, demo.output);
    match(demo.output, new RegExp(`^The demo stops: interrupted by ${signal}$`, "m"));
    deepEqual(await demo.processes(), []);
    deepEqual(await demo.files(), []);
  });
}

Deno.test(
  "The demo ends and cleans up when the task that started it is killed",
  { ignore },
  async () => {
    await using demo = await RunningDemo.start();
    await demo.shown(/is paired with the server too/);
    Deno.kill(demo.pid, "SIGKILL");
    await demo.gone();
    match(demo.output, /^The demo stops: the program that started it is gone$/m);
    deepEqual(await demo.files(), []);
  },
);

Deno.test("The demo ends and cleans up when nobody reads it any more", { ignore }, async () => {
  await using demo = await RunningDemo.start();
  await demo.shown(/cairn server runs/);
  await demo.stopReading();
  equal((await demo.status).code, 1);
  deepEqual(await demo.processes(), []);
  deepEqual(await demo.files(), []);
});

Deno.test("The programs of the demo end by themselves when it is killed", { ignore }, async () => {
  await using demo = await RunningDemo.start();
  await demo.shown(/cairn server runs/);
  const pid = await demo.demoPid();
  const commands = (await demo.processes()).map(({ command }) => command);
  ok(commands.filter((command) => command.includes("main.ts")).length >= 2, commands.join("\n"));
  Deno.kill(pid, "SIGKILL");
  await demo.gone();
});

interface FoundProcess {
  readonly pid: number;
  readonly command: string;
}

/** The demo as a user starts it, with a folder for temporary files of its own. */
class RunningDemo {
  readonly #child: Deno.ChildProcess;
  readonly #folder: string;
  readonly #reader: ReadableStreamDefaultReader<string>;
  readonly #reading: Promise<void>;
  #output = "";
  #onText: () => void = () => {};

  private constructor(folder: string, env: Readonly<Record<string, string>>) {
    this.#folder = folder;
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["task", "--quiet", "demo"],
      cwd: ROOT,
      env: { ...env, TMPDIR: folder },
      stdin: "null",
      stdout: "piped",
    }).spawn();
    this.#reader = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    this.#reading = this.#read();
  }

  static async start(env: Readonly<Record<string, string>> = {}): Promise<RunningDemo> {
    return new RunningDemo(await Deno.makeTempDir({ prefix: "cairn-demo-test-" }), env);
  }

  /** Of `deno task`. */
  get pid(): number {
    return this.#child.pid;
  }

  get output(): string {
    return this.#output;
  }

  /** Settles when the task has ended and all that it wrote was read. */
  get status(): Promise<Deno.CommandStatus> {
    return this.#reading.then(() => this.#child.status);
  }

  /** Resolves when the output shows `pattern`. */
  async shown(pattern: RegExp): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#onText = () => {
        if (pattern.test(this.#output)) resolve();
      };
      this.#onText();
      void this.#reading.then(() => reject(new Error(`Never shown: ${pattern}\n${this.#output}`)));
    });
  }

  async stopReading(): Promise<void> {
    await this.#reader.cancel();
  }

  /** Of the demo itself. */
  async demoPid(): Promise<number> {
    const found = (await this.processes()).find(({ command }) => command.includes("tasks/demo.ts"));
    ok(found, "the demo runs");
    return found.pid;
  }

  /** Every process that has this demo's folder for temporary files in its environment. */
  async processes(): Promise<FoundProcess[]> {
    const found: FoundProcess[] = [];
    for await (const { name } of Deno.readDir("/proc")) {
      if (!/^\d+$/.test(name)) continue;
      try {
        if (!(await Deno.readTextFile(`/proc/${name}/environ`)).includes(this.#folder)) continue;
        const command = (await Deno.readTextFile(`/proc/${name}/cmdline`)).replaceAll("\0", " ");
        found.push({ pid: Number(name), command });
      } catch {
        // It has ended, or belongs to somebody else.
      }
    }
    return found;
  }

  /** Waits until no process of the demo is left. */
  async gone(): Promise<void> {
    const deadline = performance.now() + GONE_WITHIN_MS;
    for (let left = await this.processes(); left.length > 0; left = await this.processes()) {
      ok(performance.now() < deadline, `still there: ${left.map(({ command }) => command)}`);
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
    }
    await this.#reading;
  }

  async files(): Promise<string[]> {
    return (await Array.fromAsync(Deno.readDir(this.#folder))).map(({ name }) => name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // The demo may start another program while its processes are looked for.
    for (let left = await this.processes(); left.length > 0; left = await this.processes()) {
      for (const { pid } of left) signalTo(pid, "SIGKILL");
    }
    await this.status;
    await Deno.remove(this.#folder, { recursive: true });
  }

  async #read(): Promise<void> {
    for (;;) {
      const { done, value } = await this.#reader.read();
      if (done) return;
      this.#output += value;
      this.#onText();
    }
  }
}

function signalTo(pid: number, signal: Deno.Signal): void {
  try {
    Deno.kill(pid, signal);
  } catch {
    // It has ended.
  }
}
