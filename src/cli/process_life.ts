/** How a role's process begins and ends: permissions, signals, unhandled failures. */

import { getLogger } from "@logtape/logtape";
import { systemHost } from "../base/host.ts";

const logger = getLogger(["cairn", "cli"]);

/** One Ctrl-C under `deno task` arrives as two signals within a millisecond. */
const REPEAT_MS = 1000;

const SIGNALS: readonly Deno.Signal[] = Deno.build.os === "windows"
  ? ["SIGINT", "SIGHUP"]
  : ["SIGINT", "SIGTERM", "SIGHUP"];

/** What a running role offers to the process around it. */
export interface RunningRole {
  /** Ends the role in order. */
  close(): Promise<void>;
  /** Reads again what may change while it runs. A role that has this does not end at SIGHUP. */
  reload?(): void;
  /** Settles when the role ended by itself. */
  readonly closed?: Promise<void>;
}

/** Tells the signal that asks a process to end from its echo and from the one that insists. */
export class EndRequests {
  #first: number | undefined;

  /** What a signal at `now` (monotonic milliseconds) means. */
  receive(now: number): "end" | "echo" | "end-at-once" {
    if (this.#first === undefined) {
      this.#first = now;
      return "end";
    }
    return now - this.#first < REPEAT_MS ? "echo" : "end-at-once";
  }
}

/** The life of this process: it hears signals from its construction on. */
export class ProcessLife {
  /** Resolves when the process is asked to end. */
  readonly endRequested: Promise<void>;
  #role: RunningRole | undefined;
  #isStarting = false;
  /** SIGHUP came meanwhile: what it means shows when the role is there. */
  #isHungUp = false;

  constructor() {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.endRequested = promise;
    const requests = new EndRequests();
    for (const signal of SIGNALS) {
      Deno.addSignalListener(signal, () => {
        // At a terminal, SIGHUP says that it was closed.
        if (signal === "SIGHUP" && !Deno.stdin.isTerminal()) {
          if (this.#role?.reload) return this.#role.reload();
          if (this.#isStarting) return void (this.#isHungUp = true);
        }
        const meaning = requests.receive(systemHost.monotonic());
        if (meaning === "end-at-once") Deno.exit(1);
        if (meaning === "end") {
          logger.info("Ending because of {signal}", { signal });
          resolve();
        }
      });
    }
    if (Deno.env.get("CAIRN_PARENT_STDIN") === "1") {
      whenStandardInputEnds().then(() => {
        logger.info("Ending because standard input was closed");
        resolve();
      });
    }
    globalThis.addEventListener("unhandledrejection", (event) => {
      event.preventDefault();
      endAfterFailure(event.reason);
    });
    globalThis.addEventListener("error", (event) => {
      event.preventDefault();
      endAfterFailure(event.error);
    });
  }

  /** Runs a role until it ends or is asked to, and closes it. Returns the exit status. */
  async run(start: () => Promise<RunningRole>): Promise<number> {
    this.#isStarting = true;
    const role = this.#role = await start();
    this.#isStarting = false;
    if (this.#isHungUp) role.reload?.();
    if (!this.#isHungUp || role.reload) {
      await Promise.race([this.endRequested, ...(role.closed ? [role.closed] : [])]);
    }
    await role.close();
    return 0;
  }
}

/** Gives permissions up for the rest of the process. */
export function giveUp(...names: readonly Deno.PermissionName[]): void {
  for (const name of names) Deno.permissions.revokeSync({ name });
}

function endAfterFailure(reason: unknown): never {
  const error = reason instanceof Error ? reason : new Error(String(reason));
  logger.fatal("Ending after an unexpected failure: {reason}", { reason: error.message, error });
  Deno.exit(1);
}

async function whenStandardInputEnds(): Promise<void> {
  const buffer = new Uint8Array(1024);
  try {
    while (await Deno.stdin.read(buffer) !== null);
  } catch {
    // A standard input that fails has ended.
  }
}
