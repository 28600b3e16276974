/** The table of all options. Parsing, help and docs/options.md come from it. */

import { BACKUP_OPTIONS } from "./backup_options.ts";
import { FOLDER_OPTIONS } from "./folder_options.ts";
import { HUB_OPTIONS } from "./hub_options.ts";
import { LOG_OPTIONS } from "./log_options.ts";
import { MAILBOX_OPTIONS } from "./mailbox_options.ts";
import { MANAGEMENT_OPTIONS } from "./management_options.ts";
import { MDNS_OPTIONS } from "./mdns_options.ts";
import { MESSAGE_OPTIONS } from "./message_options.ts";
import { OPERATOR_OPTIONS } from "./operator_options.ts";
import { PAIRING_OPTIONS } from "./pairing_options.ts";
import { PEER_OPTIONS } from "./peer_options.ts";
import { RELAY_CHECK_OPTIONS } from "./relay_check_options.ts";
import { RELAY_ENGINE_OPTIONS } from "./relay_engine_options.ts";
import { RELAY_OPTIONS } from "./relay_options.ts";
import { SERVER_BACKING_OPTIONS } from "./server_backing.ts";
import { SERVER_OPTIONS } from "./server_options.ts";
import type { CommandName, OptionRow } from "./settings.ts";
import { SIGNAL_LIMIT_OPTIONS } from "./signal_limits.ts";
import { SIGNAL_OPTIONS } from "./signal_options.ts";
import { SIGNAL_SCALE_OPTIONS } from "./signal_scale_options.ts";
import { STORE_OPTIONS } from "./store_options.ts";
import { UP_OPTIONS } from "./up_options.ts";

export const OPTIONS = {
  ...SIGNAL_OPTIONS,
  ...SIGNAL_SCALE_OPTIONS,
  ...SIGNAL_LIMIT_OPTIONS,
  ...RELAY_OPTIONS,
  ...RELAY_ENGINE_OPTIONS,
  ...RELAY_CHECK_OPTIONS,
  ...SERVER_OPTIONS,
  ...MANAGEMENT_OPTIONS,
  ...MAILBOX_OPTIONS,
  ...SERVER_BACKING_OPTIONS,
  ...HUB_OPTIONS,
  ...MDNS_OPTIONS,
  ...BACKUP_OPTIONS,
  ...STORE_OPTIONS,
  ...UP_OPTIONS,
  ...PEER_OPTIONS,
  ...PAIRING_OPTIONS,
  ...MESSAGE_OPTIONS,
  ...FOLDER_OPTIONS,
  ...OPERATOR_OPTIONS,
  ...LOG_OPTIONS,
} as const satisfies Record<string, OptionRow<unknown>>;

/** The rows of the table that `command` has, in the table's order. */
export function optionsOf(command: CommandName): readonly OptionRow<unknown>[] {
  const rows: readonly OptionRow<unknown>[] = Object.values(OPTIONS);
  return rows.filter((row) => row.commands.includes(command));
}
