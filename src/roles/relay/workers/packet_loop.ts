import { systemHost } from "../../../base/host.ts";
import type { Alarm } from "../turn_driver.ts";
import { eventLoopTurn, type Rounds } from "../udp_batch/rounds.ts";

/** Everything else that V8 and Deno have to do on this thread gets a turn so often, milliseconds. */
const TURN_EVERY = 100;
/** The longest wait, milliseconds. */
const MAX_WAIT = 1_000;

/**
 * Serves the sockets of a thread that does nothing else: what it waits for is the kernel, not an
 * event loop, so that a packet wakes one thread and once. Its clock and its messages come in between.
 */
export class PacketLoop implements Alarm {
  readonly #readMail: () => void;
  #ring: () => void = () => {};
  #ringAt = Infinity;

  /** `readMail` takes the messages that have come; the bell of the sockets tells of some. */
  constructor(readMail: () => void) {
    this.#readMail = readMail;
  }

  set(milliseconds: number, ring: () => void): void {
    this.#ring = ring;
    this.#ringAt = systemHost.monotonic() + milliseconds;
  }

  clear(): void {
    this.#ringAt = Infinity;
  }

  async run(rounds: Rounds): Promise<void> {
    // Whoever called does what comes next before a packet can come.
    await eventLoopTurn();
    let now = systemHost.monotonic();
    let turn = now;
    let hasMail = true;
    while (!rounds.isClosed) {
      if (hasMail || now - turn >= TURN_EVERY) {
        // Also the first message, which may come before whoever sent it knows the bell.
        this.#readMail();
        await eventLoopTurn();
        turn = now;
      }
      rounds.serve(Math.max(0, Math.ceil(Math.min(this.#ringAt - now, MAX_WAIT))));
      hasMail = rounds.takeRing();
      now = systemHost.monotonic();
      if (now >= this.#ringAt) {
        this.#ringAt = Infinity;
        this.#ring();
      }
    }
  }
}
