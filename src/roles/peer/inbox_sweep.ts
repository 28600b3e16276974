import { getLogger } from "@logtape/logtape";
import type { Host } from "../../base/host.ts";
import { ExpiryClock } from "../../protocol/mailbox/expiry_clock.ts";
import type { Inbox } from "./inbox.ts";

const log = getLogger(["cairn", "peer"]);

const INTERVAL = 600_000;

/** Lets the inbox forget old message ids from time to time, as far as the clock may be believed. */
export class InboxSweep {
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(private readonly inbox: Inbox, private readonly host: Host) {}

  start(): void {
    const { host } = this;
    const clock = new ExpiryClock(host.now(), host.monotonic());
    this.#timer ??= setInterval(() => {
      if (clock.observe(host.now(), host.monotonic())) void this.#run();
    }, INTERVAL);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #run(): Promise<void> {
    try {
      await this.inbox.sweep();
    } catch (error) {
      log.warn("Old message ids could not be forgotten: {error}", { error });
    }
  }
}
