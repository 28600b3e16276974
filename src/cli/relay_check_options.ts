/** The rows of the table of options of what tries a relay from outside. */

import * as value from "./option_values.ts";
import type { OptionRow } from "./settings.ts";

export const RELAY_CHECK_OPTIONS = {
  checkUser: {
    flag: "--user",
    env: "CAIRN_RELAY_CHECK_USER",
    otherwise: "made from the secret",
    sentence: "User to check the relay as",
    kind: value.text,
    essential: true,
    commands: ["relay check"],
  },
  checkPassword: {
    flag: "--pass",
    env: "CAIRN_RELAY_CHECK_PASS",
    otherwise: "made from the secret",
    sentence: "Password of that user",
    kind: value.text,
    secret: true,
    essential: true,
    commands: ["relay check"],
  },
  checkCa: {
    flag: "--tls-ca",
    env: "CAIRN_RELAY_CHECK_TLS_CA",
    otherwise: "the system's",
    sentence: "Certificate authority (PEM) that a turns: relay must be certified by",
    kind: value.path,
    essential: true,
    commands: ["relay check"],
  },
  checkTimeout: {
    flag: "--timeout",
    env: "CAIRN_RELAY_CHECK_TIMEOUT",
    default: "10s",
    sentence: "How long each step may take",
    kind: value.duration,
    essential: true,
    commands: ["relay check"],
  },
} as const satisfies Record<string, OptionRow<unknown>>;
