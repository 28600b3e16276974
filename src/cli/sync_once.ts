import { CairnError } from "../base/errors.ts";
import { type Host, systemHost } from "../base/host.ts";
import type { FolderSync } from "../roles/folder/folder_sync.ts";
import type { Node } from "../roles/peer/node.ts";

const LOOK_EVERY_MS = 250;
/** How long a server is looked for. */
const REACHED_WITHIN_MS = 60_000;

/** What the end of a sync is read from. */
export interface SyncOnceParts {
  readonly sync: Pick<FolderSync, "isSettled" | "isStalled" | "leftOut">;
  readonly node: Pick<Node, "pairings" | "lastFailure">;
  /** Aborts when the user has had enough. */
  readonly signal: AbortSignal;
  readonly host?: Host;
}

/**
 * Resolves when the devices that are there have the same files.
 *
 * @throws {CairnError} when that is out of reach: `unreachable`, `timeout`, `too-large`, or what the
 * node failed with.
 */
export async function untilInStep(
  { sync, node, signal, host = systemHost }: SyncOnceParts,
): Promise<void> {
  const start = host.monotonic();
  let isReached = false;
  while (!signal.aborted && !sync.isSettled()) {
    isReached ||= node.pairings().some(({ connected }) => connected);
    if (!isReached && host.monotonic() - start > REACHED_WITHIN_MS) {
      throw node.lastFailure ??
        new CairnError("unreachable", "No server could be reached; check that it runs");
    }
    if (isReached && sync.isStalled()) {
      throw new CairnError(
        "timeout",
        "The folder is not in step: nothing has come for two minutes, and no device that is there " +
          "has the rest; sync again when the others are there",
      );
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
  const { leftOut } = sync;
  if (signal.aborted || leftOut === 0) return;
  throw new CairnError(
    "too-large",
    `The folder has more files than can be synced: ${leftOut} of them at least were left out`,
  );
}
