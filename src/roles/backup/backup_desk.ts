import { CairnError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import { byteStream } from "./byte_stream.ts";
import type { SnapshotFolders } from "./store_snapshot.ts";
import { takeBackup } from "./take_backup.ts";

/** A reader of a backup that takes nothing for so long is given up: the store's log grows. */
const STALLED = 60_000;
const ENDING = "The server is about to end";

/** Takes backups of a data folder that is in use, one at a time. */
export class BackupDesk {
  readonly #folders: SnapshotFolders;
  readonly #host: Host;
  #isBusy = false;
  #closed = false;
  readonly #running = new Set<AsyncGenerator<Uint8Array, void>>();

  constructor(folders: SnapshotFolders, host: Host) {
    this.#folders = folders;
    this.#host = host;
  }

  /**
   * The bytes of a backup of this moment, at the pace of whoever reads them.
   *
   * @throws {CairnError} `refused` while another backup is being taken; as `takeBackup` does.
   */
  async open(passphrase: string): Promise<ReadableStream<Uint8Array>> {
    if (this.#closed) throw new CairnError("closed", ENDING);
    if (this.#isBusy) {
      throw new CairnError("refused", "Another backup is being taken: try again when it is done");
    }
    this.#isBusy = true;
    const backup = takeBackup(this.#folders, passphrase, { host: this.#host });
    const onEnd = () => {
      this.#isBusy = false;
      this.#running.delete(backup);
    };
    this.#running.add(backup);
    try {
      const first = await backup.next();
      if (this.#closed) throw new CairnError("closed", ENDING);
      return byteStream(resumed(first, backup), { stallMs: STALLED, onEnd });
    } catch (error) {
      onEnd();
      throw error;
    }
  }

  /** Ends what is under way, incomplete. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled([...this.#running].map((backup) => backup.return()));
  }
}

/** A generator of which the first result was taken already. */
async function* resumed(
  first: IteratorResult<Uint8Array, void>,
  rest: AsyncGenerator<Uint8Array, void>,
): AsyncGenerator<Uint8Array, void> {
  try {
    if (!first.done) yield first.value;
    yield* rest;
  } finally {
    await rest.return();
  }
}
