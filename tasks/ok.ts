// deno-lint-ignore-file no-console -- a task speaks to the terminal that started it.
/**
 * The gate: formatting, lint, types, documentation, tests. `deno task ok [test command …]`; without
 * a command the tests run by `deno task test`. Every step runs even when an earlier one failed, a
 * failed step counts as one failure, and the last line is `N passed, N failed`.
 */

const deno = Deno.execPath();
const root = new URL("../", import.meta.url);

const STEPS: readonly (readonly [name: string, args: readonly string[]])[] = [
  ["formatting", ["fmt", "--check"]],
  ["lint", ["lint"]],
  ["types", ["check"]],
  ["documentation of the library", ["doc", "--lint", "src/mod.ts", "src/browser.ts"]],
  ["docs/options.md is up to date", ["run", "-A", "tasks/options_doc.ts", "--check"]],
  ["docs/rest.md is up to date", ["run", "-A", "tasks/rest_doc.ts", "--check"]],
  ["Grafana's dashboard is up to date", ["run", "-A", "tasks/grafana.ts", "--check"]],
  ["the dashboard is up to date", ["run", "-A", "tasks/dashboard.ts", "--check"]],
];

const broken: string[] = [];
for (const [name, args] of STEPS) {
  console.log(`--- ${name}`);
  const { success } = await new Deno.Command(deno, {
    args: [...args],
    cwd: root,
    stdin: "null",
    stdout: "inherit",
    stderr: "inherit",
  }).output();
  if (!success) broken.push(name);
}

const { passed, failed } = await runTests(Deno.args);
if (broken.length > 0) console.log(`Not in order: ${broken.join(", ")}`);
console.log(`${passed} passed, ${failed + broken.length} failed`);
Deno.exit(failed + broken.length === 0 ? 0 : 1);

async function runTests(command: readonly string[]): Promise<{ passed: number; failed: number }> {
  const [program, ...args] = command.length > 0 ? command : [deno, "task", "test"];
  if (program === undefined) throw new TypeError("No test command");
  console.log(`--- tests: ${[program, ...args].join(" ")}`);
  const child = new Deno.Command(program, {
    args,
    cwd: root,
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();

  let lastLine = "";
  let rest = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      console.log(line);
      if (line.trim() !== "") lastLine = line;
    }
  }
  const { success } = await child.status;
  const counts = /^(\d+) passed, (\d+) failed$/.exec(lastLine);
  const passed = Number(counts?.[1] ?? 0);
  const failed = Number(counts?.[2] ?? 0);
  return { passed, failed: !success && failed === 0 ? 1 : failed };
}
