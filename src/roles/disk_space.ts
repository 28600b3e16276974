import { statfs } from "node:fs/promises";

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
