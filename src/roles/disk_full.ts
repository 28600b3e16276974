import { CairnError } from "../base/errors.ts";

/** Turns SQLite's and the system's "disk full" into a {@linkcode CairnError}; others unchanged. */
export function mapDiskFull(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof CairnError) return error;
  const full = error.message.includes("database or disk is full") ||
    ("code" in error && (error.code === "ENOSPC" || error.code === "EDQUOT"));
  return full ? diskFull(error) : error;
}

/** What a user is told of a full disk. */
export function diskFull(cause: unknown): CairnError {
  return new CairnError(
    "disk-full",
    "The disk that holds the data folder is full: free some space and try again",
    { cause },
  );
}

/** Whether `error` says, in any of its forms, that the disk is full. */
export function isDiskFull(error: unknown): boolean {
  const mapped = mapDiskFull(error);
  return mapped instanceof CairnError && mapped.code === "disk-full";
}
