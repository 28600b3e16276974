import { deepEqual, equal, match, ok } from "node:assert/strict";
import { COMMANDS } from "../../src/cli/command_table.ts";
import { optionsOf } from "../../src/cli/options.ts";
import { flagOf } from "../../src/cli/settings.ts";
import { runCairn } from "./run_cairn.ts";

Deno.test("In bash cairn completes commands, verbs, every option, and values", async () => {
  const complete = await completer("bash", (script, words) =>
    `source ${script}
    COMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")})
    COMP_CWORD=${words.length - 1}
    _cairn
    printf '%s\\n' "\${COMPREPLY[@]}"`);
  await using _folder = complete;
  deepEqual(await complete.of("cairn", "rel"), ["relay"]);
  deepEqual(await complete.of("cairn", "relay", "c"), ["check", "check-peer"]);
  deepEqual(await complete.of("cairn", "server", "peers", "--mgmt-po"), ["--mgmt-port"]);
  deepEqual(await complete.of("cairn", "server", "--log-format", ""), ["pretty", "json"]);
  deepEqual(await complete.of("cairn", "init", "--role", "s"), ["server", "signal"]);
  deepEqual(await complete.of("cairn", "completions", ""), ["bash", "zsh", "fish"]);
  deepEqual(await complete.of("cairn", "signal", "--auth-token", "x"), [], "no value is made up");
  const all = new Set<string>();
  for (const { name } of COMMANDS) {
    for (const flag of await complete.of("cairn", ...name.split(" "), "--")) {
      all.add(`${name} ${flag}`);
    }
  }
  for (const { name } of COMMANDS) {
    for (const row of optionsOf(name)) ok(all.has(`${name} ${flagOf(row, name)}`), name);
  }
});

Deno.test({
  name: "In fish cairn completes commands, verbs and options",
  ignore: !has("fish"),
  async fn() {
    const complete = await completer(
      "fish",
      (script, words) =>
        `source ${script}; complete -C '${words.join(" ")}' | string split -f1 \\t`,
    );
    await using _folder = complete;
    deepEqual(await complete.of("cairn", "rel"), ["relay"]);
    deepEqual(await complete.of("cairn", "relay", "c"), ["check", "check-peer"]);
    deepEqual(await complete.of("cairn", "peer", "send", "--chan"), ["--channel"]);
    deepEqual((await complete.of("cairn", "init", "--role", "s")).toSorted(), ["server", "signal"]);
  },
});

Deno.test({
  name: "zsh takes the completions of cairn for a script without faults",
  ignore: !has("zsh"),
  async fn() {
    const complete = await completer("zsh", (script) => `
      autoload -Uz compinit && compinit -D -u && source ${script} && print -r -- $_comps[cairn]`);
    await using _folder = complete;
    deepEqual(await complete.of("cairn"), ["_cairn"]);
  },
});

Deno.test("Of a shell that it does not know cairn says which ones it does", async () => {
  const { code, stdout, stderr } = await runCairn(["completions", "tcsh"]);
  deepEqual([code, stdout], [2, ""]);
  match(stderr, /SHELL: "tcsh" is not right; expected bash, zsh, fish/);
});

/** Completes words in `shell`; `program` is what it runs once it has the script of cairn. */
async function completer(
  shell: string,
  program: (script: string, words: readonly string[]) => string,
) {
  const folder = await Deno.makeTempDir({ prefix: "cairn-completions-" });
  const { code, stdout } = await runCairn(["completions", shell]);
  equal(code, 0);
  const script = `${folder}/cairn.${shell}`;
  await Deno.writeTextFile(script, stdout);
  return {
    async of(...words: readonly string[]): Promise<string[]> {
      const { stdout, stderr } = await new Deno.Command(shell, {
        args: ["-c", program(script, words)],
        env: { HOME: folder, XDG_CONFIG_HOME: folder, XDG_DATA_HOME: folder },
        stdin: "null",
      }).output();
      equal(new TextDecoder().decode(stderr), "");
      return new TextDecoder().decode(stdout).split("\n").filter((line) => line !== "");
    },
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

function has(shell: string): boolean {
  try {
    return new Deno.Command(shell, { args: ["-c", "true"], stdin: "null" }).outputSync().success;
  } catch {
    return false;
  }
}
