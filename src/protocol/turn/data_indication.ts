import { readU32, writeU16 } from "../../base/bytes.ts";
import type { AddressFamily, AddressWords } from "../../base/endpoint.ts";
import { AttributeType } from "../stun/attributes.ts";
import {
  HEADER_LENGTH,
  MAGIC_COOKIE,
  MessageClass,
  messageType,
  Method,
  padded,
} from "../stun/message.ts";

const DATA_INDICATION = messageType(Method.Data, MessageClass.Indication);
const MAX_MESSAGE_LENGTH = 0xfffc;
const COOKIE = MAGIC_COOKIE | 0;
const COOKIE_PORT = MAGIC_COOKIE >>> 16;

/** Writes Data indications (RFC 8656 section 11.3) around data that stays where it lies. */
export class DataIndications {
  /**
   * The transaction id: 64 random bits and a count. Nobody answers an indication, so there is
   * nothing to be gained by guessing the next one.
   */
  readonly #id0: number;
  readonly #id1: number;
  #id2 = 0;

  /** `idSeed` is 8 random bytes. */
  constructor(idSeed: Uint8Array) {
    this.#id0 = readU32(idSeed, 0) | 0;
    this.#id1 = readU32(idSeed, 4) | 0;
  }

  /**
   * Writes everything that goes before and behind the `length` bytes of data at `offset`. Returns
   * where the message begins, or -1 when it would be too long.
   */
  write(
    buffer: Uint8Array,
    offset: number,
    length: number,
    family: AddressFamily,
    from: AddressWords,
  ): number {
    const v4 = family === 4;
    const addressLength = v4 ? 8 : 20;
    const messageLength = 4 + addressLength + 4 + padded(length);
    if (messageLength > MAX_MESSAGE_LENGTH) return -1;
    const start = offset - (HEADER_LENGTH + 4 + addressLength + 4);
    const id2 = this.#id2 = this.#id2 + 1 | 0;
    writeU16(buffer, start, DATA_INDICATION);
    writeU16(buffer, start + 2, messageLength);
    writeI32(buffer, start + 4, COOKIE);
    writeI32(buffer, start + 8, this.#id0);
    writeI32(buffer, start + 12, this.#id1);
    writeI32(buffer, start + 16, id2);
    writeU16(buffer, start + 20, AttributeType.XorPeerAddress);
    writeU16(buffer, start + 22, addressLength);
    writeU16(buffer, start + 24, v4 ? 1 : 2);
    writeU16(buffer, start + 26, from.port ^ COOKIE_PORT);
    writeI32(buffer, start + 28, from.w0 ^ COOKIE);
    if (!v4) {
      writeI32(buffer, start + 32, from.w1 ^ this.#id0);
      writeI32(buffer, start + 36, from.w2 ^ this.#id1);
      writeI32(buffer, start + 40, from.w3 ^ id2);
    }
    writeU16(buffer, offset - 4, AttributeType.Data);
    writeU16(buffer, offset - 2, length);
    for (let end = offset + length; end < offset + padded(length); end++) buffer[end] = 0;
    return start;
  }
}

function writeI32(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value >>> 24;
  bytes[offset + 1] = value >>> 16;
  bytes[offset + 2] = value >>> 8;
  bytes[offset + 3] = value;
}
