/** `cairn peer sync`: keeps a folder the same on several devices. */

import { basename, resolve, sep } from "node:path";
import { CairnError } from "../base/errors.ts";
import { MAX_RECORDS } from "../protocol/folder/folder_index.ts";
import { deviceLabel } from "../protocol/folder/folder_path.ts";
import type { FolderEvent } from "../roles/folder/folder_events.ts";
import { FolderSync } from "../roles/folder/folder_sync.ts";
import { makeFolder } from "../roles/data_folder.ts";
import { Handover } from "../roles/peer/handover.ts";
import { peerDataDir } from "./data_dir.ts";
import { FOLDER_OPTIONS } from "./folder_options.ts";
import { OPTIONS } from "./options.ts";
import { withOwnNode } from "./peer_access.ts";
import type { Settings } from "./settings.ts";
import { escapeControls, printLine } from "./standard_output.ts";
import { untilInStep } from "./sync_once.ts";

/** Syncs until a signal, or with `--once` until all devices that are there are in step. */
export async function peerSync(settings: Settings, directory: string): Promise<number> {
  const folder = resolve(directory);
  const dataDir = resolve(peerDataDir(settings));
  if (`${dataDir}${sep}`.startsWith(`${folder}${sep}`)) {
    throw new CairnError(
      "invalid-option",
      `The data folder ${dataDir} lies in the folder to sync; its keys must not leave this device`,
    );
  }
  const name = settings.value(FOLDER_OPTIONS.folderName) ?? nameOf(folder);
  return await withOwnNode(settings, { receive: true }, async (node, life) => {
    if (node.pairings().length === 0) {
      throw new CairnError(
        "not-paired",
        "This peer is not paired with any server yet; pair it first (cairn peer pair)",
      );
    }
    await makeFolder(`${dataDir}/folders`);
    const only = settings.value(FOLDER_OPTIONS.folderWith) ??
      (settings.value(OPTIONS.contactsOnly) ? node.contacts() : undefined);
    for (const peer of only ?? []) await node.addContact(peer);
    const output = new SyncOutput(settings.value(OPTIONS.json));
    const sync = await FolderSync.open({
      node,
      directory: folder,
      storePath: `${dataDir}/folders/${name}.kv`,
      name,
      label: settings.value(FOLDER_OPTIONS.folderDevice) ?? machineName(),
      pushLimit: settings.value(FOLDER_OPTIONS.folderPush),
      rescanEvery: settings.value(FOLDER_OPTIONS.folderRescan),
      onEvent: (event) => output.show(event),
      ...(only && { only }),
    });
    const handover = await Handover.open(dataDir, node);
    const ended = new AbortController();
    try {
      await Promise.race([sync.start(), sync.failed, life.endRequested]);
      await node.start();
      const isOnce = settings.value(FOLDER_OPTIONS.folderOnce);
      const ends = [life.endRequested, sync.failed, output.broken];
      const { signal } = ended;
      await Promise.race([...ends, ...(isOnce ? [untilInStep({ sync, node, signal })] : [])]);
    } finally {
      ended.abort();
      await sync.close();
      await handover.close();
    }
    await output.close();
    return 0;
  });
}

/** Tells what happens on standard output, line by line. */
class SyncOutput {
  readonly #json: boolean;
  readonly #broken = Promise.withResolvers<never>();
  #printing: Promise<void> = Promise.resolve();

  constructor(json: boolean) {
    this.#json = json;
    this.#broken.promise.catch(() => {}); // It may fail before anybody waits for it.
  }

  /** Rejects when nobody reads any more. */
  get broken(): Promise<never> {
    return this.#broken.promise;
  }

  show(event: FolderEvent): void {
    const line = this.#json ? jsonOf(event) : escapeControls(sentenceOf(event));
    this.#printing = this.#printing.then(() => printLine(line)).catch(this.#broken.reject);
  }

  async close(): Promise<void> {
    await this.#printing;
  }
}

function jsonOf(event: FolderEvent): string {
  if (!("peer" in event)) return JSON.stringify(event);
  const { peer, ...rest } = event;
  return JSON.stringify({ ...rest, "peer_id": peer });
}

function sentenceOf(event: FolderEvent): string {
  switch (event.event) {
    case "started":
      return `syncing ${counted(event.files, "file")}`;
    case "joined":
      return `${event.name} shares this folder (${event.peer})`;
    case "received":
      return `received ${event.path} (${megabytes(event.size)})`;
    case "deleted":
      return `deleted ${event.path}`;
    case "changed":
      return `${event.deleted ? "deleted here" : "changed here"} ${event.path}`;
    case "conflict":
      return `conflict: the other version is ${event.path}`;
    case "skipped":
      return `skipped ${event.path}: ${event.reason}`;
    case "full":
      return `full: ${counted(event.files, "file")} at least cannot be synced, ` +
        `a folder has at most ${MAX_RECORDS}, lately deleted ones included`;
    case "unsound":
      return `${event.name} has sent ${counted(event.rows, "record")} that make no sense; ` +
        "they were left out";
    case "fetching":
      return `fetching ${counted(event.files, "file")}, ${megabytes(event.bytes)} to go`;
    case "waits":
      return `the server has no room for more for ${event.name}; ` +
        "the rest goes when both devices are there";
    case "up-to-date":
      return `up to date with ${event.names.join(", ")} (${counted(event.files, "file")})`;
  }
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

function megabytes(bytes: number): string {
  return bytes < 100_000 ? `${bytes} bytes` : `${(bytes / 1_000_000).toFixed(1)} MB`;
}

function nameOf(folder: string): string {
  const name = FOLDER_OPTIONS.folderName.kind.parse(basename(folder));
  if (name !== undefined) return name;
  throw new CairnError(
    "invalid-option",
    `The folder's own name cannot serve here; give it one with --name (${FOLDER_OPTIONS.folderName.kind.expected})`,
  );
}

function machineName(): string {
  try {
    return deviceLabel(Deno.hostname());
  } catch {
    return deviceLabel("");
  }
}
