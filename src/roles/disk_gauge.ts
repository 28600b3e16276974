import type { Host } from "../base/host.ts";

/** With less free space than this nothing is taken in: the program needs room to keep working. */
export const MIN_FREE_BYTES = 16 * 1024 * 1024;
/** How long, and for how many admitted bytes, a reading of the free space is good. */
const READING_MS = 1000;
const READING_BYTES = 1024 * 1024;

/** Knows how much the disk can still take without asking for every message. */
export class DiskGauge {
  readonly #folder: { freeBytes(): Promise<number> };
  readonly #host: Host;
  readonly #floor: number;
  #reading = { bytes: 0, at: -Infinity };
  #underWay: Promise<void> | undefined;

  /** @param floor bytes that stay free; default 16 MiB. */
  constructor(folder: { freeBytes(): Promise<number> }, host: Host, floor = MIN_FREE_BYTES) {
    this.#folder = folder;
    this.#host = host;
    this.#floor = floor;
  }

  /**
   * Whether the disk takes `size` bytes more and keeps its floor; at once while the last reading is
   * good.
   */
  hasRoom(size: number): boolean | Promise<boolean> {
    const isStale = this.#host.monotonic() - this.#reading.at > READING_MS ||
      this.#reading.bytes < this.#floor + size + READING_BYTES;
    if (!isStale) return this.#take(size);
    this.#underWay ??= this.#read().finally(() => {
      this.#underWay = undefined;
    });
    return this.#underWay.then(() => this.#take(size));
  }

  async #read(): Promise<void> {
    this.#reading = { bytes: await this.#folder.freeBytes(), at: this.#host.monotonic() };
  }

  #take(size: number): boolean {
    this.#reading.bytes -= size;
    return this.#reading.bytes >= this.#floor;
  }
}
