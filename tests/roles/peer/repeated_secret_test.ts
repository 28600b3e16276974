import { deepEqual, equal, rejects } from "node:assert/strict";
import { ProtocolError } from "../../../src/base/errors.ts";
import { MessageType } from "../../../src/protocol/message_types.ts";
import { decodePairConfirm, encodePairConfirm } from "../../../src/protocol/pairing_messages.ts";
import { confirmApproved, isAcknowledged } from "../../../src/protocol/pairing/pairing.ts";
import { PeerBook } from "../../../src/roles/peer_book.ts";
import { takeRepeatedSecret } from "../../../src/roles/peer/repeated_secret.ts";
import { FakeTime } from "../../support/fake_time.ts";
import { bytesFor } from "../../support/identities.ts";
import { contextFor, linkPair, LinkRecorder } from "../../support/link_pair.ts";
import { MortalCommit } from "../../support/peer_world.ts";

for (const known of ["secret", "older secret"]) {
  Deno.test(`takeRepeatedSecret() ends with the server's secret, when this peer has the ${known}`, async () => {
    using time = new FakeTime();
    const kv = await Deno.openKv(":memory:");
    const commit = new MortalCommit(kv);
    const book = await PeerBook.open(kv, commit);
    const context = contextFor("alice", time);
    const { near, far } = await linkPair(context, contextFor("server", time));
    const server = new LinkRecorder(far);
    await book.pair({
      peerId: near.remote,
      mechanism: "approved",
      pairedAt: 1,
      secret: bytesFor(known),
    });
    const channel = { self: far.remote, remote: near.remote, handshakeHash: near.handshakeHash };
    const atServer = { ...channel, self: channel.remote, remote: channel.self };
    const repeated = encodePairConfirm(confirmApproved(atServer, bytesFor("secret")));
    await takeRepeatedSecret(near, repeated, { book, context });
    deepEqual(book.get(near.remote)?.secret, bytesFor("secret"));
    const reply = decodePairConfirm(await server.payload(MessageType.PairConfirm));
    equal(isAcknowledged(atServer, bytesFor("secret"), reply), true);

    const elsewhere = { ...atServer, handshakeHash: bytesFor("another link") };
    const foreign = encodePairConfirm(confirmApproved(elsewhere, bytesFor("foreign")));
    await rejects(takeRepeatedSecret(near, foreign, { book, context }), ProtocolError);
    await book.remove(near.remote);
    await takeRepeatedSecret(near, repeated, { book, context });
    equal(book.has(near.remote), false, "and pairs with nobody anew");
    near.close("going-away");
    await server.end();
    await commit.close();
    kv.close();
  });
}
