import { deepEqual } from "node:assert/strict";
import { toHex } from "../../../src/base/bytes.ts";
import { systemHost } from "../../../src/base/host.ts";
import {
  decodeReceiptAck,
  encodeForwardAck,
  encodeMailboxStatus,
} from "../../../src/protocol/forward_messages.ts";
import { MessageType } from "../../../src/protocol/message_types.ts";
import { openNodeStore } from "../../../src/roles/peer/node_folder.ts";
import { ServerConversation } from "../../../src/roles/peer/server_conversation.ts";
import { within } from "../../support/deadline.ts";
import { bytesFor } from "../../support/identities.ts";
import { contextFor, linkPair, LinkRecorder } from "../../support/link_pair.ts";

Deno.test("ServerConversation acknowledges receipts that come together with the first status", async () => {
  const path = await Deno.makeTempDir({ prefix: "cairn-test-" });
  const store = await openNodeStore(path, systemHost);
  const { near: peer, far: server } = await linkPair(
    { ...contextFor("peer", systemHost), identity: store.own.identity, keys: store.linkKeys },
    contextFor("server", systemHost),
  );
  const recorder = new LinkRecorder(server);
  const receipts = ["one", "two"].map((label) => bytesFor(label).slice(0, 16));
  server.send(
    MessageType.MailboxStatus,
    encodeMailboxStatus({
      storeId: bytesFor("store").slice(0, 16),
      oneTimePrekeysLeft: 100,
      signedPrekeyId: null,
      largestBody: 1_000_000,
      retentionSeconds: 86_400,
    }),
  );
  for (const msgId of receipts) {
    const receipt = { msgId, accepted: true, rejectionReason: null, delivered: true };
    server.send(MessageType.ForwardAck, encodeForwardAck(receipt));
  }

  const conversation = new ServerConversation(peer, {
    ...store,
    host: systemHost,
    servers: () => [peer.remote.toString()],
    rolledBack: () => Promise.resolve(),
    onReady: () => {},
    onSecret: () => Promise.resolve(),
    onRevoked: () => {},
  });

  const deadline = AbortSignal.timeout(180_000);
  const second = recorder.payload(MessageType.ReceiptAck, 2);
  await within(deadline, second, () => "the acknowledgement of both receipts");
  const acknowledged = recorder.payloads(MessageType.ReceiptAck)
    .flatMap((payload) => decodeReceiptAck(payload).msgIds);
  deepEqual(acknowledged.map(toHex), receipts.map(toHex));
  peer.close("going-away");
  await conversation.close();
  await store.close();
  await Deno.remove(path, { recursive: true });
});
