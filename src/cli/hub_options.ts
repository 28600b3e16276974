/** The rows of the table of options about what a server does for peers that are online. */

import { SERVER } from "./option_commands.ts";
import * as value from "./option_values.ts";
import type { OptionRow } from "./settings.ts";

export const HUB_OPTIONS = {
  roster: {
    flag: "--roster",
    env: "CAIRN_ROSTER",
    default: "true",
    sentence: "Tell paired peers of one another: names, and who is online",
    kind: value.boolean,
    commands: SERVER,
  },
  relayCapacity: {
    flag: "--relay-capacity",
    env: "CAIRN_RELAY_CAPACITY",
    default: "100",
    sentence: "Most pairs of peers that the personal relay joins at a time; 0 turns it off",
    kind: value.countOrNone,
    commands: SERVER,
  },
  relayPeerRate: {
    flag: "--relay-peer-rate",
    env: "CAIRN_RELAY_PEER_RATE",
    otherwise: "no bound",
    sentence: "Bytes a second that one peer may send through the personal relay, on average",
    kind: value.size,
    commands: SERVER,
  },
} as const satisfies Record<string, OptionRow<unknown>>;
