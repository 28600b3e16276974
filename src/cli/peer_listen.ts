/** `cairn peer listen`: prints messages as they come. */

import { CairnError } from "../base/errors.ts";
import { Handover } from "../roles/peer/handover.ts";
import type { Node } from "../roles/peer/node.ts";
import { peerDataDir } from "./data_dir.ts";
import { jsonLine, readableLine } from "./message_line.ts";
import { OPTIONS } from "./options.ts";
import { withOwnNode } from "./peer_access.ts";
import type { ProcessLife } from "./process_life.ts";
import { ProgramChannels } from "./program_channels.ts";
import type { Settings } from "./settings.ts";
import { printLine } from "./standard_output.ts";

/**
 * Prints messages until a signal, `--count` or `--timeout`. A message is printed, then acknowledged.
 * Those of `cairn peer sync` are left for it.
 * Meanwhile other commands on the same data folder work through this process.
 */
export async function peerListen(settings: Settings): Promise<number> {
  return await withOwnNode(settings, { receive: true }, async (node, life) => {
    const handover = await Handover.open(peerDataDir(settings), node);
    try {
      return await printMessages(settings, node, life);
    } finally {
      await handover.close();
    }
  });
}

async function printMessages(settings: Settings, node: Node, life: ProcessLife): Promise<number> {
  const json = settings.value(OPTIONS.json);
  const wanted = settings.value(OPTIONS.listenCount);
  const timeoutMs = settings.value(OPTIONS.listenTimeout);
  if (node.pairings().length === 0) {
    throw new CairnError(
      "not-paired",
      "This peer is not paired with any server yet; pair it first (cairn peer pair)",
    );
  }

  const done = Promise.withResolvers<void>();
  done.promise.catch(() => {}); // It may fail before anybody waits for it.
  let printed = 0;
  const programs = new ProgramChannels();
  const stopListening = node.on("message", async (message) => {
    if (programs.drops(message)) return;
    try {
      await printLine(json ? jsonLine(message) : readableLine(message));
    } catch (error) {
      stopListening();
      done.reject(error);
      throw error; // What was not printed must not be acknowledged.
    }
    if (++printed === wanted) {
      stopListening();
      done.resolve();
    }
  });
  const timer = timeoutMs === undefined ? undefined : setTimeout(() => done.resolve(), timeoutMs);
  try {
    await node.start();
    await Promise.race([done.promise, life.endRequested]);
  } finally {
    clearTimeout(timer);
  }
  if (wanted === undefined || printed >= wanted) return 0;
  const latest = node.lastFailure === undefined ? "" : ` (latest: ${node.lastFailure.message})`;
  throw new CairnError("timeout", `Ended with ${printed} of ${wanted} messages${latest}`);
}
