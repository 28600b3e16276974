/** A server that is measured, as a process of its own on loopback. */

const LOOK_EVERY_MS = 20;
const END_WITHIN_MS = 10_000;

export interface StartedProcess {
  readonly pid: number;
  /** Ends it; one that does not end by itself is killed. */
  stop(): Promise<void>;
}

export interface ProcessStart {
  /** The program and its arguments. */
  readonly command: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
  readonly stderr: "null" | "inherit";
  readonly port: number;
  readonly startWithin: number;
  /** Says why it does not start. */
  readonly explain: (hasEnded: boolean) => Promise<string>;
}

/** Starts a server and resolves when it accepts connections. Times are milliseconds. */
export async function startProcess(options: ProcessStart): Promise<StartedProcess> {
  const { command: [program, ...args], env, stderr, port, startWithin, explain } = options;
  const child = new Deno.Command(program, { args, env, stdin: "null", stdout: "null", stderr })
    .spawn();
  let hasEnded = false;
  const ended = child.status.then(() => hasEnded = true);
  const stop = async () => {
    if (!hasEnded) child.kill("SIGTERM");
    const timer = setTimeout(() => hasEnded || child.kill("SIGKILL"), END_WITHIN_MS);
    await ended;
    clearTimeout(timer);
  };
  const deadline = performance.now() + startWithin;
  while (!await accepts(port)) {
    if (hasEnded || performance.now() > deadline) {
      const why = explain(hasEnded);
      await stop();
      throw new Error(await why);
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
  return { pid: child.pid, stop };
}

async function accepts(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return true;
  } catch {
    return false;
  }
}
