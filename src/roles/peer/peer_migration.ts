import type { Message } from "../../protocol/session/message_body.ts";
import { GroupCommit } from "../group_commit.ts";
import { KvBlobs, type StoredBody } from "../kv_blobs.ts";
import type { Migrations } from "../store_migration.ts";
import { checkOf } from "./message_check.ts";

/** A message of format 1, in the outbox or the inbox. */
type StoredMessage = Omit<Message, "data"> & { readonly data: StoredBody };

/** How a peer's store comes to the present format. */
export const PEER_MIGRATIONS: Migrations = new Map([
  [1, checkMessages],
  // Format 3: what is sent may be shared. All that was written before stays as it is.
  [2, () => Promise.resolve()],
]);

/** Format 2: messages in the outbox and the inbox have a checksum. */
async function checkMessages(kv: Deno.Kv): Promise<void> {
  const blobs = new KvBlobs(kv, new GroupCommit(kv), ["blob"]);
  for (const kind of ["outbox", "message"]) {
    for await (const { key, value } of kv.list<StoredMessage>({ prefix: [kind] })) {
      const data = await blobs.readBody(value.data);
      // Without its body it stays what it was, a message that is damaged.
      if (data === undefined) continue;
      const sequence = kind === "outbox" ? Number(key[2]) : value.sequence;
      await kv.set(key, { ...value, check: checkOf({ ...value, sequence, data }) });
    }
  }
}
