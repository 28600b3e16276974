/** The rows of the table of options that bound the mailbox. */

import { SERVER } from "./option_commands.ts";
import * as value from "./option_values.ts";
import type { OptionRow } from "./settings.ts";

export const MAILBOX_OPTIONS = {
  forwardEnabled: {
    flag: "--forward-enabled",
    env: "CAIRN_FORWARD_ENABLED",
    default: "true",
    sentence: "Keep messages for peers that are not there",
    kind: value.boolean,
    commands: SERVER,
  },
  forwardMaxPerPeer: {
    flag: "--forward-max-per-peer",
    env: "CAIRN_FORWARD_MAX_PER_PEER",
    default: "10000",
    sentence: "Most messages that wait for one peer",
    kind: value.count,
    commands: SERVER,
  },
  forwardMaxAge: {
    flag: "--forward-max-age",
    env: "CAIRN_FORWARD_MAX_AGE",
    default: "7d",
    sentence: "How long a message waits",
    kind: value.duration,
    commands: SERVER,
  },
  forwardMaxTotal: {
    flag: "--forward-max-total",
    env: "CAIRN_FORWARD_MAX_TOTAL",
    default: "1GB",
    sentence: "Most bytes that wait for all peers together",
    kind: value.size,
    commands: SERVER,
  },
} as const satisfies Record<string, OptionRow<unknown>>;
