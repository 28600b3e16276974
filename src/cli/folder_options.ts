/** The rows of the table of options about folders that devices keep in step. */

import { PeerId } from "../protocol/crypto/peer_id.ts";
import { MAX_FOLDER_NAME } from "../protocol/folder/folder_messages.ts";
import { deviceLabel } from "../protocol/folder/folder_path.ts";
import * as value from "./option_values.ts";
import type { CommandName, OptionRow } from "./settings.ts";

const SYNC: readonly CommandName[] = ["peer sync"];

const folderName: value.ValueKind<string> = {
  placeholder: "<name>",
  expected: `1 to ${MAX_FOLDER_NAME} letters, digits and any of . _ -`,
  parse: (text) => /^[\w.-]+$/.test(text) && text.length <= MAX_FOLDER_NAME ? text : undefined,
};

const deviceName: value.ValueKind<string> = {
  placeholder: "<name>",
  expected: "at most 32 bytes of text that can stand in the name of a file",
  parse: (text) => deviceLabel(text) === text ? text : undefined,
};

const devices: value.ValueKind<readonly PeerId[]> = {
  ...value.peerIds,
  parse: value.listOf((text) => PeerId.parse(text)),
};

export const FOLDER_OPTIONS = {
  folderName: {
    flag: "--name",
    env: "CAIRN_SYNC_NAME",
    otherwise: "the name of the folder",
    sentence: "What devices have to have in common to share the folder",
    kind: folderName,
    essential: true,
    commands: SYNC,
  },
  folderWith: {
    flag: "--with",
    env: "CAIRN_SYNC_WITH",
    otherwise: "every peer of the server that syncs under this name",
    sentence: "Share the folder with these devices only",
    kind: devices,
    essential: true,
    commands: SYNC,
  },
  folderOnce: {
    flag: "--once",
    env: "CAIRN_SYNC_ONCE",
    default: "false",
    sentence: "End when everything is in step with the devices that are there",
    kind: value.flagOnly,
    essential: true,
    commands: SYNC,
  },
  folderDevice: {
    flag: "--device",
    env: "CAIRN_SYNC_DEVICE",
    otherwise: "the name of this machine",
    sentence: "What this device is called in the names of conflicts",
    kind: deviceName,
    commands: SYNC,
  },
  folderPush: {
    flag: "--push",
    env: "CAIRN_SYNC_PUSH",
    default: "256MB",
    sentence: "Most bytes that may wait in the mailbox for one device that is away",
    kind: value.size,
    commands: SYNC,
  },
  folderRescan: {
    flag: "--rescan",
    env: "CAIRN_SYNC_RESCAN",
    default: "60s",
    sentence: "How often to look at the whole folder, beside what the system tells of",
    kind: value.duration,
    commands: SYNC,
  },
} as const satisfies Record<string, OptionRow<unknown>>;
