/** The command line: how commands are parsed, and how failures are told. */

import { getLogger } from "@logtape/logtape";
import { Command, CommanderError, Option } from "commander";
import { CairnError } from "../base/errors.ts";
import { VERSION } from "../version.ts";
import { COMMANDS, type CommandSpec } from "./command_table.ts";
import { withEnvFile } from "./env_file.ts";
import { startLogging } from "./logging.ts";
import { OPTIONS, optionsOf } from "./options.ts";
import { giveUp } from "./process_life.ts";
import {
  type CommandName,
  defaultOf,
  flagOf,
  mayBeFile,
  type OptionRow,
  processSurroundings,
  Settings,
  type Surroundings,
} from "./settings.ts";
import { writeToStandardError } from "./standard_output.ts";

const logger = getLogger(["cairn", "cli"]);

const FAILED = 1;
const WRONG_USAGE = 2;

/** Roles that call libc, peers that stay, and what reads /proc, which Deno lets nobody read without every permission. */
const KEEP_FFI = new Set<CommandName>([
  ...["relay", "up", "server", "doctor"] as const,
  ...["peer listen", "peer chat", "peer sync"] as const,
]);

/** A command line that was understood. */
export interface CommandLine {
  readonly spec: CommandSpec;
  readonly settings: Settings;
  readonly operands: readonly string[];
}

/** Runs the command that `args` say and returns the exit status. */
export async function main(args: readonly string[]): Promise<number> {
  try {
    const { spec, settings, operands } = await parseCommandLine(args);
    startLogging(settings.value(OPTIONS.log), settings.value(OPTIONS.logFormat));
    // Those roles give it up as soon as they have loaded libc.
    if (!KEEP_FFI.has(spec.name)) giveUp("ffi");
    return await spec.run(settings, operands);
  } catch (error) {
    return report(error);
  }
}

/**
 * What `args` say, with every option read.
 * @throws {CommanderError} after it has told the user: of wrong usage, or what `--help` is to show.
 * @throws {CairnError} `invalid-option`.
 */
export async function parseCommandLine(
  args: readonly string[],
  surroundings: Surroundings = processSurroundings,
): Promise<CommandLine> {
  const end = args.includes("--") ? args.indexOf("--") : args.length;
  const showAll = args.slice(0, end).includes("--help-all");
  const asked = args.map((argument, i) =>
    i < end && argument === "--help-all" ? "--help" : argument
  );
  let found: CommandLine | undefined;
  const program = buildProgram(showAll, (spec, flags, operands) => {
    const settings = new Settings(spec.name, flags, surroundings);
    const file = settings.value(OPTIONS.envFile);
    const all = file === undefined
      ? settings
      : new Settings(spec.name, flags, withEnvFile(file, surroundings));
    for (const row of optionsOf(spec.name)) all.value(row);
    found = { spec, settings: all, operands };
  });
  await program.parseAsync(asked, { from: "user" });
  if (found === undefined) throw new TypeError("Commander ran no command and said nothing");
  return found;
}

type Found = (
  spec: CommandSpec,
  flags: ReadonlyMap<string, string>,
  operands: readonly string[],
) => void;

function buildProgram(showAll: boolean, found: Found): Command {
  const program = new Command("cairn")
    .description("Messages between your own devices, kept while one of them is away.")
    .version(`cairn ${VERSION}`, "--version", "print the version")
    .helpOption("-h, --help", "show help")
    .exitOverride()
    .addHelpText("after", "\nAll options of a command: cairn <command> --help-all");
  const groups = new Map<string, Command>();
  for (const spec of COMMANDS) {
    const [first = "", verb] = spec.name.split(" ");
    if (verb === undefined) {
      groups.set(first, addCommand(program, first, spec, showAll, found));
      continue;
    }
    const group = groups.get(first) ?? addGroup(program, first, showAll);
    groups.set(first, group);
    addCommand(group, verb, spec, showAll, found);
  }
  return program;
}

/** Words that are no command by themselves. */
const GROUPS: Readonly<Record<string, string>> = {
  peer: "a peer on the command line",
  config: "the settings of this machine",
};

/** A group has in front of its verbs the options that all of them have. */
function addGroup(program: Command, word: string, showAll: boolean): Command {
  const verbs = COMMANDS.map((spec) => spec.name).filter((name) => name.startsWith(`${word} `));
  const group = program.command(word).description(GROUPS[word] ?? "");
  const [first] = verbs;
  for (const row of first ? optionsOf(first) : []) {
    if (first && verbs.every((verb) => row.commands.includes(verb))) {
      group.addOption(commanderOption(row, first, showAll));
    }
  }
  return group;
}

function addCommand(
  parent: Command,
  word: string,
  spec: CommandSpec,
  showAll: boolean,
  found: Found,
): Command {
  const command = parent.command(word).description(spec.summary).showHelpAfterError(
    `(cairn ${spec.name} --help shows the options)`,
  );
  for (const operand of spec.operands ?? []) command.argument(operand);
  const rows = optionsOf(spec.name);
  for (const row of rows) command.addOption(commanderOption(row, spec.name, showAll));
  if (!showAll && rows.some((row) => !row.essential)) {
    command.addHelpText("after", `\nFurther options: cairn ${spec.name} --help-all`);
  }
  const hasVerbs = COMMANDS.some(({ name }) => name.startsWith(`${spec.name} `));
  // Commander would call an unknown verb an argument too many.
  if (hasVerbs) command.allowExcessArguments();
  command.action(() => {
    const [stray] = hasVerbs ? command.args : [];
    if (stray !== undefined) {
      const verbs = command.commands.map((verb) => verb.name()).join(", ");
      command.error(`error: unknown command '${stray}' (cairn ${spec.name} has: ${verbs})`);
    }
    found(spec, givenFlags(command), command.args);
  });
  return command;
}

function commanderOption(row: OptionRow<unknown>, command: CommandName, showAll: boolean): Option {
  const flag = flagOf(row, command);
  const flags = row.kind.placeholder === undefined ? flag : `${flag} ${row.kind.placeholder}`;
  return new Option(flags, describe(row, command)).hideHelp(!row.essential && !showAll);
}

/** The sentence of `row`, its variable and what holds when nobody sets it. */
function describe(row: OptionRow<unknown>, command: CommandName): string {
  const notes: string[] = [];
  if (row.env !== undefined) notes.push(row.env + (mayBeFile(row) ? ` or ${row.env}_FILE` : ""));
  const fallback = defaultOf(row, command);
  if (row.kind.placeholder !== undefined && fallback) notes.push(`default ${fallback}`);
  else if (row.otherwise !== undefined) notes.push(`default: ${row.otherwise}`);
  return notes.length === 0 ? row.sentence : `${row.sentence} [${notes.join(", ")}]`;
}

/** The options on the command line, those in front of the verb included. */
function givenFlags(command: Command): Map<string, string> {
  const given = new Map<string, string>();
  for (let current: Command | null = command; current !== null; current = current.parent) {
    for (const option of current.options) {
      const value: unknown = current.getOptionValue(option.attributeName());
      if (option.long && value !== undefined && !given.has(option.long)) {
        given.set(option.long, String(value));
      }
    }
  }
  return given;
}

function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : WRONG_USAGE;
  if (error instanceof CairnError) {
    logger.debug("The cause of the failure", { error });
    writeToStandardError(`error: ${error.message}\n`);
    return error.code === "invalid-option" ? WRONG_USAGE : FAILED;
  }
  const reason = error instanceof Error ? error.message : String(error);
  logger.debug("The unexpected failure", { error });
  writeToStandardError(
    `error: unexpected failure: ${
      reason.split("\n")[0]
    } (run it again with RUST_LOG=debug for more)\n`,
  );
  return FAILED;
}
