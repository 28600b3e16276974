import { deepEqual, equal, ok } from "node:assert/strict";
import { CairnError } from "../../../src/base/errors.ts";
import { BackupSchedule } from "../../../src/roles/backup/backup_schedule.ts";
import type { ShelvedBackup } from "../../../src/roles/backup/backup_shelf.ts";
import { FakeTime, turns } from "../../support/fake_time.ts";

const HOUR = 3_600_000;

/** A schedule of one backup a day on a shelf that is nothing but times. */
class Scene implements AsyncDisposable {
  readonly time = new FakeTime();
  readonly taken: number[] = [];
  readonly failures: string[] = [];
  /** The next attempt fails with it. */
  failure: Error | undefined;
  made = 0;
  readonly #schedule: BackupSchedule;

  constructor(latest: (now: number) => number | undefined) {
    const { time } = this;
    this.#schedule = new BackupSchedule({
      desk: {
        open: () => Promise.resolve(new ReadableStream()),
        close: () => Promise.resolve(),
      },
      shelf: {
        latest: () => Promise.resolve(latest(time.now())),
        put: (_stream, _passphrase, now) => {
          const { failure } = this;
          this.failure = undefined;
          if (failure) return Promise.reject(failure);
          this.taken.push(now);
          return Promise.resolve({ path: "/x", bytes: 1 } as ShelvedBackup);
        },
      },
      passphrase: "nine green apples in a row",
      every: 24 * HOUR,
      host: time,
      onMade: () => this.made++,
      onFailed: (reason) => this.failures.push(reason),
    });
  }

  async pass(ms: number): Promise<void> {
    await turns();
    for (let left = ms; left > 0; left -= 60_000) {
      this.time.pass(Math.min(60_000, left));
      await turns(2);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#schedule.close();
    this.time[Symbol.dispose]();
  }
}

Deno.test("The first backup is taken at once, and the next ones a day after the last", async () => {
  await using scene = new Scene(() => undefined);
  const start = scene.time.now();
  await scene.pass(49 * HOUR);
  deepEqual(scene.taken.map((at) => Math.round((at - start) / HOUR)), [0, 24, 48]);
  equal(scene.made, 3);
});

Deno.test("A restart does not begin again: the latest backup counts, whoever took it", async () => {
  await using scene = new Scene((now) => now - 20 * HOUR);
  const start = scene.time.now();
  await scene.pass(6 * HOUR);
  deepEqual(scene.taken.map((at) => Math.round((at - start) / HOUR)), [4]);
});

Deno.test("A backup from the future holds up the next for a day at most", async () => {
  await using scene = new Scene((now) => now + 1_000 * HOUR);
  await scene.pass(25 * HOUR);
  equal(scene.taken.length, 1);
});

Deno.test("A backup that failed is told of and tried again after a quarter of an hour", async () => {
  await using scene = new Scene(() => undefined);
  const start = scene.time.now();
  scene.failure = new CairnError("disk-full", "The disk is full: free some space");
  await scene.pass(HOUR);
  deepEqual(scene.failures, ["The disk is full: free some space"]);
  const [minutes = 0] = scene.taken.map((at) => (at - start) / 60_000);
  ok(minutes >= 15 && minutes < 18, `after ${minutes} minutes`);
  equal(scene.taken.length, 1);
});
