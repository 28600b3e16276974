/** Options that tell a server what it leans on: relays, and where its store is. */

import { SERVER } from "./option_commands.ts";
import * as value from "./option_values.ts";
import type { OptionRow } from "./settings.ts";

export const SERVER_BACKING_OPTIONS = {
  turnUsername: {
    flag: "--turn-username",
    env: "CAIRN_TURN_USERNAME",
    otherwise: "none",
    sentence: "User name for the TURN relays, together with the password",
    kind: value.text,
    commands: SERVER,
  },
  turnPassword: {
    flag: "--turn-password",
    env: "CAIRN_TURN_PASSWORD",
    otherwise: "none",
    sentence: "Password for the TURN relays",
    kind: value.text,
    secret: true,
    commands: SERVER,
  },
  turnSecret: {
    flag: "--turn-secret",
    env: "CAIRN_TURN_SECRET",
    otherwise: "paired peers get no credentials",
    sentence:
      "Secret that the TURN relays share, to make credentials for this server and its paired peers",
    kind: value.text,
    secret: true,
    commands: SERVER,
  },
  kvUrl: {
    flag: "--kv-url",
    env: "CAIRN_KV_URL",
    otherwise: "the data folder",
    sentence: "Folder of the store, or the URL of a KV Connect server that keeps it",
    kind: value.kvLocation,
    commands: [...SERVER, "server backup"],
  },
} as const satisfies Record<string, OptionRow<unknown>>;
