import { concatBytes, utf8 } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import { type CborMap, decodeCborMap, encodeCbor } from "../cbor.ts";
import type { CborValue } from "../cbor_value.ts";
import type { PeerId } from "../crypto/peer_id.ts";
import { hkdfSha256, xchacha20Poly1305 } from "../crypto/primitives.ts";

const NONCE_LENGTH = 24;
const TAG_LENGTH = 16;
const PAD_STEP = 256;
const MAX_CANDIDATES = 32;
const MAX_RELAYS = 4;
const MAX_SEALED_LENGTH = 16_384;
const MAX_CERTIFICATE_LENGTH = 2_048;
/** Seconds by which a message may be older or newer than the reader's clock. */
const FRESHNESS = 300;

/** One address at which a peer may be reached. */
export interface Candidate {
  /** `ws` for a WebSocket URL; `host`, `srflx` and `relay` for an `ip:port` of UDP. */
  readonly type: string;
  /** At most 1,024 bytes. */
  readonly value: string;
}

/** How the sender's datagrams can be told from those of others. */
export interface PathParameters {
  /** 16 bytes; the offerer's choice, which everything that belongs to the same search repeats. */
  readonly session: Uint8Array;
  /** 16 random bytes, the sender's own: it signs its connectivity checks with them. */
  readonly password: Uint8Array;
  /** X.509 in DER, of the sender's QUIC server if it has one; at most 2,048 bytes. */
  readonly certificate?: Uint8Array;
}

/** A TURN server, and what lets a client in there for a while. */
export interface RelayAccess {
  /** RFC 7065. */
  readonly uri: string;
  readonly username: string;
  readonly password: string;
}

/** What paired peers tell one another through a signaling server that must not read it. */
export interface SealedMessage {
  /** 16 bytes; an answer repeats its offer's. */
  readonly id: Uint8Array;
  /** Unix seconds at which it was sealed. */
  readonly time: number;
  readonly kind: "offer" | "answer" | "candidate" | "bye";
  readonly candidates: readonly Candidate[];
  /** Absent from a sender that does not use datagrams. */
  readonly path?: PathParameters;
  /** Relays that the reader may use; at most four. */
  readonly relays?: readonly RelayAccess[];
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
      ...encodePath(message.path),
      ...(message.relays ? [relayField(message.relays)] : []),
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
  const path = decodePath(map);
  const relays = decodeRelays(map);
  return {
    id: map.bytes(0, 16).slice(),
    time: map.uint(1),
    kind,
    candidates,
    ...(path && { path }),
    ...(relays && { relays }),
  };
}

function encodePath(path: PathParameters | undefined): [number, CborValue][] {
  if (!path) return [];
  const fields: [number, CborValue][] = [[4, path.session], [5, path.password]];
  if (path.certificate) fields.push([6, path.certificate]);
  return fields;
}

function relayField(relays: readonly RelayAccess[]): [number, CborValue] {
  return [7, relays.map(({ uri, username, password }) => [uri, username, password])];
}

function decodePath(map: CborMap): PathParameters | undefined {
  if (!map.has(4)) return undefined;
  return {
    session: map.bytes(4, 16).slice(),
    password: map.bytes(5, 16).slice(),
    ...(map.has(6) && { certificate: map.bytesUpTo(6, MAX_CERTIFICATE_LENGTH).slice() }),
  };
}

function decodeRelays(map: CborMap): RelayAccess[] | undefined {
  if (!map.has(7)) return undefined;
  return map.rows(7, 3, MAX_RELAYS).map((row) => ({
    uri: row.text(0, 512),
    username: row.text(1, 508),
    password: row.text(2, 512),
  }));
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
