import { getLogger } from "@logtape/logtape";
import type { Host } from "../../base/host.ts";
import type { BackupDesk } from "./backup_desk.ts";
import type { BackupShelf, ShelvedBackup } from "./backup_shelf.ts";

const log = getLogger(["cairn", "backup"]);

/** A failed backup is tried again after so long, or sooner when they come more often. */
const RETRY_AFTER = 15 * 60_000;
/** How often the clock is looked at, which may jump. */
const LOOK_EVERY = 10 * 60_000;

/** How the backups that a server makes by itself go. */
export interface ScheduleParts {
  readonly desk: Pick<BackupDesk, "open" | "close">;
  readonly shelf: Pick<BackupShelf, "latest" | "put">;
  readonly passphrase: string;
  /** Milliseconds from one to the next. */
  readonly every: number;
  readonly host: Host;
  onMade(backup: ShelvedBackup): void;
  /** `reason`: one sentence. */
  onFailed(reason: string): void;
}

/** Takes a backup whenever the latest is old enough, also one that an earlier process took. */
export class BackupSchedule {
  readonly #parts: ScheduleParts;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running: Promise<void>;
  #closed = false;
  #latest: number | undefined;

  constructor(parts: ScheduleParts) {
    this.#parts = parts;
    this.#running = this.#begin();
  }

  /** Unix milliseconds of the latest backup that is known of. */
  get latest(): number | undefined {
    return this.#latest;
  }

  /** Ends a backup that is under way; what there is of it goes. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#parts.desk.close();
    await this.#running;
  }

  async #begin(): Promise<void> {
    const { shelf, host } = this.#parts;
    try {
      this.#latest = await shelf.latest();
    } catch (error) {
      return this.#failed(error);
    }
    // One from the future, by a clock that was wrong, must not hold up the next for long.
    const latest = this.#latest ?? -Infinity;
    this.#wait(Math.min(latest, host.now()) + this.#parts.every);
  }

  #wait(due: number): void {
    if (this.#closed) return;
    const rest = due - this.#parts.host.now();
    this.#timer = setTimeout(() => {
      if (this.#parts.host.now() < due) this.#wait(due);
      else this.#running = this.#take();
    }, Math.min(Math.max(rest, 0), LOOK_EVERY));
  }

  async #take(): Promise<void> {
    const { desk, shelf, passphrase, host, every, onMade } = this.#parts;
    const now = host.now();
    try {
      const backup = await shelf.put(await desk.open(passphrase), passphrase, now);
      this.#latest = now;
      log.info("A backup was written to {path}, {bytes} bytes, and read back", {
        path: backup.path,
        bytes: backup.bytes,
      });
      onMade(backup);
      this.#wait(now + every);
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    if (this.#closed) return;
    const { host, every, onFailed } = this.#parts;
    const reason = error instanceof Error ? error.message : String(error);
    log.error("There is no backup: {reason}", { reason, error });
    onFailed(reason);
    this.#wait(host.now() + Math.min(every, RETRY_AFTER));
  }
}
