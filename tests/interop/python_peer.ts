/** Runs a stock Python library beside a test and talks to it line by line. */

/** Debian's own, which has the libraries that are packages. */
export const PYTHON = "/usr/bin/python3";

/** Whether Debian's Python can import `module`. */
export function pythonHas(module: string): boolean {
  try {
    const { success } = new Deno.Command(PYTHON, {
      args: ["-c", `import ${module}`],
      stdout: "null",
      stderr: "null",
    }).outputSync();
    return success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** A running script. Dispose of it to close its input and wait for its end. */
export class PythonPeer implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reader: ReadableStreamDefaultReader<string>;
  #buffer = "";

  /** @param script File name in this folder. */
  constructor(script: string, args: readonly string[]) {
    this.#child = new Deno.Command(PYTHON, {
      args: [new URL(script, import.meta.url).pathname, ...args],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#reader = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  async write(line: string): Promise<void> {
    await this.#writer.write(new TextEncoder().encode(line + "\n"));
  }

  async readLine(): Promise<string> {
    while (true) {
      const end = this.#buffer.indexOf("\n");
      if (end >= 0) {
        const line = this.#buffer.slice(0, end);
        this.#buffer = this.#buffer.slice(end + 1);
        return line;
      }
      const { value, done } = await this.#reader.read();
      if (done) throw new Error("Python script ended before it answered");
      this.#buffer += value;
    }
  }

  /** Sends a command with arguments in hex and returns its answer. */
  async ask(command: string, ...args: readonly Uint8Array[]): Promise<Uint8Array<ArrayBuffer>> {
    await this.write([command, ...args.map((bytes) => bytes.toHex() || "-")].join(" "));
    return Uint8Array.fromHex(await this.readLine());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A script that failed has closed its input already; its own message is on standard error.
    await this.#writer.close().catch(() => {});
    await this.#reader.cancel();
    await this.#child.status;
  }
}
