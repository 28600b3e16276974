import { toBase64, toHex, utf8 } from "../../base/bytes.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { ManagedServer } from "./api/managed_server.ts";
import type { MailboxMessage } from "./mailbox_records.ts";

/** So many records of the audit log are looked at at a time. */
const AUDIT_PAGE = 500;

/**
 * What the server holds of one peer, as lines of JSON: the pairing, what waits for it with bodies as
 * its senders encrypted them, headers of what it has sent and others have not fetched, and changes
 * that somebody made about it. No keys, and nothing of other peers but who wrote to whom. The last
 * line, `end`, counts the others.
 */
export async function* exportPeer(
  server: Pick<ManagedServer, "book" | "names" | "accounts" | "inquiry" | "audit">,
  peer: PeerId,
): AsyncGenerator<Uint8Array, void> {
  let lines = 0;
  for await (const line of exportLines(server, peer)) {
    lines++;
    yield utf8(`${JSON.stringify(line)}\n`);
  }
  yield utf8(`${JSON.stringify({ type: "end", lines })}\n`);
}

async function* exportLines(
  { book, names, accounts, inquiry, audit }: Parameters<typeof exportPeer>[0],
  peer: PeerId,
): AsyncGenerator<object> {
  const pairing = book.get(peer);
  if (pairing) {
    const { mechanism, pairedAt, lastSeen } = pairing;
    yield {
      type: "pairing",
      peer_id: peer.toString(),
      name: names.get(peer) ?? null,
      mechanism,
      paired_at: timeOf(pairedAt),
      last_seen: lastSeen === 0 ? null : timeOf(lastSeen),
      quota: accounts?.of(peer).quota ?? null,
    };
  }
  for await (const { message, delivery } of inquiry?.waitingFor(peer) ?? []) {
    const { encryptedPayload, sharedBody } = delivery ?? {};
    yield {
      type: "waiting-for-it",
      ...headerOf(message),
      body_base64: encryptedPayload ? toBase64(encryptedPayload) : null,
      ...(sharedBody && { shared_body_base64: toBase64(sharedBody) }),
    };
  }
  for await (const message of inquiry?.waitingFrom(peer) ?? []) {
    yield { type: "sent-by-it", ...headerOf(message) };
  }
  for (let before = Infinity;;) {
    const entries = await audit.entries(AUDIT_PAGE, before);
    for (const { id, at, actor, action, peerId, detail } of entries) {
      if (peerId !== peer.toString()) continue;
      yield { type: "audit", id, at: timeOf(at), actor, action, detail };
    }
    const last = entries.at(-1);
    if (last === undefined || entries.length < AUDIT_PAGE) return;
    before = last.id;
  }
}

function headerOf({ id, from, to, sequence, size, hash, acceptedAt }: MailboxMessage): object {
  return {
    msg_id: id,
    from: from.toString(),
    to: to.toString(),
    sequence,
    bytes: size,
    sha256: toHex(hash),
    accepted_at: timeOf(acceptedAt),
  };
}

function timeOf(time: number): string {
  return new Date(time).toISOString();
}
