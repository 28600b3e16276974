/** The rows of the table of options that only `cairn up` has. */

import * as value from "./option_values.ts";
import type { OptionRow } from "./settings.ts";

export const UP_OPTIONS = {
  relayEnabled: {
    flag: "--relay-enabled",
    env: "CAIRN_RELAY_ENABLED",
    default: "true",
    sentence: "Run the relay too, and let paired peers use it",
    kind: value.boolean,
    essential: true,
    commands: ["up"],
  },
  upPair: {
    flag: "--pair",
    env: "CAIRN_UP_PAIR",
    otherwise: "on a terminal, while no peer is paired",
    sentence: "Make a pairing link at the start and show it, with its QR code",
    kind: value.boolean,
    essential: true,
    commands: ["up"],
  },
} as const satisfies Record<string, OptionRow<unknown>>;
