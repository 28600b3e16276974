/** Starts cairn's roles as processes, reads what they print line by line, and ends them by id. */

import { cairnCommand } from "../cli/run_cairn.ts";
import { within } from "./deadline.ts";

export interface ProcessOptions {
  /** After it every wait for this process fails. */
  readonly deadline: AbortSignal;
  readonly env?: Readonly<Record<string, string>>;
  /** Leaves standard output unread, so that the process blocks once the pipe is full. */
  readonly blockOutput?: boolean;
}

/** A running `cairn` process. */
export class CairnProcess implements AsyncDisposable {
  /** Results, one a line. */
  readonly output: PrintedLines;
  /** The log. */
  readonly log: PrintedLines;
  readonly #child: Deno.ChildProcess;
  readonly #name: string;
  readonly #deadline: AbortSignal;
  #ended = false;

  constructor(args: readonly string[], options: ProcessOptions) {
    const { deadline, env = {} } = options;
    this.#name = `cairn ${args.slice(0, 2).join(" ")}`;
    this.#deadline = deadline;
    this.#child = cairnCommand(args, { env }).spawn();
    const tail = () => `\n${this.log.all.slice(-20).join("\n")}`;
    const output = options.blockOutput ? undefined : this.#child.stdout;
    this.output = new PrintedLines(output, deadline, () => `a line of ${this.#name}${tail()}`);
    this.log = new PrintedLines(
      this.#child.stderr,
      deadline,
      () => `a log line of ${this.#name}${tail()}`,
    );
    if (options.blockOutput) void this.#child.status.then(() => this.#child.stdout.cancel());
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Kills it with SIGKILL and waits until it is gone. */
  async kill(): Promise<void> {
    await this.#signal("SIGKILL");
  }

  /** Asks it to end with SIGTERM and waits for its exit status. */
  end(): Promise<number> {
    return this.#signal("SIGTERM");
  }

  /** Sends it a signal. */
  signal(signal: Deno.Signal): void {
    this.#kill(signal);
  }

  /** Waits until it has ended by itself; its exit status. */
  exit(): Promise<number> {
    return within(
      this.#deadline,
      this.#finish(),
      () => `the end of ${this.#name}\n${this.log.all.slice(-20).join("\n")}`,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#ended) this.#kill("SIGKILL");
    await this.#finish();
  }

  async #signal(signal: Deno.Signal): Promise<number> {
    this.#kill(signal);
    return await this.exit();
  }

  #kill(signal: Deno.Signal): void {
    try {
      this.#child.kill(signal);
    } catch (error) {
      // It has ended in the meantime, which is what was wanted.
      if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  async #finish(): Promise<number> {
    const { code } = await this.#child.status;
    this.#ended = true;
    await Promise.all([this.output.ended, this.log.ended]);
    return code;
  }
}

/** The lines of a stream: what came so far, and what comes next. */
export class PrintedLines implements AsyncIterable<string> {
  readonly all: string[] = [];
  /** Resolves when the stream has ended. A last line without its end is dropped. */
  readonly ended: Promise<void>;
  readonly #deadline: AbortSignal;
  readonly #describe: () => string;
  #open = true;
  #grown = Promise.withResolvers<void>();

  constructor(
    stream: ReadableStream<Uint8Array<ArrayBuffer>> | undefined,
    deadline: AbortSignal,
    describe: () => string,
  ) {
    this.#deadline = deadline;
    this.#describe = describe;
    this.ended = (stream ? this.#read(stream) : Promise.resolve()).finally(() => {
      this.#open = false;
      this.#grown.resolve();
    });
  }

  /** Every line from the first on, as they come. */
  async *[Symbol.asyncIterator](): AsyncGenerator<string> {
    for (let index = 0;; index++) {
      const line = await this.#at(index);
      if (line === undefined) return;
      yield line;
    }
  }

  /** The first `count` lines, once they have come. */
  async first(count: number): Promise<string[]> {
    for (let index = 0; index < count; index++) {
      if (await this.#at(index) === undefined) {
        throw new Error(`Only ${index} of ${count} lines came, instead of ${this.#describe()}`);
      }
    }
    return this.all.slice(0, count);
  }

  async #at(index: number): Promise<string | undefined> {
    while (index >= this.all.length && this.#open) {
      await within(this.#deadline, this.#grown.promise, this.#describe);
    }
    return this.all[index];
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    let rest = "";
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      if (lines.length === 0) continue;
      this.all.push(...lines);
      const grown = this.#grown;
      this.#grown = Promise.withResolvers();
      grown.resolve();
    }
  }
}
