/** The row of the table of options about being found on the local network. */

import { PEER, SERVER } from "./option_commands.ts";
import * as value from "./option_values.ts";
import type { OptionRow } from "./settings.ts";

export const MDNS_OPTIONS = {
  mdns: {
    flag: "--mdns",
    env: "CAIRN_MDNS",
    default: "true",
    sentence: "Be found on the local network, or find the server there when nothing else leads " +
      "to it, by mDNS",
    kind: value.boolean,
    commands: [...SERVER, ...PEER],
    // Where a server runs by itself there may be neighbours that it is not to be shown to.
    per: { server: { default: "false" } },
  },
} as const satisfies Record<string, OptionRow<unknown>>;
