import { getLogger } from "@logtape/logtape";
import { CairnError } from "../../base/errors.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import { makeFolder } from "../data_folder.ts";
import { mapDiskFull } from "../disk_full.ts";
import { syncPath } from "../store_record.ts";
import { type BackupSummary, verifyBackup } from "./verify_backup.ts";
import { writeBytes } from "./write_bytes.ts";

const log = getLogger(["cairn", "backup"]);

const UNFINISHED = ".partial";

/** A backup that was written and read back. */
export interface ShelvedBackup extends BackupSummary {
  readonly path: string;
  readonly bytes: number;
}

/** A folder with the latest backups of one server, named after it and their time. */
export class BackupShelf {
  readonly #folder: string;
  readonly #prefix: string;
  readonly #keep: number;

  /** `keep`: how many backups there are at most, 1 or more. */
  constructor({ folder, owner, keep }: { folder: string; owner: PeerId; keep: number }) {
    this.#folder = folder;
    this.#prefix = `cairn-server-${owner.toString().slice(0, 12)}-`;
    this.#keep = keep;
  }

  /** Unix milliseconds of the latest backup. @throws {CairnError} when the folder is unusable. */
  async latest(): Promise<number | undefined> {
    await makeFolder(this.#folder);
    return (await this.#backups())[0]?.takenAt;
  }

  /**
   * Writes a backup, reads it back from the disk, and only then removes what is too old.
   *
   * @throws {CairnError} `backup-unusable` when what lies on the disk is not right, `disk-full`.
   */
  async put(
    backup: ReadableStream<Uint8Array>,
    passphrase: string,
    now: number,
  ): Promise<ShelvedBackup> {
    const path = `${this.#folder}/${this.#prefix}${stampOf(now)}.age`;
    const unfinished = `${path}${UNFINISHED}`;
    try {
      await makeFolder(this.#folder);
      await this.#removeUnfinished();
      {
        using file = await Deno.open(unfinished, { createNew: true, write: true, mode: 0o600 });
        for await (const bytes of backup) await writeBytes(file, bytes);
        await file.sync();
      }
      const written = await Deno.open(unfinished);
      const summary = await verifyBackup(written.readable, passphrase);
      const { size: bytes } = await Deno.stat(unfinished);
      await Deno.rename(unfinished, path);
      await syncPath(this.#folder);
      await this.#removeOldest(path, now);
      return { ...summary, path, bytes };
    } catch (error) {
      await backup.cancel().catch(() => {});
      await Deno.remove(unfinished).catch(() => {});
      throw mapDiskFull(error);
    }
  }

  /** All beyond `keep` but `made`; names from after `now`, by a clock that was wrong, go first. */
  async #removeOldest(made: string, now: number): Promise<void> {
    const others = (await this.#backups()).filter(({ name }) => `${this.#folder}/${name}` !== made);
    const past = others.filter(({ takenAt }) => takenAt <= now);
    const future = others.filter(({ takenAt }) => takenAt > now);
    for (const { name } of [...past, ...future].slice(this.#keep - 1)) {
      await Deno.remove(`${this.#folder}/${name}`);
      log.info("The backup {name} was removed: there are {keep} later ones", {
        name,
        keep: this.#keep,
      });
    }
  }

  async #removeUnfinished(): Promise<void> {
    for (const name of await this.#names()) {
      if (name.endsWith(UNFINISHED)) await Deno.remove(`${this.#folder}/${name}`);
    }
  }

  /** The latest first. */
  async #backups(): Promise<{ readonly name: string; readonly takenAt: number }[]> {
    return (await this.#names()).flatMap((name) => {
      const takenAt = timeOf(name.slice(this.#prefix.length));
      return takenAt === undefined ? [] : [{ name, takenAt }];
    }).sort((a, b) => b.takenAt - a.takenAt);
  }

  async #names(): Promise<string[]> {
    try {
      const entries = await Array.fromAsync(Deno.readDir(this.#folder));
      return entries.filter(({ name, isFile }) => isFile && name.startsWith(this.#prefix))
        .map(({ name }) => name);
    } catch (cause) {
      throw new CairnError(
        "data-folder-unusable",
        `The folder of backups ${this.#folder} cannot be read: check who owns it`,
        { cause },
      );
    }
  }
}

/** As in `20261121T143800Z`. */
function stampOf(time: number): string {
  return `${new Date(time).toISOString().slice(0, 19).replace(/[-:]/g, "")}Z`;
}

function timeOf(rest: string): number | undefined {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z\.age$/.exec(rest);
  if (match === null) return undefined;
  const [, year, month, day, hour, minute, second] = match;
  const time = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(time) ? undefined : time;
}
