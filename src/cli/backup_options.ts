/** Options about backups: the verbs that make and restore them, and the server's own schedule. */

import * as value from "./option_values.ts";
import type { CommandName, OptionRow } from "./settings.ts";

const SERVER: readonly CommandName[] = ["server", "up"];
const RESTORES: readonly CommandName[] = ["server restore", "peer restore"];
const VERBS: readonly CommandName[] = ["server backup", "peer backup", ...RESTORES];

export const BACKUP_OPTIONS = {
  backupPassphrase: {
    flag: "--passphrase",
    env: "CAIRN_BACKUP_PASSPHRASE",
    otherwise: "asked for at a terminal",
    sentence: "Passphrase that backups are encrypted with, at least 12 characters",
    kind: value.text,
    secret: true,
    commands: [...VERBS, ...SERVER],
    per: {
      server: { flag: "--backup-passphrase" },
      up: { flag: "--backup-passphrase" },
    },
  },
  backupPassphraseFile: {
    flag: "--passphrase-file",
    sentence: "File that holds the passphrase",
    kind: value.path,
    essential: true,
    commands: VERBS,
  },
  restoreVerify: {
    flag: "--verify",
    sentence: "Read and check all of the backup, and write nothing",
    kind: value.flagOnly,
    essential: true,
    commands: RESTORES,
  },
  backupDir: {
    flag: "--backup-dir",
    env: "CAIRN_BACKUP_DIR",
    otherwise: "no backups by itself",
    sentence: "Folder into which the server writes backups by itself",
    kind: value.path,
    commands: SERVER,
  },
  backupEvery: {
    flag: "--backup-every",
    env: "CAIRN_BACKUP_EVERY",
    default: "24h",
    sentence: "How often it writes one",
    kind: value.duration,
    commands: SERVER,
  },
  backupKeep: {
    flag: "--backup-keep",
    env: "CAIRN_BACKUP_KEEP",
    default: "7",
    sentence: "How many of them it keeps",
    kind: value.count,
    commands: SERVER,
  },
} as const satisfies Record<string, OptionRow<unknown>>;
