import { equalBytes } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import { KEY_LENGTH, sha256 } from "../../protocol/crypto/primitives.ts";
import { openShared, sealShared, type SharedContent } from "../../protocol/session/shared_body.ts";
import type { KvOperation } from "../group_commit.ts";
import type { KvBlobs, StoredBody } from "../kv_blobs.ts";
import type { PreparedShared, SharedBodies } from "../shared_bodies.ts";
import type { OutboxEntry, SharedData } from "./outbox_entry.ts";

/** What a message's record is to hold of its data, and what goes along in its commit. */
export interface PreparedData {
  readonly value: OutboxEntry["data"];
  readonly ops: readonly KvOperation[];
  /** What undoes it when that commit is not made. */
  readonly abandon: () => Promise<void>;
}

/** The data of messages in the outbox: of one recipient, or encrypted and stored once for several. */
export class OutboxBodies {
  constructor(
    private readonly blobs: KvBlobs,
    private readonly shared: SharedBodies,
    private readonly host: Host,
  ) {}

  /** Prepares data for so many messages that all of one commit makes durable. */
  async prepare(content: SharedContent, owners: number): Promise<PreparedData> {
    if (owners === 1) {
      const { value, ops } = await this.blobs.storeBody(content.data);
      return { value, ops, abandon: () => this.blobs.abandon(value) };
    }
    const key = this.host.random(KEY_LENGTH);
    const encrypted = sealShared(content, key);
    const prepared: PreparedShared = await this.shared.prepare(encrypted);
    return {
      value: { shared: prepared.name, key, hash: sha256(encrypted) },
      ops: this.shared.addOps(prepared, owners),
      abandon: () => this.shared.abandon(prepared),
    };
  }

  /** What was to be sent; `undefined` when it is damaged. */
  async read({ id, data }: OutboxEntry): Promise<Uint8Array | undefined> {
    if (!isSharedData(data)) return await this.blobs.readBody(data);
    const body = await this.shared.read(data.shared);
    try {
      return body && openShared(body, { id, ...data }).data;
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      return undefined;
    }
  }

  /** The encrypted body that several messages share; `undefined` when it is damaged. */
  async readShared({ shared, hash }: SharedData): Promise<Uint8Array | undefined> {
    const body = await this.shared.read(shared);
    return body && equalBytes(sha256(body), hash) ? body : undefined;
  }

  /** Calls `commit` with what belongs in the commit that removes a message's record. */
  async remove(
    { data }: OutboxEntry,
    commit: (operations: readonly KvOperation[]) => Promise<void>,
  ): Promise<void> {
    if (isSharedData(data)) await this.shared.release(data.shared, commit);
    else await commit(this.blobs.bodyDeleteOps(data));
  }
}

export function isSharedData(data: StoredBody | SharedData): data is SharedData {
  return "shared" in data;
}
