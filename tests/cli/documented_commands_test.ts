/** Every command line in the README, the documentation and what is shipped is one that works. */

import { fail, ok } from "node:assert/strict";
import { COMMANDS } from "../../src/cli/command_table.ts";
import { parseCommandLine } from "../../src/cli/commands.ts";
import { OPTIONS } from "../../src/cli/options.ts";
import { mayBeFile, type OptionRow } from "../../src/cli/settings.ts";
import { parseDockerfile } from "./dockerfile.ts";
import {
  commentedCommands,
  inlineCommands,
  shellLines,
  simpleCommands,
  type Written,
} from "./written_commands.ts";

const ROOT = new URL("../../", import.meta.url);
const PEER_ID = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG";
/** What stands in a page for something of the reader's. */
const PLACEHOLDERS: Readonly<Record<string, string>> = {
  ID: PEER_ID,
  PEER: PEER_ID,
  PEER_ID,
  SERVER_ID: PEER_ID,
  URI: "turn:relay.example.com:3478",
  ADDRESS: "192.168.7.20",
  N: "3",
  KEY: "0123456789abcdef",
  ROLE: "up",
  SHELL: "bash",
  URL: "http://localhost:9090",
};

const rows: readonly OptionRow<unknown>[] = Object.values(OPTIONS);
const variables = new Set(
  rows.flatMap((row) => mayBeFile(row) ? [row.env, `${row.env}_FILE`] : [row.env]),
);
/** Set for Compose, which makes others of them. */
const COMPOSE_VARIABLES = ["CAIRN_HOST", "CAIRN_EXTERNAL_IP"];
const restPage = await read("docs/rest.md");
const stages = parseDockerfile(await read("Dockerfile"));

const pages = ["README.md", ...await filesIn("docs", /^(?!options|rest|changelog).*\.md$/)];
for (const file of pages) {
  Deno.test(`The command lines of ${file} work`, async () => {
    const page = await read(file);
    await checkAll([...shellLines(page, file), ...inlineCommands(page, file)]);
  });
}

Deno.test("The command lines in comments of units, images and compose files work", async () => {
  const files = [
    "Dockerfile",
    "compose.yaml",
    "demo/server-node/Dockerfile",
    "demo/server-node/docker-compose.yml",
    ...await filesIn("packaging/systemd", /./),
  ];
  let found = 0;
  for (const file of files) {
    const written = commentedCommands(await read(file), file);
    found += written.length;
    await checkAll(written);
  }
  ok(found > 10, `${found} were found`);
});

Deno.test("The checks of command lines see what they are to see", async () => {
  const wrong = [
    "cairn sever",
    "cairn peer pair --pim 98AF-XZ2P",
    "cairn server --mgmt-port ninety",
    "CAIRN_SINGAL_SERVERS=ws://a cairn signal",
    "export CAIRN_PKS=$(openssl rand -hex 16)",
    "curl http://localhost:9090/pears",
    "docker build --target cairn-sever .",
    "deno task dmeo",
    "systemctl start cairn-upp.service",
    "rm -rf /",
  ];
  for (const line of wrong) {
    let message = "nothing";
    await checkLine({ where: "here", line }).catch((error: Error) => message = error.message);
    ok(message.startsWith("here: "), `${line}: ${message}`);
  }
});

async function checkAll(written: readonly Written[]): Promise<void> {
  for (const each of written) await checkLine(each);
}

async function checkLine({ where, line }: Written): Promise<void> {
  for (const words of simpleCommands(line)) {
    try {
      await checkCommand(words);
    } catch (error) {
      fail(`${where}: ${line}: ${error instanceof Error ? error.message : error}`);
    }
  }
}

async function checkCommand(words: readonly string[]): Promise<void> {
  const env = new Map<string, string>();
  let rest = [...words];
  if (rest[0] === "export") rest = rest.slice(1);
  while (/^[A-Z_]+=/.test(rest[0] ?? "")) {
    const [name = "", value = ""] = (rest.shift() ?? "").split(/=(.*)/s);
    if (name.startsWith("CAIRN_") && !variables.has(name)) {
      ok(COMPOSE_VARIABLES.includes(name), `${name} is no variable`);
    }
    env.set(name, given(value));
  }
  if (rest[0] === "sudo") rest = rest.slice(1);
  const [program, ...args] = rest;
  if (program === undefined) return;
  const check = CHECKS[program];
  ok(check, `nothing checks what ${program} does`);
  await check(args, env);
}

type Check = (args: string[], env: ReadonlyMap<string, string>) => void | Promise<void>;

const CHECKS: Readonly<Record<string, Check>> = {
  cairn: checkCairn,
  "cairn-signal": (args, env) => checkCairn(["signal", ...args], env),
  "cairn-relay": (args, env) => checkCairn(["relay", ...args], env),
  "cairn-server": (args, env) => checkCairn(["server", ...args], env),
  "./cairn": checkCairn,
  curl: checkCurl,
  docker: checkDocker,
  deno: async ([verb, ...args], env) => {
    if (verb === "task") {
      const { tasks } = JSON.parse(await read("deno.json"));
      return ok(args[0] !== undefined && args[0] in tasks, `there is no task ${args[0]}`);
    }
    oneOf(verb, "run", "bench", "test");
    const script = args.findIndex((arg) => !arg.startsWith("-"));
    await checkPaths(args.slice(script, script + 1));
    if (args[script] === "main.ts") await checkCairn(args.slice(script + 1), env);
  },
  npx: async ([yes, deno = "", ...args], env) => {
    ok(yes === "-y" && /^deno@2\.9\.6$/.test(deno), deno);
    await CHECKS.deno?.(args, env);
  },
  systemctl: async (args) => {
    const units = await filesIn("packaging/systemd", /./);
    for (const unit of args.filter((arg) => arg.startsWith("cairn"))) {
      ok(units.includes(`packaging/systemd/${unit}`), `there is no ${unit}`);
    }
  },
  cp: (args) => checkPaths(args.slice(0, -1)),
  install: (args) => checkPaths(args.filter((arg) => /^(\.\/)?packaging\//.test(arg))),
  source: async ([process = ""], env) => {
    await checkLine({ where: "source", line: process.replace(/^<\((.*)\)$/, "$1") });
    ok(env.size === 0);
  },
  cd: () => {},
  taskset: (args) => checkCommand(args.slice(2)),
  timeout: (args) => checkCommand(args.slice(1)),
  "apt-get": ([verb]) => oneOf(verb, "install"),
  git: ([verb]) => oneOf(verb, "clone"),
  openssl: ([verb]) => oneOf(verb, "rand"),
  ulimit: ([flag]) => oneOf(flag, "-n"),
};

/** Names of commands and groups may stand alone; anything else is parsed as it would be run. */
async function checkCairn(args: string[], env: ReadonlyMap<string, string>): Promise<void> {
  const words = args.flatMap((arg) => arg.replaceAll(/^\[|\]$/g, "").split("|", 1))
    .filter((word) => word !== "--help" && word !== "--help-all" && word !== "…");
  const name = words.join(" ");
  if (name === "" || name === "COMMAND" || name === "--version") return;
  if (COMMANDS.some((spec) => spec.name === name || spec.name.startsWith(`${name} `))) return;
  await parseCommandLine(words.map(given), {
    env: (variable) => env.get(variable),
    names: () => [...env.keys()],
    readTextFile: () => "",
  });
}

function checkCurl(args: string[]): void {
  const method = args[args.indexOf("-X") + 1 || args.length] ?? "GET";
  const url = URL.parse(args.find((arg) => arg.startsWith("http")) ?? "");
  ok(url, "there is a URL");
  if (url.port === "8080") return ok(url.pathname === "/credentials", url.pathname);
  const path = url.pathname.replace(/\/(\$|Qm)[^/]*/, "/{id}");
  ok(restPage.includes(`| \`${method} ${path}\``), `${method} ${path} is no route`);
}

async function checkDocker(args: string[]): Promise<void> {
  const [verb, ...rest] = args;
  if (verb === "build") {
    const target = rest[rest.indexOf("--target") + 1 || rest.length];
    ok(target === undefined || stages.has(target), `there is no target ${target}`);
    const file = rest[rest.indexOf("-f") + 1 || rest.length];
    return await checkPaths(file === undefined ? [] : [file]);
  }
  const command = rest.findIndex((arg) => /^(ghcr\.io\/moukrea\/)?cairn(-\w+)?(:\w+)?$/.test(arg));
  for (const arg of rest.slice(0, Math.max(command, 0))) {
    const [, name] = /^(CAIRN_\w+)=/.exec(arg) ?? [];
    ok(name === undefined || variables.has(name), `${name} is no variable`);
  }
  if (verb === "compose") {
    ok(
      ["up", "exec", "logs", "down", "build", "pull"].some((word) => rest.includes(word)),
      rest.join(),
    );
  } else oneOf(verb, "run", "exec");
  if (command < 0) return;
  const [image = "cairn", ...inside] = rest.slice(command);
  const program = image.replace(/^.*\//, "").replace(/:.*$/, "");
  await checkCommand([program, ...inside]);
}

async function checkPaths(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    const folder = path.replace(/[^/]*[*{].*$/, "");
    if (folder !== "") await Deno.stat(new URL(folder, ROOT));
  }
}

function oneOf(word: string | undefined, ...known: readonly string[]): void {
  ok(word !== undefined && known.includes(word), `nothing checks ${word}`);
}

/** Something of the right kind in place of what the reader is to put in. */
function given(word: string): string {
  if (word.startsWith("$")) return "0123456789abcdef";
  return PLACEHOLDERS[word] ?? word.replaceAll("…", "x");
}

async function read(path: string): Promise<string> {
  return await Deno.readTextFile(new URL(path, ROOT));
}

async function filesIn(folder: string, name: RegExp): Promise<string[]> {
  const entries = await Array.fromAsync(Deno.readDir(new URL(folder, ROOT)));
  return entries.filter((entry) => entry.isFile && name.test(entry.name))
    .map((entry) => `${folder}/${entry.name}`).toSorted();
}
