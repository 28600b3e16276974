import { getLogger } from "@logtape/logtape";
import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { GroupCommit } from "../group_commit.ts";

const log = getLogger(["cairn", "server", "audit"]);

const PREFIX = "audit";
/** The oldest go when there are more. */
const MAX_ENTRIES = 10_000;

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
  #lastId: number;

  private constructor(kv: Deno.Kv, commit: GroupCommit, host: Host, lastId: number) {
    this.#kv = kv;
    this.#commit = commit;
    this.#host = host;
    this.#lastId = lastId;
  }

  static async open(kv: Deno.Kv, commit: GroupCommit, host: Host): Promise<AuditLog> {
    const newest = kv.list<StoredEntry>({ prefix: [PREFIX] }, { reverse: true, limit: 1 });
    let lastId = 0;
    for await (const { key } of newest) lastId = Number(key[1]);
    return new AuditLog(kv, commit, host, lastId);
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
    try {
      await this.#commit.commit([
        { type: "set", key: [PREFIX, id], value: entry },
        { type: "delete", key: [PREFIX, id - MAX_ENTRIES] },
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

type StoredEntry = Omit<AuditEntry, "id">;
