/** What the CBOR of one forwarded message costs, and what strictness adds to it. */

import { decode, encode } from "cborg";
import { decodeCborMap, encodeCbor } from "../src/protocol/cbor.ts";
import { PeerId } from "../src/protocol/crypto/peer_id.ts";
import { decodeEnvelope, encodeEnvelope } from "../src/protocol/envelope.ts";
import {
  decodeForwardRequest,
  encodeForwardRequest,
  type ForwardRequest,
} from "../src/protocol/forward_messages.ts";
import { MessageType } from "../src/protocol/message_types.ts";

const id = new Uint8Array(16).fill(7);

for (const [size, length] of [["1 KiB", 1_024], ["1 MiB", 1_048_576 - 1_024]] as const) {
  const request: ForwardRequest = {
    msgId: id,
    recipient: PeerId.ofPublicKey(new Uint8Array(32)),
    encryptedPayload: new Uint8Array(length).fill(1),
    sequenceNumber: 4_711,
  };
  const payload = encodeForwardRequest(request);
  const fields = new Map<number, number | Uint8Array>([
    [0, 1],
    [1, MessageType.ForwardRequest],
    [2, id],
    [4, payload],
  ]);
  const envelope = encodeEnvelope({ type: MessageType.ForwardRequest, id, payload });

  const encodings = `encode, ${size}`;
  Deno.bench("cborg as it comes", { group: encodings, baseline: true }, () => {
    encode(fields);
  });
  Deno.bench("encodeCbor", { group: encodings }, () => {
    encodeCbor(fields);
  });
  Deno.bench("encodeEnvelope", { group: encodings }, () => {
    encodeEnvelope({ type: MessageType.ForwardRequest, id, payload });
  });
  Deno.bench("encodeForwardRequest and encodeEnvelope", { group: encodings }, () => {
    encodeEnvelope({
      type: MessageType.ForwardRequest,
      id,
      payload: encodeForwardRequest(request),
    });
  });

  const decodings = `decode, ${size}`;
  Deno.bench("cborg as it comes", { group: decodings, baseline: true }, () => {
    decode(envelope, { useMaps: true });
  });
  Deno.bench("decodeCborMap", { group: decodings }, () => {
    decodeCborMap(envelope);
  });
  Deno.bench("decodeEnvelope", { group: decodings }, () => {
    decodeEnvelope(envelope);
  });
  Deno.bench("decodeEnvelope and decodeForwardRequest", { group: decodings }, () => {
    decodeForwardRequest(decodeEnvelope(envelope).payload);
  });
}
