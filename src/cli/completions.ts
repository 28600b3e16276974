/** `cairn completions SHELL`: scripts that complete command lines, made from the tables. */

import { CairnError } from "../base/errors.ts";
import { COMMANDS, type CommandSpec } from "./command_table.ts";
import { ROLES } from "./option_values.ts";
import { optionsOf } from "./options.ts";
import { flagOf } from "./settings.ts";
import { printLine } from "./standard_output.ts";

/** Prints the script for `shell`. @throws {CairnError} `invalid-option` for one that is not known. */
export async function printCompletions(shell: string): Promise<number> {
  const script = SCRIPTS.get(shell);
  if (script === undefined) {
    throw new CairnError(
      "invalid-option",
      `SHELL: "${shell}" is not right; expected ${[...SCRIPTS.keys()].join(", ")}`,
    );
  }
  await printLine(script());
  return 0;
}

const SCRIPTS: ReadonlyMap<string, () => string> = new Map([
  ["bash", bash],
  ["zsh", zsh],
  ["fish", fish],
]);

/** What an option's value is completed with. */
type Values = "none" | "file" | "folder" | readonly string[];

interface Flag {
  readonly flag: string;
  readonly sentence: string;
  /** `undefined` for a switch. */
  readonly values: Values | undefined;
}

function flagsOf({ name }: CommandSpec): Flag[] {
  const flags = optionsOf(name).map((row): Flag => ({
    flag: flagOf(row, name),
    sentence: row.sentence,
    values: row.kind.placeholder === undefined
      ? undefined
      : valuesOf(row.kind.placeholder, row.flag),
  }));
  return [
    ...flags,
    { flag: "--help", sentence: "Show help", values: undefined },
    { flag: "--help-all", sentence: "Show every option", values: undefined },
  ];
}

function valuesOf(placeholder: string, flag: string): Values {
  const choices = /^<([a-z]+(?:\|[a-z]+)+)>$/.exec(placeholder)?.[1]?.split("|");
  if (choices) return choices;
  if (placeholder === "<role>") return ROLES;
  if (!placeholder.includes("path")) return "none";
  return flag.endsWith("-dir") ? "folder" : "file";
}

/** First words, each with what may follow it as a second one. */
function words(): Map<string, { summary: string; verbs: CommandSpec[] }> {
  const found = new Map<string, { summary: string; verbs: CommandSpec[] }>();
  for (const spec of COMMANDS) {
    const [first = "", verb] = spec.name.split(" ");
    const word = found.get(first) ?? { summary: verb === undefined ? spec.summary : "", verbs: [] };
    if (verb !== undefined) word.verbs.push(spec);
    found.set(first, word);
  }
  return found;
}

function verbOf({ name }: CommandSpec): string {
  return name.split(" ")[1] ?? "";
}

function bash(): string {
  const verbs = [...words()].filter(([, { verbs }]) => verbs.length > 0).map(([word, { verbs }]) =>
    `    ${word}) verbs="${verbs.map(verbOf).join(" ")}" ;;`
  );
  const flags = COMMANDS.map((spec) =>
    `    "${spec.name}") flags="${flagsOf(spec).map(({ flag }) => flag).join(" ")}" ;;`
  );
  const values = COMMANDS.flatMap((spec) =>
    flagsOf(spec).flatMap(({ flag, values }) =>
      values === undefined ? [] : [`    "${spec.name} ${flag}") ${bashValue(values)}; return ;;`]
    )
  );
  return `# bash completion for cairn: source <(cairn completions bash)
_cairn() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} verbs= flags= command
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W "${[...words().keys()].join(" ")} --help --version" -- "$word"))
    return
  fi
  command=\${COMP_WORDS[1]}
  case $command in
${verbs.join("\n")}
  esac
  if [[ -n $verbs ]]; then
    if ((COMP_CWORD == 2)) && [[ $word != -* ]]; then
      COMPREPLY=($(compgen -W "$verbs" -- "$word"))
      return
    fi
    [[ " $verbs " == *" \${COMP_WORDS[2]} "* ]] && command+=" \${COMP_WORDS[2]}"
  fi
  case "$command $before" in
${values.join("\n")}
  esac
  case $command in
${flags.join("\n")}
  esac
  if [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W "$flags" -- "$word"))
  elif [[ $command == completions ]]; then
    COMPREPLY=($(compgen -W "${[...SCRIPTS.keys()].join(" ")}" -- "$word"))
  else
    COMPREPLY=($(compgen -f -- "$word"))
  fi
}
complete -o filenames -F _cairn cairn`;
}

function bashValue(values: Values): string {
  if (values === "none") return "true";
  if (values === "file") return `COMPREPLY=($(compgen -f -- "$word"))`;
  if (values === "folder") return `COMPREPLY=($(compgen -d -- "$word"))`;
  return `COMPREPLY=($(compgen -W "${values.join(" ")}" -- "$word"))`;
}

function zsh(): string {
  const described = (pairs: readonly (readonly [word: string, summary: string])[]) =>
    pairs.map(([word, summary]) => `'${word}:${inQuotes(summary)}'`).join(" ");
  const groups = [...words()].filter(([, { verbs }]) => verbs.length > 0);
  const verbs = groups.map(([word, { verbs }]) => {
    const pairs = verbs.map((spec) => [verbOf(spec), spec.summary] as const);
    return `    ${word}) verbs=(${described(pairs)}) ;;`;
  });
  const commands = COMMANDS.map((spec) => {
    const flags = flagsOf(spec).map(({ flag, sentence, values }) => {
      const note = inQuotes(sentence.replace(/[[\]:]/g, ""));
      return `'${flag}[${note}]${values === undefined ? "" : `:value:${zshValue(values)}`}'`;
    });
    return `    "${spec.name}") _arguments ${flags.join(" ")} '*:operand:_files' ;;`;
  });
  return `#compdef cairn
# zsh completion for cairn: source <(cairn completions zsh), after compinit
_cairn() {
  local -a verbs
  local command=\${words[2]}
  if ((CURRENT == 2)); then
    verbs=(${described([...words()].map(([word, { summary }]) => [word, summary]))})
    _describe command verbs
    return
  fi
  case $command in
${verbs.join("\n")}
  esac
  if ((\${#verbs})); then
    if ((CURRENT == 3)) && [[ \${words[3]} != -* ]]; then
      _describe verb verbs
      return
    fi
    if ((\${verbs[(I)\${words[3]}:*]})); then
      command+=" \${words[3]}"
      shift words
      ((CURRENT--))
    fi
  fi
  shift words
  ((CURRENT--))
  case $command in
${commands.join("\n")}
  esac
}
compdef _cairn cairn`;
}

function zshValue(values: Values): string {
  if (values === "none") return " ";
  if (values === "file") return "_files";
  return values === "folder" ? "_files -/" : `(${values.join(" ")})`;
}

function fish(): string {
  const lines = ["# fish completion for cairn: cairn completions fish | source"];
  lines.push("complete -c cairn -f");
  for (const [word, { summary, verbs }] of words()) {
    const about = summary === "" ? "" : ` -d '${inQuotes(summary)}'`;
    lines.push(`complete -c cairn -n __fish_use_subcommand -a ${word}${about}`);
    const names = verbs.map(verbOf).join(" ");
    for (const spec of verbs) {
      lines.push(
        `complete -c cairn -n '__fish_seen_subcommand_from ${word}; and not ` +
          `__fish_seen_subcommand_from ${names}' -a ${verbOf(spec)} -d '${inQuotes(spec.summary)}'`,
      );
    }
  }
  for (const spec of COMMANDS) {
    const [first = "", verb] = spec.name.split(" ");
    const siblings = words().get(first)?.verbs.map(verbOf) ?? [];
    const where = verb !== undefined
      ? `; and __fish_seen_subcommand_from ${verb}`
      : siblings.length > 0
      ? `; and not __fish_seen_subcommand_from ${siblings.join(" ")}`
      : "";
    for (const { flag, sentence, values } of flagsOf(spec)) {
      lines.push(
        `complete -c cairn -n '__fish_seen_subcommand_from ${first}${where}' -l ${flag.slice(2)} ` +
          `-d '${inQuotes(sentence)}'${values === undefined ? "" : fishValue(values)}`,
      );
    }
  }
  return lines.join("\n");
}

function fishValue(values: Values): string {
  if (values === "none") return " -x";
  if (values === "file") return " -r -F";
  return values === "folder"
    ? " -x -a '(__fish_complete_directories)'"
    : ` -x -a '${values.join(" ")}'`;
}

/** As it stands between single quotes in a shell that knows no escape there. */
function inQuotes(text: string): string {
  return text.replaceAll("'", "’");
}
