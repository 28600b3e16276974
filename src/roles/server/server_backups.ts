import { CairnError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import { requirePassphrase } from "../backup/age_header.ts";
import { BackupDesk } from "../backup/backup_desk.ts";
import { BackupSchedule } from "../backup/backup_schedule.ts";
import { BackupShelf } from "../backup/backup_shelf.ts";
import type { DataFolder } from "../data_folder.ts";
import type { MetricsRegistry } from "../metrics.ts";
import type { ServerEvents } from "./server_events.ts";
import type { BackupOptions, ServerOptions } from "./server_options.ts";

/**
 * What takes backups of a server; `undefined` when its store is not in a folder of ours.
 * @throws {CairnError} `invalid-option` when backups were asked for that cannot be made.
 */
export function openBackups(
  { backups, storagePath, host }: Pick<ServerOptions, "backups" | "storagePath"> & { host: Host },
  folder: DataFolder,
): BackupDesk | undefined {
  if (backups) requirePassphrase(backups.passphrase);
  if (!folder.isRemote) return new BackupDesk({ store: folder.path, files: storagePath }, host);
  if (!backups) return undefined;
  throw new CairnError(
    "invalid-option",
    "The store is kept elsewhere (CAIRN_KV_URL) and is backed up there: leave CAIRN_BACKUP_DIR out",
  );
}

/** Starts to take backups as the operator asked for, and tells how they go. */
export function scheduleBackups(parts: {
  readonly options: BackupOptions;
  readonly desk: BackupDesk;
  readonly self: PeerId;
  readonly host: Host;
  readonly events: ServerEvents;
  readonly registry: MetricsRegistry;
}): BackupSchedule {
  const { options, desk, self, host, events, registry } = parts;
  const { folder, passphrase, every, keep } = options;
  const outcomes = registry.counter(
    "cairn_server_backups_total",
    "Backups that the server took by itself",
    "outcome",
    ["made", "failed"],
  );
  let lastBytes: number | undefined;
  const schedule = new BackupSchedule({
    desk,
    shelf: new BackupShelf({ folder, owner: self, keep }),
    passphrase,
    every,
    host,
    onMade({ path, bytes, records }) {
      lastBytes = bytes;
      outcomes.add("made");
      events.publish({ type: "backup.made", data: { path, bytes, records } });
    },
    onFailed(reason) {
      outcomes.add("failed");
      events.publish({ type: "backup.failed", data: { reason } });
    },
  });
  registry.gauge(
    "cairn_server_backup_last_timestamp_seconds",
    "When the latest backup in the folder was taken",
    () => schedule.latest === undefined ? undefined : schedule.latest / 1000,
  );
  registry.gauge(
    "cairn_server_backup_last_bytes",
    "Size of the latest backup that this process took",
    () => lastBytes,
  );
  return schedule;
}
