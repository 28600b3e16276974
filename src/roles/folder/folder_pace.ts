import type { Host } from "../../base/host.ts";

/** How often a sync looks at what is to be done. */
export const TICK_MS = 250;
/** Without a change for so long, others are told how far this device is. */
const QUIET_MS = 1_000;
/** For so long after the start, or the latest sign of a server, it is not certain who is away. */
const PRESENCE_KNOWN_AFTER_MS = 3_000;
/** Without anything that brings it further for so long, a sync makes no progress. */
const STALLED_AFTER_MS = 120_000;

/** When something happened last, and what may be concluded from that. */
export class FolderPace {
  readonly #host: Host;
  #changedAt: number;
  #presenceAt: number;
  /** Turns since anything came, changed or was asked for. */
  #idleTurns = 0;

  constructor(host: Host) {
    this.#host = host;
    this.#changedAt = this.#presenceAt = host.monotonic();
  }

  /** Something of the folder is another than before. */
  changed(): void {
    this.#changedAt = this.#host.monotonic();
  }

  /** A server tells of somebody. */
  heardOfPresence(): void {
    this.#presenceAt = this.#host.monotonic();
  }

  /** Nothing has changed for a moment. */
  get isQuiet(): boolean {
    return this.#host.monotonic() - this.#changedAt > QUIET_MS;
  }

  /** It is certain who is away. */
  get isPresenceKnown(): boolean {
    return this.#host.monotonic() - this.#presenceAt > PRESENCE_KNOWN_AFTER_MS;
  }

  /** Nothing has become of what is missing for two minutes in which this device was awake. */
  get isStalled(): boolean {
    return this.#idleTurns * TICK_MS >= STALLED_AFTER_MS;
  }

  /** A turn ends, one each {@linkcode TICK_MS}; a device that is busy with itself may get on yet. */
  turned({ isGiving, isLooking }: { isGiving: boolean; isLooking: boolean }): void {
    if (!this.isQuiet || isGiving) this.#idleTurns = 0;
    else if (!isLooking) this.#idleTurns++;
  }
}
