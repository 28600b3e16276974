/** The rows of the table of options about messages on the command line. */

import * as value from "./option_values.ts";
import type { OptionRow } from "./settings.ts";

export const MESSAGE_OPTIONS = {
  json: {
    flag: "--json",
    env: "CAIRN_PEER_JSON",
    default: "false",
    sentence: "Print JSON",
    kind: value.flagOnly,
    essential: true,
    commands: ["peer list", "peer listen", "peer chat", "peer sync"],
  },
  file: {
    flag: "--file",
    env: "CAIRN_SEND_FILE",
    sentence: "File to send in place of a text; - is standard input",
    kind: value.path,
    essential: true,
    commands: ["peer send"],
  },
  channel: {
    flag: "--channel",
    env: "CAIRN_SEND_CHANNEL",
    default: "",
    sentence: "Channel to send on",
    kind: value.text,
    essential: true,
    commands: ["peer send", "peer chat"],
    per: { "peer chat": { default: "chat" } },
  },
  sendTimeout: {
    flag: "--timeout",
    env: "CAIRN_SEND_TIMEOUT",
    default: "30s",
    sentence: "How long to wait until the message is accepted",
    kind: value.duration,
    essential: true,
    commands: ["peer send"],
  },
  listenCount: {
    flag: "--count",
    env: "CAIRN_LISTEN_COUNT",
    otherwise: "no end",
    sentence: "End after so many messages",
    kind: value.count,
    essential: true,
    commands: ["peer listen"],
  },
  listenTimeout: {
    flag: "--timeout",
    env: "CAIRN_LISTEN_TIMEOUT",
    otherwise: "none",
    sentence: "End after so long; exit status 1 when --count was not reached",
    kind: value.duration,
    essential: true,
    commands: ["peer listen"],
  },
} as const satisfies Record<string, OptionRow<unknown>>;
