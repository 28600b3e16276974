/** The command line: how commands are parsed, and how failures are told. */

import { getLogger } from "@logtape/logtape";
import { Command, CommanderError, Option } from "commander";
import { CairnError } from "../base/errors.ts";
import { VERSION } from "../version.ts";
import { COMMANDS, type CommandSpec } from "./command_table.ts";
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
} from "./settings.ts";
import { writeToStandardError } from "./standard_output.ts";

const logger = getLogger(["cairn", "cli"]);

const FAILED = 1;
const WRONG_USAGE = 2;

/** Runs the command that `args` say and returns the exit status. */
export async function main(args: readonly string[]): Promise<number> {
  let status = 0;
  const end = args.includes("--") ? args.indexOf("--") : args.length;
  const showAll = args.slice(0, end).includes("--help-all");
  const program = buildProgram(showAll, async (spec, settings, operands) => {
    for (const row of optionsOf(spec.name)) settings.value(row);
    startLogging(settings.value(OPTIONS.log), settings.value(OPTIONS.logFormat));
    // The one command that calls libc gives it up as soon as it has it.
    if (spec.name !== "relay") giveUp("ffi");
    status = await spec.run(settings, operands);
  });
  const asked = args.map((argument, i) =>
    i < end && argument === "--help-all" ? "--help" : argument
  );
  try {
    await program.parseAsync(asked, { from: "user" });
    return status;
  } catch (error) {
    return report(error);
  }
}

type Run = (spec: CommandSpec, settings: Settings, operands: readonly string[]) => Promise<void>;

function buildProgram(showAll: boolean, run: Run): Command {
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
      groups.set(first, addCommand(program, first, spec, showAll, run));
      continue;
    }
    const group = groups.get(first) ?? addPeerGroup(program, groups, showAll);
    addCommand(group, verb, spec, showAll, run);
  }
  return program;
}

function addPeerGroup(program: Command, groups: Map<string, Command>, showAll: boolean): Command {
  const verbs = COMMANDS.map((spec) => spec.name).filter((name) => name.startsWith("peer "));
  const group = program.command("peer").description("a peer on the command line");
  for (const row of optionsOf("peer id")) {
    if (verbs.every((verb) => row.commands.includes(verb))) {
      group.addOption(commanderOption(row, "peer id", showAll));
    }
  }
  groups.set("peer", group);
  return group;
}

function addCommand(
  parent: Command,
  word: string,
  spec: CommandSpec,
  showAll: boolean,
  run: Run,
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
  command.action(async () => {
    const [stray] = hasVerbs ? command.args : [];
    if (stray !== undefined) {
      const verbs = command.commands.map((verb) => verb.name()).join(", ");
      command.error(`error: unknown command '${stray}' (cairn ${spec.name} has: ${verbs})`);
    }
    const settings = new Settings(spec.name, givenFlags(command), processSurroundings);
    await run(spec, settings, command.args);
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
