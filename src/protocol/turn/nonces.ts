import {
  equalSecret,
  fromBase64Url,
  readU32,
  toBase64Url,
  writeU16,
  writeU32,
} from "../../base/bytes.ts";
import { HmacSha256 } from "../crypto/hmac.ts";
import type { Client } from "./client.ts";

/** How long a nonce is taken, milliseconds (RFC 8656 section 5: an hour at most). */
export const NONCE_LIFETIME = 3_600_000;

/**
 * The nonce cookie of RFC 8489 section 9.2 with the features "password algorithms" and "username
 * anonymity". The RFC counts the 24 bits from the left in its text and from the right in its
 * vectors (B.1), and clients do either: `wAAD` is both bits counted both ways.
 */
export const NONCE_COOKIE = "obMatJos2wAAD";

const TIME_LENGTH = 4;
const TAG_LENGTH = 8;
/** Of the time, the transport, the port and the longest address. */
const SOURCE_LENGTH = TIME_LENGTH + 1 + 2 + 16;
/** Milliseconds by which the clocks of threads that share a key may differ. */
const CLOCK_SKEW = 1_000;
const TRANSPORT_NUMBERS = { udp: 0, tcp: 1, tls: 2 } as const;

/** Nonces that need no memory: the time, and a MAC over it and the client's address. */
export class Nonces {
  readonly #hmac: HmacSha256;
  /** What is made at the moment. */
  readonly #made = new Uint8Array(TIME_LENGTH + TAG_LENGTH);
  readonly #source = new Uint8Array(SOURCE_LENGTH);

  /** `key` is 32 random bytes. */
  constructor(key: Uint8Array) {
    this.#hmac = new HmacSha256(key);
  }

  /** A nonce for this client: 29 characters. */
  make(client: Client, now: number): string {
    const time = Math.floor(now / 1000);
    writeU32(this.#made, 0, time);
    this.#made.set(this.#tag(client, time), TIME_LENGTH);
    return NONCE_COOKIE + toBase64Url(this.#made);
  }

  /** Whether this client was given `nonce`, and not too long ago. */
  isValid(nonce: string, client: Client, now: number): boolean {
    if (nonce.length !== NONCE_COOKIE.length + 16 || !nonce.startsWith(NONCE_COOKIE)) return false;
    const value = decode(nonce.slice(NONCE_COOKIE.length));
    if (value === undefined) return false;
    const time = readU32(value, 0);
    const age = now - time * 1000;
    if (age < -CLOCK_SKEW || age >= NONCE_LIFETIME) return false;
    return equalSecret(value.subarray(TIME_LENGTH), this.#tag(client, time));
  }

  #tag({ transport, endpoint: { port, address } }: Client, time: number): Uint8Array {
    const source = this.#source;
    writeU32(source, 0, time);
    source[TIME_LENGTH] = TRANSPORT_NUMBERS[transport];
    writeU16(source, TIME_LENGTH + 1, port);
    source.set(address, TIME_LENGTH + 3);
    const signed = source.subarray(0, TIME_LENGTH + 3 + address.length);
    return this.#hmac.tag(signed).subarray(0, TAG_LENGTH);
  }
}

function decode(text: string): Uint8Array | undefined {
  try {
    return fromBase64Url(text);
  } catch {
    return undefined;
  }
}
