/** The rows of the table of options about the log. */

import { ALL, OPERATOR, PEER, RELAY_VERBS, SERVER_QUESTIONS } from "./option_commands.ts";
import * as value from "./option_values.ts";
import type { OptionRow } from "./settings.ts";

/** A peer's commands print results; what they log is for when something is wrong. */
const QUIET = { default: "warn" };

export const LOG_OPTIONS = {
  log: {
    flag: "--log",
    env: "RUST_LOG",
    default: "info",
    sentence: "What to log on standard error, as in info, cairn_signal=debug or off",
    kind: value.logFilter,
    commands: ALL,
    per: Object.fromEntries(
      [...PEER, ...RELAY_VERBS, ...SERVER_QUESTIONS, "server restore", ...OPERATOR].map((
        name,
      ) => [name, QUIET]),
    ),
  },
  logFormat: {
    flag: "--log-format",
    env: "CAIRN_LOG_FORMAT",
    otherwise: "pretty on a terminal, else json",
    sentence: "How to write the log: pretty or json",
    kind: value.logFormat,
    commands: ALL,
  },
} as const satisfies Record<string, OptionRow<unknown>>;
