import { statfs } from "node:fs/promises";
import { CairnError } from "../base/errors.ts";

const RESERVE_BYTES = 256 * 1024;

/** Space set aside so that deletes still find room on a full disk. */
export interface DiskReserve {
  /** Gives the space back to the disk. Returns whether there was any to give. */
  release(): Promise<boolean>;
  /** Sets the space aside again when the disk has plenty. */
  refill(): Promise<void>;
}

/** Bytes the disk below `path` can still take; `Infinity` where the system does not say. */
export async function freeBytes(path: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(path);
    return bavail * bsize;
  } catch {
    return Infinity;
  }
}

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

/** A file of ballast inside the data folder. */
export class ReserveFile implements DiskReserve {
  readonly #folder: string;
  readonly #path: string;

  constructor(folder: string) {
    this.#folder = folder;
    this.#path = `${folder}/reserve`;
  }

  async release(): Promise<boolean> {
    try {
      await Deno.remove(this.#path);
      return true;
    } catch {
      return false;
    }
  }

  async refill(): Promise<void> {
    try {
      if (await this.#size() === RESERVE_BYTES) return;
      if (await freeBytes(this.#folder) < 4 * RESERVE_BYTES) return;
      await Deno.writeFile(this.#path, new Uint8Array(RESERVE_BYTES), { mode: 0o600 });
    } catch {
      await this.release();
    }
  }

  async #size(): Promise<number> {
    try {
      return (await Deno.stat(this.#path)).size;
    } catch {
      return 0;
    }
  }
}
