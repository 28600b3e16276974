/// <reference lib="dom" />
/** What a person is told when a database of the browser fails. */

import { CairnError } from "../base/errors.ts";
import { isDamage } from "./store_damage.ts";

/** What browsers call it when what they have stored cannot be read. */
const UNREADABLE = ["UnknownError", "NotReadableError", "DataError"];

/** Why a database was not opened. */
export function openingFailure(name: string, cause: unknown): CairnError {
  const mapped = mapQuota(cause);
  if (mapped instanceof CairnError) return mapped;
  if (cause instanceof DOMException && cause.name === "VersionError") {
    return usedByLater(name, cause);
  }
  return unusable(
    name,
    "the browser refuses it; pages in a private window may keep nothing",
    cause,
  );
}

/** What whoever has an earlier version is told. */
export function usedByLater(name: string, cause?: unknown): CairnError {
  return unusable(name, "a later version of cairn has used it; load the page again", cause);
}

export function unusable(name: string, reason: string, cause?: unknown): CairnError {
  return new CairnError(
    "data-folder-unusable",
    `The browser's database ${name} cannot be used: ${reason}`,
    { cause },
  );
}

/** What is told of a database that was there. */
export function deleted(name: string, cause?: unknown): CairnError {
  return new CairnError(
    "data-folder-unusable",
    `The browser's database ${name} is gone, as when the data of a site are deleted; load the page ` +
      "again to begin as another peer",
    { cause },
  );
}

/** Turns the browser's "no more room" into a {@linkcode CairnError}; others unchanged. */
export function mapQuota(error: unknown): unknown {
  if (!(error instanceof Error && error.name === "QuotaExceededError")) return error;
  return new CairnError(
    "disk-full",
    "The browser has no more room for this page: free some space on the disk and try again",
    { cause: error },
  );
}

/** Says what to do about what was found in a database; errors of other kinds unchanged. */
export function explainContents(name: string, error: unknown): unknown {
  const isUnreadable = error instanceof DOMException && UNREADABLE.includes(error.name);
  if (!isUnreadable && !isDamage(error)) return error;
  return new CairnError(
    "data-folder-corrupt",
    `The browser's database ${name} is damaged, and nothing was changed; delete the data of this ` +
      "site to begin as another peer",
    { cause: error },
  );
}
