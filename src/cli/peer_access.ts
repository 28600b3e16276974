/** How a command gets at the peer of a data folder, which one process at a time may own. */

import { CairnError } from "../base/errors.ts";
import { systemHost } from "../base/host.ts";
import { loadPathBatches } from "../roles/path/path_sockets.ts";
import { RemoteNode } from "../roles/peer/remote_node.ts";
import { Node } from "../roles/peer/node.ts";
import { peerDataDir } from "./data_dir.ts";
import { OPTIONS } from "./options.ts";
import { giveUp, ProcessLife } from "./process_life.ts";
import type { Settings } from "./settings.ts";

const RETRY_AFTER_MS = 100;
/** How long another command may keep the data folder before this one gives up. */
const FOLDER_WITHIN_MS = 10_000;

/** This process's node, or the one of the `cairn peer listen` that has the data folder. */
export type ReachedNode = Node | RemoteNode;

/** Opens the data folder as its only owner and gives it back whatever happens. */
export async function withOwnNode<T>(
  settings: Settings,
  options: { receive: boolean },
  work: (node: Node, life: ProcessLife) => Promise<T>,
): Promise<T> {
  loadPathBatches();
  const life = beginLife();
  const node = await untilFree(() => createNode(settings, options.receive));
  try {
    return await work(node, life);
  } finally {
    await node.close();
  }
}

/** Reaches the peer of the data folder, through the process that has it if there is one. */
export async function withNode<T>(
  settings: Settings,
  options: { start: boolean },
  work: (node: ReachedNode, life: ProcessLife) => Promise<T>,
): Promise<T> {
  const life = beginLife();
  const node = await untilFree(async (): Promise<ReachedNode> => {
    try {
      return await createNode(settings, false);
    } catch (error) {
      if (!isInUse(error)) throw error;
      const remote = await RemoteNode.connect(peerDataDir(settings));
      if (remote === undefined) throw error;
      return remote;
    }
  });
  try {
    if (options.start && node instanceof Node) await node.start();
    return await work(node, life);
  } finally {
    await node.close();
  }
}

function beginLife(): ProcessLife {
  const life = new ProcessLife();
  giveUp("run", "ffi");
  return life;
}

function createNode(settings: Settings, receive: boolean): Promise<Node> {
  const signalAuthToken = settings.value(OPTIONS.signalToken)?.[0];
  const turnServers = settings.value(OPTIONS.turnServers);
  const turnUser = settings.value(OPTIONS.turnUser);
  const serverUrl = settings.value(OPTIONS.serverUrl);
  const storePassphrase = settings.value(OPTIONS.storePassphrase);
  return Node.create({
    storagePath: peerDataDir(settings),
    signalServers: settings.value(OPTIONS.signalServers) ?? [],
    receive,
    mdns: settings.value(OPTIONS.mdns),
    contactsOnly: settings.value(OPTIONS.contactsOnly),
    ...(signalAuthToken !== undefined && { signalAuthToken }),
    ...(turnServers !== undefined && { turnServers }),
    ...(turnUser !== undefined && { turnUser }),
    ...(serverUrl !== undefined && { serverUrl }),
    ...(storePassphrase !== undefined && { storePassphrase }),
  });
}

/** Another short command frees the data folder soon. */
async function untilFree<T>(open: () => Promise<T>): Promise<T> {
  const deadline = systemHost.monotonic() + FOLDER_WITHIN_MS;
  while (true) {
    try {
      return await open();
    } catch (error) {
      if (!isInUse(error) || systemHost.monotonic() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, RETRY_AFTER_MS));
    }
  }
}

function isInUse(error: unknown): boolean {
  return error instanceof CairnError && error.code === "data-folder-in-use";
}
