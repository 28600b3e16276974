// deno-lint-ignore-file no-console -- a task speaks to the terminal that started it.
/**
 * Runs the test groups, each with the permissions it may have: `deno task test [filter or path …]`.
 * The last line of the output is `N passed, N failed`.
 */

import { countTests, type TestCount } from "./test_count.ts";

interface TestGroup {
  readonly name: string;
  readonly owns: (file: string) => boolean;
  readonly permissions: readonly string[];
  /** Runs beside those that follow, for it waits most of the time; its output comes at its end. */
  readonly besides?: boolean;
}

interface GroupResult extends TestCount {
  /** Of a group that ran beside others. */
  readonly output: string;
}

/** The first group that owns a file runs it. No permission at all proves half of the wall. */
const GROUPS: readonly TestGroup[] = [
  {
    name: "base and protocol, no permissions",
    owns: (file) => file.startsWith("tests/base/") || file.startsWith("tests/protocol/"),
    permissions: [],
  },
  {
    name: "architecture",
    owns: (file) => file === "tests/architecture_test.ts",
    permissions: ["--allow-read"],
  },
  {
    name: "conformance",
    owns: (file) => file.startsWith("tests/conformance/"),
    permissions: ["--allow-read", "--allow-env"],
  },
  {
    name: "bad input, garbage and attacks",
    owns: (file) => /^tests\/end_to_end\/(?:bad|garbage|[a-z]+_attacks)_/.test(file),
    permissions: ["-A"],
    besides: true,
  },
  {
    name: "whole programs, a to m",
    owns: (file) => /^tests\/end_to_end\/[a-m]/.test(file),
    permissions: ["-A"],
    besides: true,
  },
  {
    name: "whole programs, n to z",
    owns: (file) => file.startsWith("tests/end_to_end/"),
    permissions: ["-A"],
    besides: true,
  },
  { name: "everything else", owns: () => true, permissions: ["-A"] },
];

/** Ends a group that hangs, so that what passed is still counted. */
const GROUP_WITHIN_MS = 18 * 60_000;

const root = new URL("../", import.meta.url);
const all = await testFiles("tests");
const paths: string[] = [];
const filters: string[] = [];
for (const argument of Deno.args) {
  const path = argument.replace(/^\.\//, "").replace(/\/$/, "");
  const named = all.some((file) => file === path || file.startsWith(`${path}/`));
  if (named) paths.push(path);
  else filters.push(argument);
}
const wanted = paths.length === 0
  ? all
  : all.filter((file) => paths.some((path) => file === path || file.startsWith(`${path}/`)));

const total: TestCount = { passed: 0, failed: 0, skipped: 0, failures: [] };
const besides: Promise<void>[] = [];
for (const group of GROUPS) {
  const files = wanted.filter((file) => GROUPS.find((candidate) => candidate.owns(file)) === group);
  if (files.length === 0) continue;
  if (group.besides) besides.push(count(group, files));
  else await count(group, files);
}
await Promise.all(besides);

if (total.failures.length > 0) {
  console.log("\nFailed:");
  for (const failure of total.failures) console.log(`  ${failure}`);
}
console.log();
if (total.skipped > 0) console.log(`${total.skipped} skipped`);
if (total.passed + total.failed === 0) console.log("No test was run; the filter matches none");
console.log(`${total.passed} passed, ${total.failed} failed`);
Deno.exit(total.failed === 0 && total.passed > 0 ? 0 : 1);

async function count(group: TestGroup, files: readonly string[]): Promise<void> {
  const title = `\n--- ${group.name}: ${files.length} files`;
  if (!group.besides) console.log(title);
  const result = await runGroup(group, files);
  if (group.besides) console.log(`${title}\n${result.output}`);
  total.passed += result.passed;
  total.failed += result.failed;
  total.skipped += result.skipped;
  total.failures.push(...result.failures);
}

async function runGroup(group: TestGroup, files: readonly string[]): Promise<GroupResult> {
  const report = await Deno.makeTempFile({ prefix: "cairn-junit-", suffix: ".xml" });
  try {
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        "test",
        "--no-prompt",
        // `deno task check` looks at the types of all files at once.
        "--no-check",
        `--reporter=${Deno.stdout.isTerminal() ? "dot" : "pretty"}`,
        `--junit-path=${report}`,
        ...group.permissions,
        ...(filters.length > 0 ? [`--filter=${anyOf(filters)}`] : []),
        ...files,
      ],
      cwd: root,
      stdin: "null",
      ...(group.besides && { stdout: "piped", stderr: "piped" }),
      signal: AbortSignal.timeout(GROUP_WITHIN_MS),
    }).spawn();
    const printed = group.besides
      ? Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
      : [];
    const status = await child.status;
    const output = (await printed).join("");
    const count = countTests(await Deno.readTextFile(report));
    if (!status.success && count.failed === 0) {
      count.failed++;
      const how = status.signal === null
        ? `ended with status ${status.code}`
        : `was stopped by ${status.signal}, perhaps because it took too long`;
      count.failures.push(`${group.name}: the test run itself ${how}`);
    }
    return { ...count, output };
  } finally {
    await Deno.remove(report);
  }
}

function anyOf(words: readonly string[]): string {
  if (words.length === 1) return words.join("");
  return `/${words.map((word) => RegExp.escape(word)).join("|")}/`;
}

async function testFiles(folder: string): Promise<string[]> {
  const files: string[] = [];
  for await (const entry of Deno.readDir(new URL(folder, root))) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) files.push(...await testFiles(path));
    else if (entry.name.endsWith("_test.ts")) files.push(path);
  }
  return files.sort();
}
