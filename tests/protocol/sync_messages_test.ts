import { deepEqual, throws } from "node:assert/strict";
import { encodeCbor } from "../../src/protocol/cbor.ts";
import {
  decodeSyncAck,
  decodeSyncRequest,
  encodeSyncAck,
  encodeSyncRequest,
  MAX_SYNC_NOTE,
  MAX_SYNC_RECIPIENTS,
  type SyncRequest,
} from "../../src/protocol/sync_messages.ts";
import { bytesFor, identityFor } from "../support/identities.ts";

const id = bytesFor("request").slice(0, 16);
const [bob, carol] = ["bob", "carol"].map((label) => identityFor(label).peerId) as [
  SyncRequest["rows"][number]["recipient"],
  SyncRequest["rows"][number]["recipient"],
];

function rowFor(recipient: typeof bob, size = 100) {
  return {
    recipient,
    msgId: bytesFor(`message for ${recipient}`).slice(0, 16),
    encryptedPayload: new Uint8Array(size),
    sequenceNumber: 7,
  };
}

Deno.test("SyncRequest and SyncAck say what was said", () => {
  const request = { id, sharedBody: bytesFor("body"), rows: [rowFor(bob), rowFor(carol)] };
  deepEqual(decodeSyncRequest(encodeSyncRequest(request)), request);
  const ack = {
    id,
    accepted: false,
    answers: [
      { recipient: bob, rejectionReason: "quota exceeded", lastSequence: 6 },
      { recipient: carol, rejectionReason: null, lastSequence: 6, delivered: true },
    ],
  };
  deepEqual(decodeSyncAck(encodeSyncAck(ack)), ack);
});

Deno.test("SyncRequest is for at least one recipient, for each once, and for not too many", () => {
  const refused = (rows: SyncRequest["rows"]) =>
    throws(() => decodeSyncRequest(encodeSyncRequest({ id, sharedBody: id, rows })), {
      code: "malformed",
    });
  refused([]);
  refused([rowFor(bob), rowFor(carol), rowFor(bob, 5)]);
  refused([rowFor(bob, MAX_SYNC_NOTE + 1)]);
  refused(
    Array.from(
      { length: MAX_SYNC_RECIPIENTS + 1 },
      (_, index) => rowFor(identityFor(`device ${index}`).peerId),
    ),
  );
  throws(() => decodeSyncRequest(encodeCbor(new Map([[0, id]]))), { code: "malformed" });
  throws(() => decodeSyncAck(encodeCbor(new Map([[0, id]]))), { code: "malformed" });
});
