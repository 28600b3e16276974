import { fromUtf8, utf8 } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import { decodeCborMap, encodeCbor } from "../cbor.ts";
import type { CborValue } from "../cbor_value.ts";

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

const SUBSCRIBE_HEAD = head("Subscribe", 1);
const UNSUBSCRIBE_HEAD = head("Unsubscribe", 1);
const RELAY_HEAD = head("Relay", 2);
const PAYLOAD_KEY = utf8("\x67payload");
const TEXT = 3;
const BYTES = 2;

/**
 * Decodes a frame whose bytes are exactly those that {@linkcode encodeSignalFrame} makes of it, so
 * that they may be passed on as they are; `undefined` for any other bytes, right or wrong. Many
 * times faster than {@linkcode decodeSignalFrame}. The payload of a relay is a view on `bytes`.
 */
export function decodeCanonicalFrame(bytes: Uint8Array): SignalFrame | undefined {
  if (startsWith(bytes, RELAY_HEAD, 0)) {
    const topic = readString(bytes, RELAY_HEAD.length, TEXT);
    if (!topic || !startsWith(bytes, PAYLOAD_KEY, topic.end)) return undefined;
    const payload = readString(bytes, topic.end + PAYLOAD_KEY.length, BYTES);
    if (payload?.end !== bytes.length) return undefined;
    const text = topicText(bytes, topic);
    if (text === undefined) return undefined;
    return { kind: "Relay", topic: text, payload: bytes.subarray(payload.start) };
  }
  const isSubscribe = startsWith(bytes, SUBSCRIBE_HEAD, 0);
  if (!isSubscribe && !startsWith(bytes, UNSUBSCRIBE_HEAD, 0)) return undefined;
  const length = isSubscribe ? SUBSCRIBE_HEAD.length : UNSUBSCRIBE_HEAD.length;
  const topic = readString(bytes, length, TEXT);
  if (topic?.end !== bytes.length) return undefined;
  const text = topicText(bytes, topic);
  return text === undefined
    ? undefined
    : { kind: isSubscribe ? "Subscribe" : "Unsubscribe", topic: text };
}

/** The bytes in front of the topic. */
function head(kind: string, entries: number): Uint8Array {
  const name = utf8(kind);
  return Uint8Array.of(0xa1, 0x60 | name.length, ...name, 0xa0 | entries, ...utf8("\x65topic"));
}

function startsWith(bytes: Uint8Array, prefix: Uint8Array, offset: number): boolean {
  if (bytes.length - offset < prefix.length) return false;
  for (let i = 0; i < prefix.length; i++) if (bytes[offset + i] !== prefix[i]) return false;
  return true;
}

interface Span {
  readonly start: number;
  readonly end: number;
}

/** Where a string of major type `major` lies, if its length has the shortest form. */
function readString(bytes: Uint8Array, offset: number, major: number): Span | undefined {
  const first = bytes[offset];
  if (first === undefined || first >> 5 !== major) return undefined;
  const minor = first & 0x1f;
  if (minor < 24) return { start: offset + 1, end: offset + 1 + minor };
  if (minor > 26) return undefined;
  const width = 1 << (minor - 24);
  let length = 0;
  for (let i = 1; i <= width; i++) length = length * 256 + (bytes[offset + i] ?? NaN);
  const smallest = minor === 24 ? 24 : 256 ** (width / 2);
  if (!(length >= smallest)) return undefined;
  return { start: offset + 1 + width, end: offset + 1 + width + length };
}

function topicText(bytes: Uint8Array, { start, end }: Span): string | undefined {
  if (end - start > MAX_TOPIC_LENGTH || end > bytes.length) return undefined;
  try {
    return fromUtf8(bytes.subarray(start, end));
  } catch {
    return undefined;
  }
}
