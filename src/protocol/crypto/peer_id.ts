import { base58 } from "@scure/base";
import { sha256 } from "@noble/hashes/sha2.js";
import { concatBytes, toHex } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";

/** Multihash prefix: sha2-256, 32 bytes. */
const PREFIX = Uint8Array.of(0x12, 0x20);
const PREFIX_HEX = "1220";
const LENGTH = 34;
/** Ids last read that are kept, because base58 takes longer than all else about a message's. */
const MAX_KNOWN = 1_024;

/**
 * Names a peer: the multihash of SHA-256 over its Ed25519 identity public key, 34 bytes, written in
 * base58 (46 characters, beginning with `Qm`).
 */
export class PeerId {
  static readonly #known = new Map<string, PeerId>();
  /** The multihash, 34 bytes. */
  readonly bytes: Uint8Array;
  readonly #text: string;

  private constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#text = base58.encode(bytes);
  }

  /** The id of the peer that owns `publicKey` (Ed25519, 32 bytes). */
  static ofPublicKey(publicKey: Uint8Array): PeerId {
    return new PeerId(concatBytes(PREFIX, sha256(publicKey)));
  }

  /** Reads the 34 bytes. @throws {ProtocolError} `malformed` unless they are a sha2-256 multihash. */
  static fromBytes(bytes: Uint8Array): PeerId {
    const hex = bytes.length === LENGTH ? toHex(bytes) : "";
    const known = PeerId.#known.get(hex);
    if (known !== undefined) return known;
    if (!hex.startsWith(PREFIX_HEX)) {
      throw new ProtocolError("malformed", "Peer ID is not a sha2-256 multihash of 34 bytes");
    }
    const peerId = new PeerId(new Uint8Array(bytes));
    if (PeerId.#known.size >= MAX_KNOWN) {
      for (const oldest of PeerId.#known.keys().take(1)) PeerId.#known.delete(oldest);
    }
    PeerId.#known.set(hex, peerId);
    return peerId;
  }

  /** Reads the base58 form. Returns `undefined` when `text` is not a Peer ID. */
  static parse(text: string): PeerId | undefined {
    if (text.length > 64) return undefined;
    try {
      return PeerId.fromBytes(base58.decode(text.trim()));
    } catch {
      return undefined;
    }
  }

  /** Takes either form. @throws {TypeError} when a text is not a Peer ID. */
  static from(value: PeerId | string): PeerId {
    const peerId = typeof value === "string" ? PeerId.parse(value) : value;
    if (!peerId) throw new TypeError(`Not a Peer ID: "${value}"`);
    return peerId;
  }

  /** Whether both name the same peer. */
  equals(other: PeerId): boolean {
    return this.#text === other.#text;
  }

  /** Base58; also the key under which maps hold this peer. */
  toString(): string {
    return this.#text;
  }

  /** The base58 form, for JSON. */
  toJSON(): string {
    return this.#text;
  }
}
