import { concatBytes, utf8 } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import { decodeCborMap, encodeCbor } from "../cbor.ts";
import type { CborValue } from "../cbor_value.ts";
import { type Identity, type LinkCertificate, verifyLinkKey } from "../crypto/identity.ts";
import type { PeerId } from "../crypto/peer_id.ts";
import { type KeyPair } from "../crypto/primitives.ts";
import { type CipherState, NoiseXxHandshake } from "./noise_xx.ts";

/** Longest Noise message (Noise specification, section 3). */
export const MAX_FRAME_LENGTH = 65_535;
/** Longest reassembled envelope on a link with a paired peer. */
export const MAX_ENVELOPE_LENGTH = 1_048_576;
/** Longest envelope on a link whose remote is not paired. */
export const MAX_UNPAIRED_ENVELOPE_LENGTH = 4_096;

const PROLOGUE = utf8("cairn-link/1");
const VERSIONS: readonly number[] = [1];
const TAG_LENGTH = 16;
const MAX_PART_LENGTH = MAX_FRAME_LENGTH - TAG_LENGTH - 1;
const LAST_PART = 0;
const MORE_FOLLOW = 1;
const MAX_CAPABILITIES = 32;
const MAX_VERSIONS = 16;
const NO_PAYLOAD = new Uint8Array(0);
const NO_AAD = new Uint8Array(0);
/** Where a marker and its part meet on their way into a cipher, which keeps nothing of it. */
const PLAINTEXT = new Uint8Array(MAX_FRAME_LENGTH - TAG_LENGTH);

/** What one end brings to a handshake. */
export interface LinkOptions {
  readonly identity: Identity;
  /** The static X25519 key of the link layer, and the identity's certificate for it. */
  readonly linkKey: { readonly pair: KeyPair; readonly certificate: LinkCertificate };
  /** Fresh for each handshake. */
  readonly ephemeralPair: KeyPair;
  readonly capabilities: readonly string[];
  /** The only remote to accept; any other ends the handshake with `wrong-peer`. */
  readonly expectedPeer?: PeerId;
}

/**
 * The three messages of Noise XX with certified static keys. Feed it what the carrier receives and
 * send what it returns. Any error ends it.
 */
export class LinkHandshake {
  readonly #options: LinkOptions;
  readonly #noise: NoiseXxHandshake;
  readonly #initiator: boolean;
  #remote: RemoteProof | undefined;

  constructor(role: "initiator" | "acceptor", options: LinkOptions) {
    this.#options = options;
    this.#initiator = role === "initiator";
    this.#noise = new NoiseXxHandshake({
      initiator: this.#initiator,
      staticPair: options.linkKey.pair,
      ephemeralPair: options.ephemeralPair,
      prologue: PROLOGUE,
    });
  }

  /** The initiator's first message. */
  start(): Uint8Array {
    return this.#noise.writeMessage(NO_PAYLOAD);
  }

  /**
   * Takes the next message of the remote at `now` (Unix milliseconds). `reply` goes back to it;
   * `link` is there as soon as this end may use it.
   *
   * @throws {ProtocolError} when the remote is not who it must be or breaks the handshake.
   */
  receive(message: Uint8Array, now: number): { reply?: Uint8Array; link?: Link } {
    if (this.#initiator) {
      this.#accept(this.#noise.readMessage(message), now);
      const reply = this.#noise.writeMessage(this.#proof());
      return { reply, link: this.#finish() };
    }
    const payload = this.#noise.readMessage(message);
    if (!this.#noise.complete) {
      if (payload.length > 0) {
        throw new ProtocolError("handshake-failed", "First handshake message has a payload");
      }
      return { reply: this.#noise.writeMessage(this.#proof()) };
    }
    this.#accept(payload, now);
    return { link: this.#finish() };
  }

  #proof(): Uint8Array {
    const { linkKey: { certificate }, capabilities } = this.#options;
    return encodeCbor(
      new Map<number, CborValue>([
        [0, certificate.identityKey],
        [1, certificate.signature],
        [2, [...VERSIONS]],
        [3, [...capabilities]],
        [4, certificate.expiry],
      ]),
    );
  }

  #accept(payload: Uint8Array, now: number): void {
    const map = decodeCborMap(payload);
    const certificate = {
      identityKey: map.bytes(0, 32).slice(),
      signature: map.bytes(1, 64).slice(),
      expiry: map.uint(4),
    };
    const peerId = verifyLinkKey(certificate, this.#noise.remoteStatic, now);
    if (this.#options.expectedPeer && !this.#options.expectedPeer.equals(peerId)) {
      throw new ProtocolError(
        "wrong-peer",
        "Another peer answered than the one that was asked for",
      );
    }
    if (peerId.equals(this.#options.identity.peerId)) {
      throw new ProtocolError("wrong-peer", "The remote has this peer's own identity");
    }
    const versions = map.array(2, MAX_VERSIONS).filter((entry) => typeof entry === "number");
    const [first, second] = this.#initiator ? [VERSIONS, versions] : [versions, VERSIONS];
    const version = first.find((candidate) => second.includes(candidate));
    if (version === undefined) {
      throw new ProtocolError("unsupported-version", "No link version in common");
    }
    const capabilities = map.array(3, MAX_CAPABILITIES)
      .filter((entry) => typeof entry === "string");
    this.#remote = {
      peerId,
      identityKey: certificate.identityKey,
      version,
      capabilities: new Set(capabilities),
    };
  }

  #finish(): Link {
    if (!this.#remote) throw new TypeError("Cannot finish: the remote has not proved its identity");
    const { send, receive, handshakeHash } = this.#noise.finish();
    return new Link(this.#remote, handshakeHash, send, receive);
  }
}

/** What a remote proved in its handshake. */
export interface RemoteProof {
  readonly peerId: PeerId;
  readonly identityKey: Uint8Array;
  readonly version: number;
  readonly capabilities: ReadonlySet<string>;
}

/** An established link: envelopes in, frames out, and back. */
export class Link {
  readonly remote: RemoteProof;
  /** Noise handshake hash: channel binding. Public; no secret may be derived from it alone. */
  readonly handshakeHash: Uint8Array;
  /** Largest envelope accepted; the owner raises it once it knows the remote as paired. */
  maxEnvelopeLength = MAX_UNPAIRED_ENVELOPE_LENGTH;
  readonly #send: CipherState;
  readonly #receive: CipherState;
  #parts: Uint8Array[] = [];
  #partsLength = 0;

  constructor(
    remote: RemoteProof,
    handshakeHash: Uint8Array,
    send: CipherState,
    receive: CipherState,
  ) {
    this.remote = remote;
    this.handshakeHash = handshakeHash;
    this.#send = send;
    this.#receive = receive;
  }

  /** Encrypts an encoded envelope into the frames that carry it, in order. */
  seal(envelope: Uint8Array): Uint8Array[] {
    if (envelope.length > MAX_ENVELOPE_LENGTH) {
      throw new RangeError(`Cannot send an envelope of ${envelope.length} bytes`);
    }
    const frames: Uint8Array[] = [];
    let offset = 0;
    do {
      const part = envelope.subarray(offset, offset + MAX_PART_LENGTH);
      offset += part.length;
      const marker = offset < envelope.length ? MORE_FOLLOW : LAST_PART;
      PLAINTEXT[0] = marker;
      PLAINTEXT.set(part, 1);
      frames.push(this.#send.encrypt(NO_AAD, PLAINTEXT.subarray(0, 1 + part.length)));
    } while (offset < envelope.length);
    return frames;
  }

  /**
   * Decrypts one frame; returns the encoded envelope when it was the last part.
   *
   * @throws {ProtocolError} `decryption-failed`, `malformed`, or `too-large`.
   */
  open(frame: Uint8Array): Uint8Array | undefined {
    if (frame.length > MAX_FRAME_LENGTH) {
      throw new ProtocolError("too-large", "Frame longer than a Noise message");
    }
    const plaintext = this.#receive.decrypt(NO_AAD, frame);
    const marker = plaintext[0];
    if (marker !== LAST_PART && marker !== MORE_FOLLOW) {
      throw new ProtocolError("malformed", "Frame without a part marker");
    }
    const part = plaintext.subarray(1);
    if (this.#partsLength + part.length > this.maxEnvelopeLength) {
      throw new ProtocolError("too-large", "Envelope larger than this link allows");
    }
    if (marker === MORE_FOLLOW) {
      if (part.length === 0) throw new ProtocolError("malformed", "Empty part");
      this.#parts.push(part);
      this.#partsLength += part.length;
      return undefined;
    }
    if (this.#parts.length === 0) return part;
    const envelope = concatBytes(...this.#parts, part);
    this.#parts = [];
    this.#partsLength = 0;
    return envelope;
  }
}
