/** The demo's programs: each a process with few permissions, which ends when the demo does. */

import { fileURLToPath } from "node:url";

const ROOT = new URL("../", import.meta.url);
const MAIN = fileURLToPath(new URL("main.ts", ROOT));
const END_WITHIN_MS = 3_000;
const TAIL_LINES = 12;
/** npx, its shell, node, deno task. */
const MAX_WRAPPERS = 4;

/** A record of the program's log, as CAIRN_LOG_FORMAT=json writes it. */
export interface LogRecord {
  readonly message: string;
  readonly properties: Readonly<Record<string, unknown>>;
}

/** A step of the demo that went wrong, and the program whose words explain it best. */
export class StepFailure extends Error {
  override readonly name = "StepFailure";

  constructor(message: string, readonly program?: Program) {
    super(message);
  }
}

/** Runs `cairn` below one temporary folder; nothing waits longer than `ending` allows. */
export class Programs {
  readonly #running = new Set<Program>();
  readonly #env: Readonly<Record<string, string>>;

  /** `env` is what every program gets, beside this process's own environment without `CAIRN_*`. */
  constructor(
    readonly folder: string,
    readonly ending: AbortSignal,
    env: Readonly<Record<string, string>>,
  ) {
    const own = Object.entries(Deno.env.toObject()).filter(([name]) => !name.startsWith("CAIRN_"));
    this.#env = {
      ...Object.fromEntries(own),
      RUST_LOG: "info",
      CAIRN_LOG_FORMAT: "json",
      // The pipe to its standard input closes when this process is gone, however it ended.
      CAIRN_PARENT_STDIN: "1",
      TMPDIR: folder,
      ...env,
    };
  }

  /** Starts `cairn` with `args`; `name` is for messages. */
  start(name: string, args: readonly string[]): Program {
    this.ending.throwIfAborted();
    const { folder } = this;
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--no-prompt",
        "--allow-net",
        `--allow-read=${folder}`,
        `--allow-write=${folder}`,
        "--allow-env",
        "--allow-sys",
        MAIN,
        ...args,
      ],
      cwd: ROOT,
      clearEnv: true,
      env: this.#env,
      // Ctrl-C in the terminal is for the demo, which then ends its programs itself.
      detached: true,
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const program = new Program(name, child, this.ending);
    this.#running.add(program);
    void program.ended.then(() => this.#running.delete(program));
    return program;
  }

  /** Runs `cairn` with `args` to its end and returns what it printed; the others must go on. */
  async run(name: string, args: readonly string[]): Promise<string> {
    const others = this.running.map(({ gone }) => gone);
    const program = this.start(name, args);
    const outcome = Promise.race([program.ended, ...others]);
    const { success, code, signal } = await unlessEnding(this.ending, outcome);
    if (success) return program.printed.trimEnd();
    throw new StepFailure(`${name} ended with ${signal ?? `status ${code}`}`, program);
  }

  get running(): readonly Program[] {
    return [...this.#running];
  }

  /** Asks all programs to end, and kills those that do not. */
  async end(): Promise<void> {
    const timer = setTimeout(() => {
      for (const program of this.#running) program.kill("SIGKILL");
    }, END_WITHIN_MS);
    for (const program of this.#running) program.kill("SIGTERM");
    await Promise.all([...this.#running].map(({ ended }) => ended));
    clearTimeout(timer);
  }
}

/** One running program. */
export class Program {
  /** Settles when it has ended and all that it wrote has been read. */
  readonly ended: Promise<Deno.CommandStatus>;
  /** Rejects when it has ended. */
  readonly gone: Promise<never>;
  readonly #child: Deno.ChildProcess;
  readonly #ending: AbortSignal;
  readonly #records: LogRecord[] = [];
  #onRecord: (record: LogRecord) => void = () => {};
  #tail: string[] = [];
  #printed = "";

  constructor(readonly name: string, child: Deno.ChildProcess, ending: AbortSignal) {
    this.#child = child;
    this.#ending = ending;
    this.ended = Promise.all([child.status, this.#readOutput(), this.#readLog()])
      .then(([status]) => status);
    this.gone = this.ended.then(({ code, signal }) => {
      throw new StepFailure(`${name} ended early, with ${signal ?? `status ${code}`}`, this);
    });
    this.gone.catch(() => {}); // Often nobody minds.
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** What it wrote to standard output so far. */
  get printed(): string {
    return this.#printed;
  }

  /** The last lines that it wrote to standard error. */
  get lastWords(): readonly string[] {
    return this.#tail;
  }

  /** Does nothing when it has ended already. */
  kill(signal: Deno.Signal): void {
    try {
      this.#child.kill(signal);
    } catch {
      // It has ended.
    }
  }

  /** The first defined answer of `find` to a record of the log, from its beginning on. */
  async logged<T>(find: (record: LogRecord) => T | undefined): Promise<T> {
    const { promise, resolve } = Promise.withResolvers<T>();
    this.#onRecord = (record) => {
      const found = find(record);
      if (found !== undefined) resolve(found);
    };
    for (const record of this.#records) this.#onRecord(record);
    return await this.whileRunning(promise);
  }

  /** `work`, or a failure when this program ends first. */
  async whileRunning<T>(work: Promise<T>): Promise<T> {
    return await unlessEnding(this.#ending, Promise.race([work, this.gone]));
  }

  async #readOutput(): Promise<void> {
    for await (const text of this.#child.stdout.pipeThrough(new TextDecoderStream())) {
      this.#printed += text;
    }
  }

  async #readLog(): Promise<void> {
    let rest = "";
    for await (const text of this.#child.stderr.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.#keep(line);
    }
    if (rest !== "") this.#keep(rest);
  }

  #keep(line: string): void {
    this.#tail = [...this.#tail, line].slice(-TAIL_LINES);
    let record: LogRecord;
    try {
      record = JSON.parse(line);
    } catch {
      return; // Not of the log, or cut off by a kill.
    }
    this.#records.push(record);
    this.#onRecord(record);
  }
}

/**
 * The processes that stand between a user and this one: its parent, and when npx started that, all
 * up to npx. It changes when one of them is gone.
 */
export function wrappers(): string {
  const pids = [Deno.ppid];
  for (let pid = Deno.ppid; pid > 1 && pids.length <= MAX_WRAPPERS;) {
    const wrapper = describe(pid);
    if (wrapper === undefined) break;
    if (/^np[mx]\b/.test(wrapper.name)) return pids.join();
    pid = wrapper.parent;
    pids.push(pid);
  }
  return `${Deno.ppid}`;
}

/** The name of a process and its parent, where the system has a /proc to ask. */
function describe(pid: number): { name: string; parent: number } | undefined {
  try {
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    const [, name = "", parent] = /^\d+ \((.*)\) \S (\d+)/s.exec(stat) ?? [];
    return { name, parent: Number(parent) };
  } catch {
    return undefined;
  }
}

/** `work`, or the reason of `ending` when that comes first. */
export async function unlessEnding<T>(ending: AbortSignal, work: Promise<T>): Promise<T> {
  work.catch(() => {}); // It may fail after nobody waits any more.
  const { promise, reject } = Promise.withResolvers<never>();
  const stop = () => reject(ending.reason);
  if (ending.aborted) stop();
  ending.addEventListener("abort", stop, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    ending.removeEventListener("abort", stop);
  }
}
