/** The rows of the table of options of what prepares and looks after a machine. */

import { ALL } from "./option_commands.ts";
import * as value from "./option_values.ts";
import type { OptionRow } from "./settings.ts";

export const OPERATOR_OPTIONS = {
  envFile: {
    flag: "--env-file",
    env: "CAIRN_ENV_FILE",
    otherwise: "none",
    sentence: "File of variables, one NAME=value to a line; those of the environment win",
    kind: value.path,
    commands: ALL,
  },
  initRole: {
    flag: "--role",
    otherwise: "asked for, else up",
    sentence: "What is to run on this machine: up, server, signal or relay",
    kind: value.role,
    essential: true,
    commands: ["init"],
  },
  initAddress: {
    flag: "--address",
    otherwise: "asked for, else this machine's address",
    sentence: "Name or IP address under which devices reach this machine",
    kind: value.host,
    essential: true,
    commands: ["init"],
  },
  initDataDir: {
    flag: "--data-dir",
    otherwise: "asked for, else /data or the user's data folder",
    sentence: "Folder of the server's data",
    kind: value.path,
    essential: true,
    commands: ["init"],
  },
  initYes: {
    flag: "--yes",
    sentence: "Ask nothing",
    kind: value.flagOnly,
    essential: true,
    commands: ["init"],
  },
  healthUrl: {
    flag: "--url",
    env: "CAIRN_HEALTH_URL",
    otherwise: "where the settings say that roles listen on this machine",
    sentence: "What to ask: http, https, ws or wss for signal and server, turn for a relay",
    kind: value.healthUrl,
    essential: true,
    commands: ["health"],
  },
  healthTimeout: {
    flag: "--timeout",
    env: "CAIRN_HEALTH_TIMEOUT",
    default: "2s",
    sentence: "How long an answer may take",
    kind: value.duration,
    commands: ["health"],
  },
  operatorJson: {
    flag: "--json",
    env: "CAIRN_OPERATOR_JSON",
    default: "false",
    sentence: "Print JSON",
    kind: value.flagOnly,
    essential: true,
    commands: ["doctor"],
  },
} as const satisfies Record<string, OptionRow<unknown>>;
