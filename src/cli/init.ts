/** `cairn init`: asks three questions at most and writes a file of settings. */

import { toBase64Url } from "../base/bytes.ts";
import { CairnError } from "../base/errors.ts";
import { formatIp, parseIp } from "../base/address.ts";
import { systemHost } from "../base/host.ts";
import { machineAddresses } from "../roles/relay/relay_addresses.ts";
import { writeSecret } from "../roles/secret_file.ts";
import { ask } from "./ask.ts";
import { findServerDataDir } from "./data_dir.ts";
import { envFileText } from "./env_file_text.ts";
import { host, path, type Role, role, type ValueKind } from "./option_values.ts";
import { OPTIONS } from "./options.ts";
import { outwardHost } from "./reachable.ts";
import type { OptionRow, Settings } from "./settings.ts";
import { printLine, writeToStandardError } from "./standard_output.ts";

const DEFAULT_FILE = "cairn.env";
const SECRET_BYTES = 32;

/** What the operator wants. */
export interface Answers {
  readonly role: Role;
  /** `undefined` where this machine's own addresses are what devices use. */
  readonly address: string | undefined;
  /** `undefined` for roles that keep nothing. */
  readonly dataDir: string | undefined;
}

export async function runInit(settings: Settings, file = DEFAULT_FILE): Promise<number> {
  const answers = askFor(settings);
  const text = envFileText(answers.role, file, valuesFor(answers, randomSecret));
  try {
    await writeSecret(file, text);
  } catch (cause) {
    throw new CairnError(
      "refused",
      cause instanceof Deno.errors.AlreadyExists
        ? `${file} is already there and is left as it is: remove it, or name another file`
        : `Cannot write ${file}: check the path and its permissions`,
      { cause },
    );
  }
  await printLine(`Wrote ${file}, readable by you only. Next:`);
  await printLine(`  cairn config check ${answers.role} --env-file ${file}`);
  await printLine(`  cairn ${answers.role} --env-file ${file}`);
  return 0;
}

function askFor(settings: Settings): Answers {
  const chosen = answer(settings, OPTIONS.initRole, {
    question: "What is to run here: up (all three roles), server, signal or relay?",
    fallback: "up",
    kind: role,
  });
  const own = outwardHost("0.0.0.0");
  const address = answer(settings, OPTIONS.initAddress, {
    question: "Under which name or IP address do your devices reach this machine?",
    fallback: own,
    kind: host,
  });
  const keeps = chosen === "up" || chosen === "server";
  const dataDir = keeps
    ? answer(settings, OPTIONS.initDataDir, {
      question: "In which folder is the server to keep its data?",
      fallback: findServerDataDir(settings.as("server")),
      kind: path,
    })
    : undefined;
  return { role: chosen, address: address === own ? undefined : address, dataDir };
}

interface Question<T> {
  readonly question: string;
  readonly fallback: string;
  readonly kind: ValueKind<T>;
}

/** What the flag says, else what the user does. */
function answer<T>(settings: Settings, row: OptionRow<T>, asked: Question<T>): T {
  const given = settings.value(row);
  if (given !== undefined) return given;
  const { question, fallback, kind } = asked;
  const isAsking = settings.value(OPTIONS.initYes) !== true;
  if (isAsking && !Deno.stdin.isTerminal()) {
    throw new CairnError(
      "invalid-option",
      "There is no terminal to ask at: say --yes, with --role, --address and --data-dir where " +
        "their defaults are not right",
    );
  }
  for (;;) {
    const text = isAsking ? ask(question, fallback) : fallback;
    if (text === undefined) throw new CairnError("closed", "Given up; nothing was written");
    const value = kind.parse(text);
    if (value !== undefined) return value;
    writeToStandardError(`"${text}" is not right; expected ${kind.expected}\n`);
  }
}

/** The variables that differ from their defaults. */
export function valuesFor(
  { role, address, dataDir }: Answers,
  secret: () => string,
): Map<string, string> {
  const values = new Map<string, string>();
  const ip = address === undefined ? undefined : parseIp(address);
  const inUrl = ip?.length === 16 ? `[${formatIp(ip)}]` : address;
  if (dataDir !== undefined) {
    values.set("CAIRN_DATA_DIR", dataDir);
    values.set("CAIRN_MGMT_TOKEN", secret());
    if (inUrl !== undefined) values.set("CAIRN_SERVER_PUBLIC_URL", `ws://${inUrl}:9091`);
  }
  if (role === "signal") values.set("CAIRN_SIGNAL_AUTH_TOKEN", secret());
  if (role === "up" || role === "relay") {
    values.set("CAIRN_RELAY_REST_SECRET", secret());
    if (inUrl !== undefined) values.set("CAIRN_RELAY_URI", `turn:${inUrl}:3478`);
    if (ip && isForeign(formatIp(ip))) values.set("CAIRN_RELAY_EXTERNAL_IP", formatIp(ip));
  }
  return values;
}

/** Whether an address is that of a translator in front of this machine. */
function isForeign(address: string): boolean {
  const { outward, loopback } = machineAddresses();
  return ![...outward, ...loopback].some((own) => formatIp(own) === address);
}

function randomSecret(): string {
  return toBase64Url(systemHost.random(SECRET_BYTES));
}
