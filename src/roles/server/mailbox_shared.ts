import { hash } from "node:crypto";
import { concatBytes, equalBytes, fromHex } from "../../base/bytes.ts";
import type { Host } from "../../base/host.ts";
import type { KvOperation } from "../group_commit.ts";
import type { KvBlobs } from "../kv_blobs.ts";
import { LiveRecord } from "../live_record.ts";
import { type PreparedShared, SharedBodies } from "../shared_bodies.ts";
import type { MailboxMessage, SharedBody } from "./mailbox_records.ts";

/** What a recipient is given of a message to several. */
export interface SharedDelivery {
  readonly encryptedPayload: Uint8Array;
  readonly sharedBody: Uint8Array;
}

/**
 * Bodies of messages to several recipients: each is stored once.
 *
 * - `shared / count / name`, `shared / body / name`: see {@linkcode SharedBodies}
 * - `saved`: bytes that count for recipients and are not stored, since another one has them
 */
export class MailboxShared {
  readonly #bodies: SharedBodies;
  readonly #saved: LiveRecord<number>;

  private constructor(bodies: SharedBodies, saved: LiveRecord<number>) {
    this.#bodies = bodies;
    this.#saved = saved;
  }

  static async open(
    kv: Deno.Kv,
    root: string,
    blobs: KvBlobs,
    host: Host,
  ): Promise<MailboxShared> {
    const key = [root, "saved"];
    const saved = (await kv.get<number>(key)).value ?? 0;
    const bodies = new SharedBodies(kv, blobs, [root, "shared"], host);
    return new MailboxShared(bodies, new LiveRecord(key, saved));
  }

  /** Bytes that count for recipients and are not stored. */
  get saved(): number {
    return this.#saved.value ?? 0;
  }

  prepare(bytes: Uint8Array): Promise<PreparedShared> {
    return this.#bodies.prepare(bytes);
  }

  abandon(prepared: PreparedShared): Promise<void> {
    return this.#bodies.abandon(prepared);
  }

  /** Belongs in the commit that stores the messages of its `owners`. */
  addOps(prepared: PreparedShared, size: number, owners: number): KvOperation[] {
    const more = (owners - 1) * size;
    return [
      ...this.#bodies.addOps(prepared, owners),
      ...(more > 0 ? [this.#saved.change((saved = 0) => saved + more)] : []),
    ];
  }

  /**
   * Calls `commit` with what else belongs in the commit that ends a message. Returns how many bytes
   * that counted for its recipient are still stored, for others.
   */
  async end(
    { body }: MailboxMessage,
    commit: (operations: readonly KvOperation[]) => Promise<void>,
  ): Promise<number> {
    if (!isShared(body)) {
      await commit([]);
      return 0;
    }
    const { shared, sharedSize } = body;
    const less = this.#saved.change((saved = 0) => Math.max(0, saved - sharedSize));
    const isLast = await this.#bodies.release(
      shared,
      (operations, isLast) => commit(isLast ? operations : [...operations, less]),
    );
    return isLast ? 0 : sharedSize;
  }

  /** Both parts of a message, or `undefined` when one is damaged. */
  async read(message: MailboxMessage, body: SharedBody): Promise<SharedDelivery | undefined> {
    const sharedBody = await this.#bodies.read(body.shared);
    if (sharedBody?.length !== body.sharedSize) return undefined;
    const isSound = equalBytes(hashOfBoth(body.own, hashOf(sharedBody)), message.hash);
    return isSound ? { encryptedPayload: body.own, sharedBody } : undefined;
  }
}

export function isShared(body: MailboxMessage["body"]): body is SharedBody {
  return body !== null && "shared" in body;
}

/** SHA-256 of a body. */
export function hashOf(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  // Half the time of asking for a Buffer, which may lie in a pool that would be kept with it.
  return fromHex(hash("sha256", bytes, "hex"));
}

/** What tells one part of a message to several from any other: it depends on the shared body too. */
export function hashOfBoth(own: Uint8Array, sharedHash: Uint8Array): Uint8Array<ArrayBuffer> {
  return hashOf(concatBytes(hashOf(own), sharedHash));
}
