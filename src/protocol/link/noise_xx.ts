/**
 * Noise_XX_25519_ChaChaPoly_SHA256, Noise Protocol Framework revision 34. Names are the paper's.
 */

import { utf8 } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import {
  chacha20Poly1305,
  hkdfSha256,
  KEY_LENGTH,
  type KeyPair,
  sha256,
  TAG_LENGTH,
  x25519,
} from "../crypto/primitives.ts";

/** The longest Noise message, handshake or transport (section 3). */
export const MAX_NOISE_MESSAGE = 65_535;

/** Exactly HASHLEN bytes, so it is the initial hash as it stands (section 5.2). */
const PROTOCOL_NAME = utf8("Noise_XX_25519_ChaChaPoly_SHA256");
const EMPTY = new Uint8Array(0);

type Token = "e" | "s" | "ee" | "es" | "se";

/** The XX pattern (section 7.5); the initiator writes the even messages. */
const XX: readonly (readonly Token[])[] = [["e"], ["e", "ee", "s", "es"], ["s", "se"]];

/** One direction of an established link: a key and a counter that is never reused (section 5.1). */
export class CipherState {
  readonly #key: Uint8Array;
  #nonce: number;

  constructor(key: Uint8Array, nonce = 0) {
    this.#key = key;
    this.#nonce = nonce;
  }

  /** @throws {RangeError} beyond 65,519 bytes of plaintext, or when the counter is used up. */
  encrypt(aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    if (plaintext.length > MAX_NOISE_MESSAGE - TAG_LENGTH) {
      throw new RangeError("Plaintext does not fit into a Noise message");
    }
    const ciphertext = chacha20Poly1305.seal(this.#key, this.#nonceBytes(), aad, plaintext);
    this.#nonce++;
    return ciphertext;
  }

  /** @throws {ProtocolError} `decryption-failed`; the counter then stays where it was. */
  decrypt(aad: Uint8Array, ciphertext: Uint8Array): Uint8Array {
    if (ciphertext.length > MAX_NOISE_MESSAGE) {
      throw new ProtocolError("decryption-failed", "Noise message is longer than 65,535 bytes");
    }
    const plaintext = chacha20Poly1305.open(this.#key, this.#nonceBytes(), aad, ciphertext);
    this.#nonce++;
    return plaintext;
  }

  /** 32 zero bits, then the counter as 64 bits little-endian (section 12.3). */
  #nonceBytes(): Uint8Array {
    if (this.#nonce >= Number.MAX_SAFE_INTEGER) throw new RangeError("Noise nonces are used up");
    const bytes = new Uint8Array(12);
    const view = new DataView(bytes.buffer);
    view.setUint32(4, this.#nonce % 2 ** 32, true);
    view.setUint32(8, Math.floor(this.#nonce / 2 ** 32), true);
    return bytes;
  }
}

/** Section 5.2. */
class SymmetricState {
  #chainingKey: Uint8Array = PROTOCOL_NAME;
  #hash: Uint8Array = PROTOCOL_NAME;
  #cipher: CipherState | undefined;

  get hash(): Uint8Array {
    return this.#hash;
  }

  get hasKey(): boolean {
    return this.#cipher !== undefined;
  }

  mixHash(data: Uint8Array): void {
    this.#hash = sha256(this.#hash, data);
  }

  mixKey(inputKeyMaterial: Uint8Array): void {
    const output = hkdfSha256(inputKeyMaterial, this.#chainingKey, EMPTY, 2 * KEY_LENGTH);
    this.#chainingKey = output.slice(0, KEY_LENGTH);
    this.#cipher = new CipherState(output.slice(KEY_LENGTH));
  }

  encryptAndHash(plaintext: Uint8Array): Uint8Array {
    const ciphertext = this.#cipher?.encrypt(this.#hash, plaintext) ?? plaintext;
    this.mixHash(ciphertext);
    return ciphertext;
  }

  decryptAndHash(ciphertext: Uint8Array): Uint8Array {
    const plaintext = this.#cipher?.decrypt(this.#hash, ciphertext) ?? ciphertext;
    this.mixHash(ciphertext);
    return plaintext;
  }

  split(): [CipherState, CipherState] {
    const output = hkdfSha256(EMPTY, this.#chainingKey, EMPTY, 2 * KEY_LENGTH);
    return [
      new CipherState(output.slice(0, KEY_LENGTH)),
      new CipherState(output.slice(KEY_LENGTH)),
    ];
  }
}

/** What a handshake needs from outside. The ephemeral pair is fresh for each handshake. */
export interface NoiseXxOptions {
  readonly initiator: boolean;
  readonly staticPair: KeyPair;
  readonly ephemeralPair: KeyPair;
  /** Both sides must hash the same prologue. */
  readonly prologue: Uint8Array;
}

/** What a completed handshake leaves. */
export interface NoiseXxResult {
  readonly send: CipherState;
  readonly receive: CipherState;
  /** 32 bytes that name this session, for channel binding (section 11.2). Public. */
  readonly handshakeHash: Uint8Array;
}

/**
 * One side of an XX handshake: initiator write, read, write; responder read, write, read. A call
 * out of turn is a `TypeError` and changes nothing; after any other error the handshake is dead.
 */
export class NoiseXxHandshake {
  readonly #initiator: boolean;
  readonly #staticPair: KeyPair;
  readonly #ephemeralPair: KeyPair;
  readonly #symmetric = new SymmetricState();
  #remoteStatic: Uint8Array | undefined;
  #remoteEphemeral: Uint8Array | undefined;
  /** Index into the pattern of the message that comes next. */
  #next = 0;
  #ended = false;

  constructor(options: NoiseXxOptions) {
    this.#initiator = options.initiator;
    this.#staticPair = options.staticPair;
    this.#ephemeralPair = options.ephemeralPair;
    this.#symmetric.mixHash(options.prologue);
  }

  /** Whether all three messages have passed. */
  get complete(): boolean {
    return this.#next === XX.length;
  }

  /** The remote's static key, 32 bytes: proven once the message that carried it was read. */
  get remoteStatic(): Uint8Array {
    if (this.#remoteStatic === undefined) throw new TypeError("Remote static key is not known yet");
    return this.#remoteStatic;
  }

  /**
   * Makes the next message around `payload`. The payload of the first message is in clear.
   *
   * @throws {RangeError} when the message would exceed 65,535 bytes.
   * @throws {ProtocolError} `handshake-failed` when the remote's ephemeral key is of small order.
   */
  writeMessage(payload: Uint8Array): Uint8Array {
    return this.#inTurn(true, (tokens) => {
      const message = new Uint8Array(messageOverhead(tokens, this.#symmetric) + payload.length);
      if (message.length > MAX_NOISE_MESSAGE) {
        throw new RangeError("Payload does not fit into a Noise message");
      }
      let offset = 0;
      const append = (part: Uint8Array) => {
        message.set(part, offset);
        offset += part.length;
      };
      for (const token of tokens) {
        if (token === "e") {
          append(this.#ephemeralPair.publicKey);
          this.#symmetric.mixHash(this.#ephemeralPair.publicKey);
        } else if (token === "s") {
          append(this.#symmetric.encryptAndHash(this.#staticPair.publicKey));
        } else {
          this.#mixDh(token);
        }
      }
      append(this.#symmetric.encryptAndHash(payload));
      return message;
    });
  }

  /**
   * Reads the remote's next message and returns its payload.
   *
   * @throws {ProtocolError} `handshake-failed`.
   */
  readMessage(message: Uint8Array): Uint8Array {
    return this.#inTurn(false, (tokens) => {
      if (
        message.length > MAX_NOISE_MESSAGE ||
        message.length < messageOverhead(tokens, this.#symmetric)
      ) {
        throw new ProtocolError("malformed", "Noise message has an impossible length");
      }
      let offset = 0;
      const take = (length: number) => message.slice(offset, offset += length);
      for (const token of tokens) {
        if (token === "e") {
          this.#remoteEphemeral = take(KEY_LENGTH);
          this.#symmetric.mixHash(this.#remoteEphemeral);
        } else if (token === "s") {
          const length = this.#symmetric.hasKey ? KEY_LENGTH + TAG_LENGTH : KEY_LENGTH;
          this.#remoteStatic = this.#symmetric.decryptAndHash(take(length));
        } else {
          this.#mixDh(token);
        }
      }
      return this.#symmetric.decryptAndHash(message.slice(offset));
    });
  }

  /** Splits into the two directions. Once only: the handshake is used up by it. */
  finish(): NoiseXxResult {
    if (!this.complete || this.#ended) throw new TypeError("Noise handshake cannot be finished");
    this.#ended = true;
    const [fromInitiator, fromResponder] = this.#symmetric.split();
    return {
      send: this.#initiator ? fromInitiator : fromResponder,
      receive: this.#initiator ? fromResponder : fromInitiator,
      handshakeHash: this.#symmetric.hash,
    };
  }

  #inTurn(writing: boolean, step: (tokens: readonly Token[]) => Uint8Array): Uint8Array {
    const tokens = XX[this.#next];
    const ourTurn = (this.#next % 2 === 0) === this.#initiator;
    if (this.#ended || tokens === undefined || writing !== ourTurn) {
      throw new TypeError(`Noise handshake cannot ${writing ? "write" : "read"} a message now`);
    }
    try {
      const result = step(tokens);
      this.#next++;
      return result;
    } catch (cause) {
      this.#ended = true;
      this.#remoteStatic = undefined;
      if (!(cause instanceof ProtocolError)) throw cause;
      throw new ProtocolError("handshake-failed", `Noise handshake failed: ${cause.message}`, {
        cause,
      });
    }
  }

  /** The first letter is the initiator's key, the second the responder's (section 7.1). */
  #mixDh(token: "ee" | "es" | "se"): void {
    const ownLetter = token[this.#initiator ? 0 : 1];
    const remoteLetter = token[this.#initiator ? 1 : 0];
    const own = ownLetter === "e" ? this.#ephemeralPair : this.#staticPair;
    const remote = remoteLetter === "e" ? this.#remoteEphemeral : this.#remoteStatic;
    if (remote === undefined) throw new TypeError("Noise pattern uses a key before it was read");
    this.#symmetric.mixKey(x25519(own.secret, remote));
  }
}

/** Bytes of a message beside its payload. */
function messageOverhead(tokens: readonly Token[], symmetric: SymmetricState): number {
  let keyed = symmetric.hasKey;
  let length = 0;
  for (const token of tokens) {
    if (token === "e") length += KEY_LENGTH;
    else if (token === "s") length += KEY_LENGTH + (keyed ? TAG_LENGTH : 0);
    else keyed = true;
  }
  return length + (keyed ? TAG_LENGTH : 0);
}
