/** The row of the table of options about what every data folder keeps. */

import { PEER, SERVER } from "./option_commands.ts";
import * as value from "./option_values.ts";
import type { OptionRow } from "./settings.ts";

export const STORE_OPTIONS = {
  storePassphrase: {
    flag: "--store-passphrase",
    env: "CAIRN_STORE_PASSPHRASE",
    otherwise: "not encrypted",
    sentence: "Passphrase that encrypts what is in the store, from its first start or restore on",
    kind: value.text,
    secret: true,
    commands: [...SERVER, "server restore", ...PEER],
  },
} as const satisfies Record<string, OptionRow<unknown>>;
