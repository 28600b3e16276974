/** What the TURN relays ask for is a name with its password, or the secret that they share. */

import { CairnError } from "../base/errors.ts";
import type { ServerOptions } from "../roles/server/server_options.ts";
import { OPTIONS } from "./options.ts";
import type { Settings } from "./settings.ts";

/**
 * The credentials for the TURN relays, or `undefined` when none are set.
 * @throws {CairnError} `invalid-option` when they contradict each other or are half of what is needed.
 */
export function turnCredentials(settings: Settings): ServerOptions["turnCredentials"] {
  const username = settings.value(OPTIONS.turnUsername);
  const password = settings.value(OPTIONS.turnPassword);
  const secret = settings.value(OPTIONS.turnSecret);
  if (username === undefined && password === undefined) {
    return secret === undefined ? undefined : { secret };
  }
  if (secret !== undefined) {
    throw new CairnError(
      "invalid-option",
      `${settings.howToSet(OPTIONS.turnSecret)} stands in place of a name and a password; keep one`,
    );
  }
  if (username !== undefined && password !== undefined) return { username, password };
  const [given, missing] = username === undefined
    ? [OPTIONS.turnPassword, OPTIONS.turnUsername]
    : [OPTIONS.turnUsername, OPTIONS.turnPassword];
  throw new CairnError(
    "invalid-option",
    `${settings.howToSet(given)} is set without ${settings.howToSet(missing)}; a TURN relay asks ` +
      "for both",
  );
}
