/**
 * SPAKE2 over the Ed25519 group, in the format of python-spake2 and RustCrypto's `spake2` crate
 * (not RFC 9382: other constants, other transcript).
 */

import { ed25519 } from "@noble/curves/ed25519.js";
import { concatBytes, fromHex } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import { hkdfSha256, sha256 } from "./primitives.ts";

const { Point } = ed25519;
const ORDER = Point.Fn.ORDER;
const EMPTY = new Uint8Array(0);

/** Message length: the side's letter, then a compressed point. */
export const SPAKE2_MESSAGE_LENGTH = 33;

/** Which party: A is the initiator of a pairing, B the responder. */
export type Spake2Side = "A" | "B";

const SIDE_BYTE = { A: 0x41, B: 0x42 } as const;

/** M blinds A's element, N blinds B's: points of unknown discrete logarithm, from the seeds "M", "N". */
const BLINDING = {
  A: Point.fromBytes(fromHex("15cfd18e385952982b6a8f8c7854963b58e34388c8e6dae891db756481a02312")),
  B: Point.fromBytes(fromHex("f04f2e7eb734b2a8f8b472eaf9c3c632576ac64aea650b496a8a20ff00e583c3")),
} as const;

/**
 * One run of the exchange. Both sides that know the same password get the same key; a wrong
 * password shows only in the key, so the protocol above confirms it. BigInt arithmetic is not
 * constant in time: limit the attempts.
 */
export class Spake2 {
  /** What to send to the other side, 33 bytes. */
  readonly message: Uint8Array;
  readonly #side: Spake2Side;
  readonly #scalar: bigint;
  readonly #passwordScalar: bigint;
  readonly #transcriptStart: Uint8Array;
  #finished = false;

  private constructor(
    side: Spake2Side,
    scalar: bigint,
    passwordScalar: bigint,
    transcriptStart: Uint8Array,
  ) {
    this.#side = side;
    this.#scalar = scalar;
    this.#passwordScalar = passwordScalar;
    this.#transcriptStart = transcriptStart;
    const element = Point.BASE.multiply(scalar).add(BLINDING[side].multiply(passwordScalar));
    this.message = concatBytes(Uint8Array.of(SIDE_BYTE[side]), element.toBytes());
  }

  /**
   * @param idA Identity of side A, the same bytes on both sides; `idB` likewise.
   * @param randomScalarBytes 64 fresh random bytes, read little-endian and reduced modulo the group
   * order. A test that needs a known scalar gives it padded with zeros.
   */
  static start(
    side: Spake2Side,
    password: Uint8Array,
    idA: Uint8Array,
    idB: Uint8Array,
    randomScalarBytes: Uint8Array,
  ): Spake2 {
    if (randomScalarBytes.length !== 64) throw new RangeError("Scalar needs 64 random bytes");
    const scalar = bigEndian(randomScalarBytes.toReversed()) % ORDER;
    if (scalar === 0n) throw new RangeError("Scalar must not be zero");
    const passwordScalar = bigEndian(hkdfSha256(password, EMPTY, "SPAKE2 pw", 48)) % ORDER;
    return new Spake2(
      side,
      scalar,
      passwordScalar,
      concatBytes(sha256(password), sha256(idA), sha256(idB)),
    );
  }

  /**
   * Takes the other side's message and returns the shared key, 32 bytes. Once only: a second guess
   * needs a second exchange.
   *
   * @throws {ProtocolError} `malformed` on a wrong length, side or encoding, `weak-key` on a point
   * outside the prime-order group.
   */
  finish(remoteMessage: Uint8Array): Uint8Array {
    if (this.#finished) throw new TypeError("SPAKE2 exchange is already finished");
    this.#finished = true;
    const remoteSide = this.#side === "A" ? "B" : "A";
    if (remoteMessage.length !== SPAKE2_MESSAGE_LENGTH) {
      throw new ProtocolError("malformed", "SPAKE2 message is not 33 bytes long");
    }
    if (remoteMessage[0] !== SIDE_BYTE[remoteSide]) {
      throw new ProtocolError("malformed", "SPAKE2 message is not from the other side");
    }
    const remoteElement = decodeElement(remoteMessage.subarray(1));
    const unblinded = remoteElement.subtract(BLINDING[remoteSide].multiply(this.#passwordScalar));
    if (unblinded.is0()) throw new ProtocolError("weak-key", "SPAKE2 element is the identity");
    const shared = unblinded.multiply(this.#scalar);
    const own = this.message.subarray(1);
    const remote = remoteMessage.subarray(1);
    const [x, y] = this.#side === "A" ? [own, remote] : [remote, own];
    return sha256(this.#transcriptStart, x, y, shared.toBytes());
  }
}

function decodeElement(bytes: Uint8Array): InstanceType<typeof Point> {
  let point: InstanceType<typeof Point>;
  try {
    point = Point.fromBytes(bytes);
  } catch (cause) {
    throw new ProtocolError("malformed", "SPAKE2 element is not a point", { cause });
  }
  if (point.isSmallOrder() || !point.isTorsionFree()) {
    throw new ProtocolError("weak-key", "SPAKE2 element is outside the prime-order group");
  }
  return point;
}

function bigEndian(bytes: Uint8Array): bigint {
  return BigInt("0x" + bytes.toHex());
}
