import { concatBytes, utf8 } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import { type CborValue, decodeCborMap, encodeCbor } from "../cbor.ts";
import type { PeerId } from "../crypto/peer_id.ts";
import { hkdfSha256, xchacha20Poly1305 } from "../crypto/primitives.ts";

const NONCE_LENGTH = 24;
const TAG_LENGTH = 16;
const PAD_STEP = 256;
const MAX_CANDIDATES = 16;
const MAX_SEALED_LENGTH = 16_384;
/** Seconds by which a message may be older or newer than the reader's clock. */
const FRESHNESS = 300;

/** One address at which a peer may be reached. */
export interface Candidate {
  /** `ws` for a WebSocket URL. */
  readonly type: string;
  /** At most 1,024 bytes. */
  readonly value: string;
}

/** What paired peers tell one another through a signaling server that must not read it. */
export interface SealedMessage {
  /** 16 bytes; an answer repeats its offer's. */
  readonly id: Uint8Array;
  /** Unix seconds at which it was sealed. */
  readonly time: number;
  readonly kind: "offer" | "answer" | "candidate" | "bye";
  readonly candidates: readonly Candidate[];
}

/** Seals `message` from `sender` for one topic; `nonce` is 24 random bytes. */
export function sealMessage(
  options: { secret: Uint8Array; sender: PeerId; topic: string; nonce: Uint8Array },
  message: SealedMessage,
): Uint8Array {
  const content = encodeCbor(
    new Map<number, CborValue>([
      [0, message.id],
      [1, message.time],
      [2, message.kind],
      [3, message.candidates.map(({ type, value }) => [type, value])],
    ]),
  );
  const padded = new Uint8Array(Math.ceil((content.length + 1) / PAD_STEP) * PAD_STEP);
  padded.set(content);
  padded[content.length] = 0x80;
  const key = directionKey(options.secret, options.sender);
  return concatBytes(
    options.nonce,
    xchacha20Poly1305.seal(key, options.nonce, utf8(options.topic), padded),
  );
}

/**
 * Opens what `sender` sealed for `topic`. Returns `undefined` for anything that is not exactly
 * that, or not fresh at `now` (Unix seconds): other peers share the topic's server.
 */
export function openSealedMessage(
  options: { secret: Uint8Array; sender: PeerId; topic: string; now: number },
  payload: Uint8Array,
): SealedMessage | undefined {
  if (payload.length < NONCE_LENGTH + TAG_LENGTH || payload.length > MAX_SEALED_LENGTH) {
    return undefined;
  }
  try {
    const padded = xchacha20Poly1305.open(
      directionKey(options.secret, options.sender),
      payload.subarray(0, NONCE_LENGTH),
      utf8(options.topic),
      payload.subarray(NONCE_LENGTH),
    );
    const message = decodeContent(padded.subarray(0, padded.lastIndexOf(0x80)));
    return Math.abs(options.now - message.time) <= FRESHNESS ? message : undefined;
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}

function directionKey(secret: Uint8Array, sender: PeerId): Uint8Array {
  return hkdfSha256(secret, undefined, concatBytes(utf8("cairn-sealed-v1"), sender.bytes), 32);
}

function decodeContent(bytes: Uint8Array): SealedMessage {
  const map = decodeCborMap(bytes);
  const kind = map.text(2, 16);
  if (kind !== "offer" && kind !== "answer" && kind !== "candidate" && kind !== "bye") {
    throw new ProtocolError("malformed", "Unknown kind of sealed message");
  }
  const candidates = map.array(3, MAX_CANDIDATES).map((entry) => {
    if (!Array.isArray(entry) || entry.length !== 2) {
      throw new ProtocolError("malformed", "Candidate is not a pair");
    }
    const [type, value] = entry;
    if (typeof type !== "string" || typeof value !== "string" || value.length > 1024) {
      throw new ProtocolError("malformed", "Candidate is not a pair of texts");
    }
    return { type, value };
  });
  return { id: map.bytes(0, 16).slice(), time: map.uint(1), kind, candidates };
}

/** Remembers (id, kind) pairs so that a replayed sealed message is dropped; bounded, oldest out. */
export class SeenMessages {
  readonly #seen = new Set<string>();

  constructor(private readonly limit = 4096) {}

  /** True the first time that this message is shown, false afterwards. */
  isNew(message: SealedMessage): boolean {
    const key = `${message.kind} ${message.id.toHex()}`;
    if (this.#seen.has(key)) return false;
    if (this.#seen.size >= this.limit) {
      for (const oldest of this.#seen) {
        this.#seen.delete(oldest);
        break;
      }
    }
    this.#seen.add(key);
    return true;
  }
}
