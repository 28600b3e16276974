/** Which commands share options. */

import type { CommandName } from "./settings.ts";

export const SERVER: readonly CommandName[] = ["server", "up"];
/** What asks the running server over its management API. */
export const SERVER_QUESTIONS: readonly CommandName[] = [
  "server id",
  "server pair",
  "server peers",
  "server requests",
  "server approve",
  "server refuse",
  "server unpair",
  "server queue",
  "server purge",
  "server backup",
  "server export",
  "server trace",
];
export const SERVER_VERBS: readonly CommandName[] = ["server", ...SERVER_QUESTIONS, "up"];
/** Every verb takes the common options, so that one shell alias serves them all. */
export const PEER: readonly CommandName[] = [
  "peer id",
  "peer pair",
  "peer unpair",
  "peer list",
  "peer send",
  "peer listen",
  "peer chat",
  "peer sync",
  "peer safety-number",
  "peer doctor",
  "peer backup",
  "peer restore",
];
export const RELAY_VERBS: readonly CommandName[] = ["relay check", "relay check-peer"];
/** What looks after a machine that roles run on, or are to run on. */
export const OPERATOR: readonly CommandName[] = [
  "init",
  "config check",
  "health",
  "doctor",
  "completions",
];
export const ALL: readonly CommandName[] = [
  "signal",
  "relay",
  ...RELAY_VERBS,
  ...SERVER_VERBS,
  "server psk",
  "server restore",
  ...PEER,
  ...OPERATOR,
];
