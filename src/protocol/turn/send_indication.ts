import { readU16, readU32 } from "../../base/bytes.ts";
import { type AddressFamily, type AddressWords, Endpoint } from "../../base/endpoint.ts";
import { AttributeType, isComprehensionRequired } from "../stun/attributes.ts";
import { fingerprint } from "../stun/integrity.ts";
import { HEADER_LENGTH, MAGIC_COOKIE, padded } from "../stun/message.ts";

const COOKIE = MAGIC_COOKIE | 0;
const COOKIE_PORT = MAGIC_COOKIE >>> 16;

/**
 * The one Send indication that is being read (RFC 8656 section 11.2), in place: a general decoder
 * would make objects for each packet. What it says holds until the next {@linkcode read}.
 */
export class SendIndication implements AddressWords {
  /** Where the data lies in the buffer. */
  dataOffset = 0;
  dataLength = 0;
  dontFragment = false;
  /** The peer's address. */
  family: AddressFamily = 4;
  port = 0;
  w0 = 0;
  w1 = 0;
  w2 = 0;
  w3 = 0;

  /** Whether `buffer[offset, offset + length)` is a Send indication that may be followed. */
  read(buffer: Uint8Array, offset: number, length: number): boolean {
    if (length < HEADER_LENGTH || (readU32(buffer, offset + 4) | 0) !== COOKIE) return false;
    const end = offset + length;
    if (length % 4 !== 0 || readU16(buffer, offset + 2) !== length - HEADER_LENGTH) return false;
    let hasPeer = false;
    let isSigned = false;
    this.dataOffset = 0;
    this.dontFragment = false;
    for (let at = offset + HEADER_LENGTH; at < end;) {
      const type = readU16(buffer, at);
      const valueLength = readU16(buffer, at + 2);
      const value = at + 4;
      const next = value + padded(valueLength);
      if (next > end) return false;
      if (type === AttributeType.Fingerprint) {
        if (valueLength !== 4 || next !== end) return false;
        if ((readU32(buffer, value) | 0) !== fingerprint(buffer, offset, at)) return false;
      } else if (isIntegrity(type)) {
        isSigned = true;
      } else if (!isSigned) {
        if (type === AttributeType.XorPeerAddress) {
          // Repetitions do not count: what is checked is what is used.
          if (!hasPeer && !this.#readPeer(buffer, offset, value, valueLength)) return false;
          hasPeer = true;
        } else if (type === AttributeType.Data) {
          if (this.dataOffset === 0) {
            this.dataOffset = value;
            this.dataLength = valueLength;
          }
        } else if (type === AttributeType.DontFragment) {
          this.dontFragment = true;
        } else if (isComprehensionRequired(type) && !isPlain(type)) {
          return false;
        }
      }
      at = next;
    }
    return hasPeer && this.dataOffset > 0;
  }

  /** The peer's address, to be kept. */
  endpoint(): Endpoint {
    return Endpoint.fromWords(this, this.family);
  }

  #readPeer(buffer: Uint8Array, message: number, value: number, length: number): boolean {
    const code = buffer[value + 1];
    if (!(code === 1 && length === 8) && !(code === 2 && length === 20)) return false;
    this.family = code === 1 ? 4 : 6;
    this.port = readU16(buffer, value + 2) ^ COOKIE_PORT;
    this.w0 = readU32(buffer, value + 4) ^ COOKIE;
    this.w1 = code === 1 ? 0 : readU32(buffer, value + 8) ^ readU32(buffer, message + 8);
    this.w2 = code === 1 ? 0 : readU32(buffer, value + 12) ^ readU32(buffer, message + 12);
    this.w3 = code === 1 ? 0 : readU32(buffer, value + 16) ^ readU32(buffer, message + 16);
    return true;
  }
}

function isIntegrity(type: number): boolean {
  return type === AttributeType.MessageIntegrity || type === AttributeType.MessageIntegritySha256;
}

/** Attributes that are known, and mean nothing in an indication. */
function isPlain(type: number): boolean {
  return type === AttributeType.Username || type === AttributeType.Realm ||
    type === AttributeType.Nonce || type === AttributeType.Lifetime ||
    type === AttributeType.ChannelNumber;
}
