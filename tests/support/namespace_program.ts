import { within } from "./deadline.ts";
import { PrintedLines } from "./processes.ts";

/** A program that runs in a namespace. */
export class Program implements AsyncDisposable {
  readonly output: PrintedLines;
  readonly log: PrintedLines;
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #deadline: AbortSignal;

  constructor(
    namespace: string,
    command: string,
    args: readonly string[],
    env: Readonly<Record<string, string>>,
    deadline: AbortSignal,
  ) {
    this.#deadline = deadline;
    this.#child = new Deno.Command("ip", {
      args: ["netns", "exec", namespace, command, ...args],
      env: { NO_COLOR: "1", RUST_LOG: "debug", ...env },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#input = this.#child.stdin.getWriter();
    this.#input.closed.catch(() => {});
    const tail = () =>
      `a line of ${command} ${args.slice(0, 6).join(" ")}\n${this.log.all.slice(-25).join("\n")}`;
    this.output = new PrintedLines(this.#child.stdout, deadline, tail);
    this.log = new PrintedLines(this.#child.stderr, deadline, tail);
  }

  /** Waits for a line of the log. */
  async logged(pattern: RegExp): Promise<string> {
    for await (const line of this.log) if (pattern.test(line)) return line;
    throw new Error(`It ended without ${pattern}: ${this.log.all.join("\n")}`);
  }

  async write(line: string): Promise<void> {
    await this.#input.write(new TextEncoder().encode(`${line}\n`));
  }

  /** SIGKILL: it says goodbye to nobody. */
  kill(): Promise<void> {
    return this.#stop("SIGKILL");
  }

  /** SIGTERM: it may say goodbye. */
  end(): Promise<void> {
    return this.#stop("SIGTERM");
  }

  async #stop(signal: Deno.Signal): Promise<void> {
    try {
      this.#child.kill(signal);
    } catch {
      // It has ended by itself.
    }
    await within(this.#deadline, this.#child.status, () => "the end of a program");
    await this.#input.close().catch(() => {});
    await Promise.all([this.output.ended, this.log.ended]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}
