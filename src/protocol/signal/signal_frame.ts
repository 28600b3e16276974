import { ProtocolError } from "../../base/errors.ts";
import { type CborValue, decodeCborMap, encodeCbor } from "../cbor.ts";

/** Longest encoded frame. */
export const MAX_SIGNAL_FRAME_LENGTH = 65_536;
/** Longest topic, in UTF-8 bytes. */
export const MAX_TOPIC_LENGTH = 256;

/**
 * What one binary WebSocket message says to a signaling server, and what a relay looks like coming
 * from it. The bytes are the reference's: a map with one entry, the name of the frame.
 */
export type SignalFrame =
  | { readonly kind: "Subscribe" | "Unsubscribe"; readonly topic: string }
  | { readonly kind: "Relay"; readonly topic: string; readonly payload: Uint8Array };

export function encodeSignalFrame(frame: SignalFrame): Uint8Array<ArrayBuffer> {
  const content = new Map<string, CborValue>([["topic", frame.topic]]);
  if (frame.kind === "Relay") content.set("payload", frame.payload);
  return encodeCbor(new Map([[frame.kind, content]]));
}

/** The payload of a relay is a view on `bytes`. @throws {ProtocolError} `malformed`. */
export function decodeSignalFrame(bytes: Uint8Array): SignalFrame {
  const map = decodeCborMap(bytes);
  const [kind] = map.keys();
  if (map.size !== 1 || kind === undefined) {
    throw new ProtocolError("malformed", "Signal frame is not a map with one entry");
  }
  const content = map.map(kind);
  const topic = content.text("topic", MAX_TOPIC_LENGTH);
  switch (kind) {
    case "Subscribe":
    case "Unsubscribe":
      return { kind, topic };
    case "Relay":
      return { kind, topic, payload: content.bytes("payload") };
    default:
      throw new ProtocolError("malformed", "Signal frame of an unknown kind");
  }
}
