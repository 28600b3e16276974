// deno-lint-ignore-file no-console -- a task speaks to the terminal that started it.
/** Writes docs/options.md from the table of options; `--check` only tells whether it is up to date. */

import { optionsOf } from "../src/cli/options.ts";
import { type CommandName, defaultOf, flagOf, type OptionRow } from "../src/cli/settings.ts";

const FILE = new URL("../docs/options.md", import.meta.url);

const INTRODUCTION = `# Options

Made from the table in \`src/cli/options.ts\` by \`deno task options-doc\`.

Every option is a flag, an environment variable and a default, in this order of precedence. An empty
variable counts as unset. Variables may stand in a file, one \`NAME=value\` to a line, that
\`--env-file\` names; those of the environment win. \`cairn init\` writes such a file,
\`cairn config check\` says what is wrong with it. A secret may come from a file:
\`CAIRN_PSK_FILE=/run/secrets/psk\` sets \`CAIRN_PSK\` to what that file holds, without a trailing
newline, and so may the relay's lists of peers. Secrets never appear in help or logs; prefer a
variable or a file to a flag, which other users of the machine can see.

- Booleans: \`true\`, \`false\`, \`1\`, \`0\`, \`yes\`, \`no\`.
- Sizes: \`1GB\` (2^30 bytes), \`512MB\`, or a number of bytes.
- Durations: \`7d\`, \`12h\`, \`30m\`, \`10s\`, \`1d12h\`, or a number of seconds.
- Addresses to listen on: \`0.0.0.0:443\`, \`[::]:443\`. Port 0 lets the system choose.
- Several values are separated by commas.

A wrong value ends the program with exit status 2 and says what was expected. \`--help\` shows the
options that matter most, \`--help-all\` all of them.
`;

/** Commands that share a heading have the same options. */
const SECTIONS: readonly (readonly [title: string, commands: readonly CommandName[]])[] = [
  ["cairn signal", ["signal"]],
  ["cairn server", ["server"]],
  ["cairn server id", ["server id"]],
  ["cairn server pair", ["server pair"]],
  ["cairn server queue, cairn server purge", ["server queue", "server purge"]],
  ["cairn up", ["up"]],
  ["cairn init", ["init"]],
  ["cairn config check, cairn completions", ["config check", "completions"]],
  ["cairn health", ["health"]],
  ["cairn doctor", ["doctor"]],
  ["cairn peer id, cairn peer unpair", ["peer id", "peer unpair"]],
  ["cairn peer pair", ["peer pair"]],
  ["cairn peer list", ["peer list"]],
  ["cairn peer send", ["peer send"]],
  ["cairn peer listen", ["peer listen"]],
  ["cairn peer sync", ["peer sync"]],
  ["cairn relay", ["relay"]],
  ["cairn relay check", ["relay check"]],
  ["cairn relay check-peer", ["relay check-peer"]],
];

/** The page, formatted as \`deno fmt\` would. */
export function optionsDocument(): string {
  const sections = SECTIONS.map(([title, [command, ...others]]) => {
    if (command === undefined) throw new TypeError(`"${title}" has no command`);
    for (const other of others) requireSameOptions(command, other);
    const rows = optionsOf(command).map((row) => tableRow(row, command));
    return `\n## ${title}\n\n${table(["Flag", "Variable", "Default", "Meaning"], rows)}`;
  });
  return INTRODUCTION + sections.join("");
}

function tableRow(row: OptionRow<unknown>, command: CommandName): readonly string[] {
  const { placeholder } = row.kind;
  const flag = flagOf(row, command);
  const fallback = defaultOf(row, command);
  return [
    code(placeholder === undefined ? flag : `${flag} ${placeholder}`),
    row.env === undefined
      ? ""
      : code(row.env) + (row.secret ? ", a secret" : row.fromFile ? ", or a file" : ""),
    fallback ? code(fallback) : row.otherwise ?? "",
    row.sentence,
  ];
}

function requireSameOptions(one: CommandName, other: CommandName): void {
  const of = (command: CommandName) => optionsOf(command).map((row) => tableRow(row, command));
  if (JSON.stringify(of(one)) !== JSON.stringify(of(other))) {
    throw new TypeError(`"${one}" and "${other}" differ in their options; give each a section`);
  }
}

/** As code in Markdown. */
export function code(text: string): string {
  return `\`${text.replaceAll("|", "\\|")}\``;
}

/** As `deno fmt` formats it. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, ...rows];
  const widths = head.map((_, i) => Math.max(3, ...lines.map((line) => line[i]?.length ?? 0)));
  const write = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(" | ")} |\n`;
  return [write(head), write(widths.map((width) => "-".repeat(width))), ...rows.map(write)].join(
    "",
  );
}

if (import.meta.main) {
  const wanted = optionsDocument();
  if (!Deno.args.includes("--check")) {
    await Deno.writeTextFile(FILE, wanted);
  } else if (await Deno.readTextFile(FILE).catch(() => "") !== wanted) {
    console.error("docs/options.md is not up to date; run: deno task options-doc");
    Deno.exit(1);
  }
}
