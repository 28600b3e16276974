import { equalSecret } from "../../base/bytes.ts";
import { MessageType } from "../../protocol/message_types.ts";
import { decodePairConfirm, encodePairConfirm } from "../../protocol/pairing_messages.ts";
import { acceptApprovedSecret } from "../../protocol/pairing/pairing.ts";
import type { LinkConnection, LinkContext } from "../link_connection.ts";
import type { PeerBook } from "../peer_book.ts";

/**
 * An acceptor repeats the secret that it gave to an approved peer until it hears that the peer has
 * it: makes it durable, if it is not yet, and says so.
 *
 * @throws {ProtocolError} when the confirmation does not fit this link.
 */
export async function takeRepeatedSecret(
  link: LinkConnection,
  payload: Uint8Array,
  { book, context: { identity, host } }: {
    readonly book: PeerBook;
    readonly context: Pick<LinkContext, "identity" | "host">;
  },
): Promise<void> {
  const { remote, handshakeHash } = link;
  const { pairingSecret, reply } = acceptApprovedSecret(
    { self: identity.peerId, remote, handshakeHash },
    decodePairConfirm(payload),
  );
  const known = book.get(remote);
  if (!known) return;
  if (!equalSecret(known.secret, pairingSecret)) {
    await book.pair({
      peerId: remote,
      mechanism: "approved",
      pairedAt: host.now(),
      secret: pairingSecret,
    });
  }
  link.send(MessageType.PairConfirm, encodePairConfirm(reply));
}
