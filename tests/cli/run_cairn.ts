/** Runs cairn as a user would: another process, an environment of its own. */

const ROOT = new URL("../../", import.meta.url);
/** The data folders of programs that are told none: never those of the user who runs the tests. */
const DATA_HOME = Deno.makeTempDirSync({ prefix: "cairn-data-home-" });
addEventListener("unload", () => Deno.removeSync(DATA_HOME, { recursive: true }));
const UNSTABLE = ["--unstable-kv", "--unstable-net"];

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** In place of main.ts. */
  readonly script?: URL;
}

/** A command that runs cairn with `args` and nothing of this process's CAIRN_ variables. */
export function cairnCommand(
  args: readonly string[],
  { env = {}, script = new URL("main.ts", ROOT) }: RunOptions = {},
  streams: Pick<Deno.CommandOptions, "stdin" | "stdout" | "stderr"> = {},
): Deno.Command {
  const inherited = ["PATH", "HOME", "DENO_DIR", "TMPDIR"].flatMap((name) => {
    const value = Deno.env.get(name);
    return value === undefined ? [] : [[name, value]];
  });
  return new Deno.Command(Deno.execPath(), {
    // Quiet: what is downloaded into an empty cache is not what the program says.
    args: ["run", "--quiet", "-A", ...UNSTABLE, script.href, ...args],
    clearEnv: true,
    env: { ...Object.fromEntries(inherited), NO_COLOR: "1", XDG_DATA_HOME: DATA_HOME, ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    ...streams,
  });
}

/** Runs cairn to its end. */
export async function runCairn(args: readonly string[], options?: RunOptions): Promise<Outcome> {
  const { code, stdout, stderr } = await cairnCommand(args, options).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}
