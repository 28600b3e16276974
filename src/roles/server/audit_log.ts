import { getLogger } from "@logtape/logtape";
import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { GroupCommit } from "../group_commit.ts";

const log = getLogger(["cairn", "server", "audit"]);

const PREFIX = "audit";
/** The oldest go when there are more; what peers do by themselves pushes out nothing of operators. */
const MAX_ENTRIES = { operator: 8_000, peer: 2_000 };

/** Who made a change: the holder of the token, through the command line or not, or a peer. */
export type AuditActor = "token" | "cli" | "peer";

/** A change that somebody made, or tried to. */
export interface AuditRecord {
  readonly actor: AuditActor;
  /** As in `peer.unpair`. */
  readonly action: string;
  readonly peerId?: PeerId | undefined;
  /** How, or why it failed. Never a secret. */
  readonly detail?: string | undefined;
}

/** A record with its number, counted from 1, and its time. */
export interface AuditEntry {
  readonly id: number;
  /** Unix milliseconds. */
  readonly at: number;
  readonly actor: AuditActor;
  readonly action: string;
  readonly peerId: string | null;
  readonly detail: string | null;
}

/** Every change of the server's state by people or peers: in the log, and in the store. */
export class AuditLog {
  readonly #kv: Deno.Kv;
  readonly #commit: GroupCommit;
  readonly #host: Host;
  /** Numbers of the records that are kept, the oldest first. */
  readonly #kept = { operator: [] as number[], peer: [] as number[] };
  #lastId = 0;

  private constructor(kv: Deno.Kv, commit: GroupCommit, host: Host) {
    this.#kv = kv;
    this.#commit = commit;
    this.#host = host;
  }

  static async open(kv: Deno.Kv, commit: GroupCommit, host: Host): Promise<AuditLog> {
    const audit = new AuditLog(kv, commit, host);
    const entries = kv.list<StoredEntry>({ prefix: [PREFIX] }, { batchSize: 500 });
    for await (const { key, value } of entries) {
      audit.#lastId = Number(key[1]);
      audit.#kept[sideOf(value.actor)].push(audit.#lastId);
    }
    return audit;
  }

  /**
   * Resolves when the record is durable. A store that cannot take it is told to the log, which has
   * the record already, and stops nobody: what frees space must work on a full disk, too.
   */
  async record({ actor, action, peerId, detail }: AuditRecord): Promise<void> {
    const id = ++this.#lastId;
    const entry: StoredEntry = {
      at: this.#host.now(),
      actor,
      action,
      peerId: peerId?.toString() ?? null,
      detail: detail ?? null,
    };
    const what = peerId === undefined ? "{action}" : "{action} {peerId}";
    log.info(`Change {id} by the {actor}: ${what}`, { id, ...entry });
    const side = sideOf(actor);
    const kept = this.#kept[side];
    kept.push(id);
    // One in the place of another; more than that only where an earlier bound was larger.
    const tooOld = kept.splice(0, Math.min(2, Math.max(0, kept.length - MAX_ENTRIES[side])));
    try {
      await this.#commit.commit([
        { type: "set", key: [PREFIX, id], value: entry },
        ...tooOld.map((old) => ({ type: "delete" as const, key: [PREFIX, old] })),
      ], { freesSpace: true });
    } catch (error) {
      log.error("The audit record {id} is only in this log: {error}", { id, error });
    }
  }

  /** The records with numbers below `before`, the latest first, at most `limit` of them. */
  async entries(limit: number, before = Infinity): Promise<AuditEntry[]> {
    const end = Math.min(before, this.#lastId + 1);
    const range = { start: [PREFIX, 1], end: [PREFIX, end] };
    if (end <= 1) return [];
    const found = this.#kv.list<StoredEntry>(range, { reverse: true, limit });
    return (await Array.fromAsync(found)).map(({ key, value }) => ({
      id: Number(key[1]),
      ...value,
    }));
  }
}

function sideOf(actor: AuditActor): keyof typeof MAX_ENTRIES {
  return actor === "peer" ? "peer" : "operator";
}

type StoredEntry = Omit<AuditEntry, "id">;
