/** The rows of the table of options that a peer has, whatever its verb. */

import { PEER } from "./option_commands.ts";
import * as value from "./option_values.ts";
import type { OptionRow } from "./settings.ts";

export const PEER_OPTIONS = {
  peerDataDir: {
    flag: "--data-dir",
    env: "CAIRN_PEER_DIR",
    otherwise: "cairn/peer in the user's data folder",
    sentence: "Folder of the identity, pairings and messages of this peer",
    kind: value.path,
    essential: true,
    commands: PEER,
  },
  serverUrl: {
    flag: "--server-url",
    env: "CAIRN_SERVER_URL",
    otherwise: "found through signaling",
    sentence: "Where the server is, as a direct hint",
    kind: value.webSocketUrl,
    commands: PEER,
  },
  contactsOnly: {
    flag: "--contacts-only",
    env: "CAIRN_PEER_CONTACTS_ONLY",
    default: "false",
    sentence: "Refuse messages of peers that this one has never written to",
    kind: value.flagOnly,
    commands: PEER,
  },
} as const satisfies Record<string, OptionRow<unknown>>;
