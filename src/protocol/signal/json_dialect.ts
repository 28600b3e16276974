import { fromBase64, toBase64, utf8 } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import type { Announcement, TopicRecords } from "./record_store.ts";
import { MAX_TOPIC_LENGTH } from "./signal_frame.ts";

/** What one text message of a client of the JSON dialects asks for. */
export type JsonRequest =
  | { readonly kind: "publish"; readonly topic: string; readonly payload: Uint8Array }
  | { readonly kind: "announce"; readonly topic: string; readonly announcement: Announcement }
  | { readonly kind: "query"; readonly topic: string };

const MAX_PEER_ID_LENGTH = 256;
const MAX_ADDRESSES = 32;
const MAX_ADDRESS_LENGTH = 8_192;
/**
 * A client reads an answer at once into 4,096 bytes, of which a WebSocket frame's head takes 4. An
 * answer leaves out the oldest peers to fit, but never the newest one.
 */
const MAX_ANSWER_LENGTH = 4_092;

/** Ignores members that it does not know. @throws {ProtocolError} `malformed`. */
export function decodeJsonRequest(text: string): JsonRequest {
  const message = parseObject(text);
  const { type } = message;
  if (type !== "publish" && type !== "announce" && type !== "query") {
    throw new ProtocolError("malformed", "unknown type");
  }
  const topic = readText(message, "topic", MAX_TOPIC_LENGTH);
  if (type === "query") return { kind: type, topic };
  if (type === "publish") return { kind: type, topic, payload: readBase64(message, "payload") };
  const named = message["peer_id"] !== undefined && message["peer_id"] !== null;
  const peerId = named ? readText(message, "peer_id", MAX_PEER_ID_LENGTH) : "";
  return { kind: type, topic, announcement: { peerId, addresses: readAddresses(message) } };
}

/** Answers a query. */
export function encodeJsonAnswer(topic: string, { payload, peers }: TopicRecords): string {
  const content = payload === undefined ? null : toBase64(payload);
  if (peers.length === 0) return JSON.stringify({ type: "result", topic, payload: content });
  const start = content === null
    ? { type: "peers", topic }
    : { type: "result", topic, payload: content };
  const written: { peer_id: string; addresses: readonly string[] }[] = [];
  let length = utf8(JSON.stringify({ ...start, peers: [] })).length;
  for (const { peerId, addresses } of peers) {
    const peer = { "peer_id": peerId, addresses };
    length += utf8(JSON.stringify(peer)).length + (written.length > 0 ? 1 : 0);
    if (written.length > 0 && length > MAX_ANSWER_LENGTH) break;
    written.push(peer);
  }
  return JSON.stringify({ ...start, peers: written });
}

/** Tells an announcing client that it was heard: some wait for any message. */
export function encodeJsonAnnounced(topic: string): string {
  return JSON.stringify({ type: "announced", topic });
}

export function encodeJsonError(error: string): string {
  return JSON.stringify({ type: "error", error });
}

function parseObject(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ProtocolError("malformed", "not JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ProtocolError("malformed", "not a JSON object");
  }
  return { ...value };
}

function readText(message: Record<string, unknown>, key: string, maxBytes: number): string {
  const value = message[key];
  if (typeof value !== "string" || !isText(value, maxBytes)) {
    throw new ProtocolError("malformed", `${key} is not text of at most ${maxBytes} bytes`);
  }
  return value;
}

function isText(value: string, maxBytes: number): boolean {
  return value.length <= maxBytes && value.isWellFormed() && utf8(value).length <= maxBytes;
}

function readBase64(message: Record<string, unknown>, key: string): Uint8Array {
  const value = message[key];
  if (typeof value === "string") {
    try {
      const bytes = fromBase64(value);
      // Only one text stands for these bytes: no spaces, full padding, no stray bits.
      if (toBase64(bytes) === value) return bytes;
    } catch {
      // Said below.
    }
  }
  throw new ProtocolError("malformed", `${key} is not base64`);
}

function readAddresses(message: Record<string, unknown>): readonly string[] {
  const { addresses } = message;
  if (!Array.isArray(addresses) || addresses.length > MAX_ADDRESSES) {
    throw new ProtocolError("malformed", `addresses is not an array of at most ${MAX_ADDRESSES}`);
  }
  return addresses.map((address: unknown) => {
    if (typeof address === "string" && isText(address, MAX_ADDRESS_LENGTH)) return address;
    throw new ProtocolError(
      "malformed",
      `an address is not text of at most ${MAX_ADDRESS_LENGTH} bytes`,
    );
  });
}
