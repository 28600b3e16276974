// deno-lint-ignore-file no-console -- a task speaks to the terminal that started it.
/**
 * Makes `./cairn`: `deno task build [--output PATH] [--portable]`. With the runtime that
 * `deno compile` needs (from the network, or from the file that DENORT_BIN names) it is a program
 * that needs nothing; without, or with `--portable`, a single file that runs with Deno, or with
 * Node and npm alone.
 */

import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const DENO_VERSION = "2.9.6";
/** A network that neither answers nor refuses must not hold the build up. */
const COMPILE_WITHIN_MS = 60_000;

const UNSTABLE = ["--unstable-kv", "--unstable-net"];
/** All that a role needs: no subprocesses. Only the relay uses a native library, libc (`ffi`). */
const PERMISSIONS = [
  "--no-prompt",
  "--allow-net",
  "--allow-env",
  "--allow-read",
  "--allow-write",
  "--allow-sys",
  "--allow-ffi",
];

const root = new URL("../", import.meta.url);
const MAIN = fileURLToPath(new URL("main.ts", root));
const CONFIG = ["--config", fileURLToPath(new URL("deno.json", root))];
const { values } = parseArgs({
  args: Deno.args,
  options: {
    output: { type: "string", default: fileURLToPath(new URL("cairn", root)) },
    portable: { type: "boolean", default: false },
    quiet: { type: "boolean", default: false },
  },
});
const say = (line: string) => {
  if (!values.quiet) console.log(line);
};

const work = await Deno.makeTempDir({ prefix: "cairn-build-" });
try {
  const program = `${work}/cairn`;
  const obstacle = values.portable ? "asked for" : await compile(program);
  if (obstacle === undefined) {
    await replace(program, values.output);
    say(`Made ${values.output}: a program that needs nothing installed (deno compile)`);
  } else {
    const bundle = `${work}/cairn.js`;
    const portable = `${work}/portable`;
    await makeBundle(bundle);
    await Deno.writeTextFile(portable, portableHeader() + await Deno.readTextFile(bundle));
    await replace(portable, values.output);
    say(
      `Made ${values.output}: a portable file that runs with Deno, or with Node and npm ` +
        `(${obstacle})`,
    );
  }
} finally {
  await Deno.remove(work, { recursive: true });
}

async function makeBundle(output: string): Promise<void> {
  const args = ["--quiet", "--minify", ...CONFIG, "--output", output, MAIN];
  const { success, text } = await runDeno(["bundle", ...args]);
  if (success) return;
  console.error(`deno bundle failed:\n${text}`);
  Deno.exit(1);
}

/** Returns why it could not be done, or `undefined` when the program stands and runs. */
async function compile(output: string): Promise<string | undefined> {
  const args = ["--bundle", "--minify", "--quiet", "--no-check", ...CONFIG, "--output", output];
  const { success, text } = await runDeno(["compile", ...args, ...UNSTABLE, ...PERMISSIONS, MAIN]);
  if (!success) return `deno compile could not get its runtime: ${lastCause(text)}`;
  const version = await new Deno.Command(output, { args: ["--version"], stdin: "null" }).output();
  const answer = new TextDecoder().decode(version.stdout);
  return version.success && answer.startsWith("cairn ")
    ? undefined
    : "what deno compile made does not run here";
}

/** In the folder of work, where deno compile puts files that it may have no time to remove. */
async function runDeno(args: readonly string[]): Promise<{ success: boolean; text: string }> {
  const stopper = new AbortController();
  const timer = setTimeout(() => stopper.abort(), COMPILE_WITHIN_MS);
  try {
    const { success, stdout, stderr, signal } = await new Deno.Command(Deno.execPath(), {
      args: [...args],
      cwd: work,
      env: { NO_COLOR: "1" },
      stdin: "null",
      signal: stopper.signal,
    }).output();
    const decoder = new TextDecoder();
    const text = decoder.decode(stdout) + decoder.decode(stderr);
    return { success, text: signal ? `stopped after ${COMPILE_WITHIN_MS / 1000} s` : text };
  } finally {
    clearTimeout(timer);
  }
}

function lastCause(text: string): string {
  const causes = [...text.matchAll(/^\s*\d+: (.+)$/gm)].map(([, cause]) => cause ?? "");
  const last = causes.filter((cause) => !cause.startsWith("<")).at(-1);
  return last ?? text.trim().split("\n").at(-1) ?? "no reason given";
}

/**
 * Two lines that a shell obeys and JavaScript skips. The shell looks for a Deno that is new enough
 * and else asks npm for the binary itself, because killing npx would leave its child behind. What
 * npm answers is remembered: to ask takes a second of computing, `cairn health` a fifth of one. What
 * another user has put in its place is not run.
 */
function portableHeader(): string {
  const run = ["run", "--ext=js", "--no-config", "--no-lock", ...UNSTABLE, ...PERMISSIONS].join(
    " ",
  );
  const find = [
    `d=deno;`,
    `case "$(deno --version 2>/dev/null)" in`,
    `"deno 2.9."*|"deno 2."[1-9][0-9].*|"deno "[3-9].*) ;;`,
    `*) f="\${XDG_CACHE_HOME:-\${HOME:-/dev/null}/.cache}/cairn/deno-${DENO_VERSION}";`,
    `d=; [ -O "$f" ] && read -r d 2>/dev/null <"$f"; [ -f "$d" ] && [ -x "$d" ] ||`,
    `{ d=$(npx -y deno@${DENO_VERSION} eval "console.log(Deno.execPath())" </dev/null) ||`,
    `{ echo "cairn needs Deno ${DENO_VERSION} or newer, or Node with npm" >&2; exit 1; };`,
    `(umask 077; mkdir -p "\${f%/*}" && echo "$d" >"$f") 2>/dev/null; } ;; esac`,
  ].join(" ");
  return `#!/bin/sh\n":" //; ${find}; exec "$d" ${run} "$0" "$@"\n`;
}

async function replace(file: string, target: string): Promise<void> {
  await Deno.chmod(file, 0o755);
  // Beside the target first: renaming is whole or not at all, also over a program that runs.
  const beside = `${target}.new-${Deno.pid}`;
  await Deno.copyFile(file, beside);
  await Deno.rename(beside, target);
}
