/** The command line: which commands there are, how they are parsed, and how failures are told. */

import { getLogger } from "@logtape/logtape";
import { Command, CommanderError, Option } from "commander";
import { CairnError } from "../base/errors.ts";
import { VERSION } from "../version.ts";
import { startLogging } from "./logging.ts";
import { OPTIONS, optionsOf } from "./options.ts";
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

interface CommandSpec {
  readonly name: CommandName;
  readonly summary: string;
  /** As in `<peer> [text]`. */
  readonly operands?: readonly string[];
  /** Loads only what the command needs. */
  readonly run: (settings: Settings, operands: readonly string[]) => Promise<number>;
}

/** A command comes before the verbs that go with it. */
const COMMANDS: readonly CommandSpec[] = [
  {
    name: "signal",
    summary: "run the signaling server, where peers find one another",
    run: async (settings) => (await import("./signal.ts")).runSignal(settings),
  },
  {
    name: "relay",
    summary: "run the TURN relay, for peers that cannot reach one another",
    run: async (settings) => (await import("./relay.ts")).runRelay(settings),
  },
  {
    name: "relay check",
    summary: "try a relay from outside, as in turn:relay.example.com:3478, and say what is wrong",
    operands: ["<uri>"],
    run: async (settings, [uri = ""]) =>
      (await import("./relay_check.ts")).relayCheck(settings, uri),
  },
  {
    name: "relay check-peer",
    summary: "say whether a relay with these options lets its clients reach an address",
    operands: ["<address>"],
    run: async (settings, [address = ""]) =>
      (await import("./relay_check_peer.ts")).relayCheckPeer(settings, address),
  },
  {
    name: "server",
    summary: "run the always-on server, which keeps messages for peers that are away",
    run: async (settings) => (await import("./server.ts")).runServer(settings),
  },
  {
    name: "server id",
    summary: "print the Peer ID of the running server",
    run: async (settings) => (await import("./server_verbs.ts")).serverId(settings),
  },
  {
    name: "server pair",
    summary: "let a peer pair with the running server (not built yet)",
    run: async (settings) => (await import("./server_verbs.ts")).serverPair(settings),
  },
  {
    name: "peer id",
    summary: "print this peer's Peer ID",
    run: async (settings) => (await import("./peer.ts")).peerIdentity(settings),
  },
  {
    name: "peer pair",
    summary: "pair with a server or another peer",
    run: async (settings) => (await import("./peer.ts")).peerPair(settings),
  },
  {
    name: "peer unpair",
    summary: "forget a peer",
    operands: ["<peer>"],
    run: async (settings, [peer = ""]) => (await import("./peer.ts")).peerUnpair(settings, peer),
  },
  {
    name: "peer list",
    summary: "list the peers that this one is paired with",
    run: async (settings) => (await import("./peer.ts")).peerList(settings),
  },
  {
    name: "peer send",
    summary: "send a message; - as the text is standard input",
    operands: ["<peer>", "[text]"],
    run: async (settings, [peer = "", text]) =>
      (await import("./peer.ts")).peerSend(settings, peer, text),
  },
  {
    name: "peer listen",
    summary: "print messages as they come",
    run: async (settings) => (await import("./peer_listen.ts")).peerListen(settings),
  },
  {
    name: "peer doctor",
    summary: "try everything that this peer needs, and say what is wrong",
    run: async (settings) => (await import("./peer_doctor.ts")).peerDoctor(settings),
  },
  {
    name: "up",
    summary: "run signal and server in one process, for a small home",
    run: async (settings) => (await import("./up.ts")).runUp(settings),
  },
];

/** Runs the command that `args` say and returns the exit status. */
export async function main(args: readonly string[]): Promise<number> {
  let status = 0;
  const end = args.includes("--") ? args.indexOf("--") : args.length;
  const showAll = args.slice(0, end).includes("--help-all");
  const program = buildProgram(showAll, async (spec, settings, operands) => {
    for (const row of optionsOf(spec.name)) settings.value(row);
    startLogging(settings.value(OPTIONS.log), settings.value(OPTIONS.logFormat));
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
