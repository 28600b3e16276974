import { setImmediate } from "node:timers";
import { systemHost } from "../../../base/host.ts";

/** After so long everything else of the process gets a turn. */
const TURN_MS = 1;
/**
 * While rounds follow one another closely, the next is waited for on this thread: that of another
 * one costs several times as much as a round. The kernel counts in milliseconds.
 */
const PATIENCE_MS = 1;

/** Sockets that are served round by round. */
export interface Rounds {
  readonly isClosed: boolean;
  /** Does what there is to do, which it waits for at most so long; whether there was anything. */
  serve(milliseconds: number): boolean;
  /** Whether the bell was rung since the last call. */
  takeRing(): boolean;
  /** Resolves when there is something to do; another thread waits meanwhile. */
  whenReady(): Promise<void>;
}

/**
 * Serves on a thread whose event loop has other work. While there are packets, this thread asks the
 * kernel for more of them; then another thread waits, and JavaScript goes on with everything else.
 */
export async function besideEventLoop(rounds: Rounds): Promise<void> {
  let turn = systemHost.monotonic();
  let lastRound = -Infinity;
  let patience = 0;
  while (!rounds.isClosed) {
    if (!rounds.serve(patience)) {
      patience = 0;
      await rounds.whenReady();
      turn = systemHost.monotonic();
      continue;
    }
    const now = systemHost.monotonic();
    patience = now - lastRound < TURN_MS ? PATIENCE_MS : 0;
    lastRound = now;
    if (now - turn < TURN_MS) continue;
    await eventLoopTurn();
    turn = systemHost.monotonic();
  }
}

/** Lets the event loop of this thread turn once. */
export function eventLoopTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => resolve()));
}
