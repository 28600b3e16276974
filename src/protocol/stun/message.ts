/** STUN messages as RFC 8489 section 5 lays them out. */

import { equalSecret, readU16, readU32, u32, writeU16, writeU32 } from "../../base/bytes.ts";
import { AttributeType, isComprehensionRequired } from "./attributes.ts";
import {
  fingerprint,
  type Integrity,
  type IntegrityKind,
  integrityTag,
  TAG_LENGTHS,
} from "./integrity.ts";

export const MAGIC_COOKIE = 0x2112a442;
export const HEADER_LENGTH = 20;
export const TRANSACTION_ID_LENGTH = 12;

/** Methods of RFC 8489 section 18.2 and RFC 8656 section 18.1. */
export const Method = {
  Binding: 0x001,
  Allocate: 0x003,
  Refresh: 0x004,
  Send: 0x006,
  Data: 0x007,
  CreatePermission: 0x008,
  ChannelBind: 0x009,
} as const;

/** The two class bits of a message type. */
export const MessageClass = { Request: 0, Indication: 1, Success: 2, Error: 3 } as const;
export type MessageClass = typeof MessageClass[keyof typeof MessageClass];

/** The 14 bits that a message begins with; `method` has 12. */
export function messageType(method: number, messageClass: MessageClass): number {
  return (method & 0xf80) << 2 | (method & 0x070) << 1 | method & 0x00f |
    (messageClass & 2) << 7 | (messageClass & 1) << 4;
}

/** An attribute of a message to be written: its type and its value without padding. */
export type Attribute = readonly [type: number, value: Uint8Array];

/** A received message. Everything it returns is a view on the bytes that it was decoded from. */
export class StunMessage {
  readonly bytes: Uint8Array;
  readonly method: number;
  readonly messageClass: MessageClass;
  readonly hasFingerprint: boolean;
  /** Types and places of the attributes that count, in order. */
  readonly #attributes: readonly AttributePlace[];
  readonly #integrity: Readonly<Partial<Record<IntegrityKind, AttributePlace>>>;

  /** For {@linkcode decodeStunMessage}. */
  constructor(bytes: Uint8Array, attributes: HonouredAttributes) {
    const type = readU16(bytes, 0);
    this.bytes = bytes;
    this.method = type >>> 2 & 0xf80 | type >>> 1 & 0x070 | type & 0x00f;
    this.messageClass = messageClassOf(type);
    this.#attributes = attributes.places;
    this.#integrity = attributes.integrity;
    this.hasFingerprint = attributes.hasFingerprint;
  }

  /** 12 bytes. */
  get transactionId(): Uint8Array {
    return this.bytes.subarray(8, HEADER_LENGTH);
  }

  /** The value of the first attribute of this type: repetitions do not count (section 14). */
  get(type: number): Uint8Array | undefined {
    for (const place of this.#attributes) if (place.type === type) return this.#value(place);
    return undefined;
  }

  /** The values of all attributes of a type that may be repeated, such as XOR-PEER-ADDRESS. */
  all(type: number): Uint8Array[] {
    return this.#attributes.filter((place) => place.type === type).map((place) =>
      this.#value(place)
    );
  }

  has(type: number): boolean {
    return this.#attributes.some((place) => place.type === type);
  }

  /** Types that must be understood and are not in `known`, each once. */
  unknownAttributes(known: ReadonlySet<number>): number[] {
    const unknown = new Set<number>();
    for (const { type } of this.#attributes) {
      if (isComprehensionRequired(type) && !known.has(type)) unknown.add(type);
    }
    return [...unknown];
  }

  /** The integrity attribute to verify: the stronger one where there are both (section 9.2.4). */
  get integrityKind(): IntegrityKind | undefined {
    if (this.#integrity.sha256 !== undefined) return "sha256";
    return this.#integrity.sha1 === undefined ? undefined : "sha1";
  }

  /** Whether the attribute of `integrity.kind` is there and made with this key. */
  verify(integrity: Integrity): boolean {
    const place = this.#integrity[integrity.kind];
    if (place === undefined || place.length !== TAG_LENGTHS[integrity.kind]) return false;
    const tag = integrityTag(integrity, this.bytes, place.offset - 4);
    return equalSecret(tag, this.#value(place));
  }

  #value({ offset, length }: AttributePlace): Uint8Array {
    return this.bytes.subarray(offset, offset + length);
  }
}

/**
 * Reads one message that fills `bytes`. `undefined` on anything malformed, a wrong FINGERPRINT
 * included: nobody is to be answered then.
 */
export function decodeStunMessage(bytes: Uint8Array): StunMessage | undefined {
  if (bytes.length < HEADER_LENGTH || bytes[0]! > 0x3f) return undefined;
  if (readU32(bytes, 4) !== MAGIC_COOKIE) return undefined;
  const length = readU16(bytes, 2);
  if (length % 4 !== 0 || length !== bytes.length - HEADER_LENGTH) return undefined;
  const attributes = honouredAttributes(bytes);
  return attributes && new StunMessage(bytes, attributes);
}

/** What a message is made of. */
export interface StunMessageParts {
  readonly method: number;
  readonly messageClass: MessageClass;
  /** 12 bytes. */
  readonly transactionId: Uint8Array;
  readonly attributes: readonly Attribute[];
  readonly integrity?: Integrity | undefined;
  readonly fingerprint?: boolean | undefined;
}

/** @throws {RangeError} when the transaction id has a wrong length or the message is too long. */
export function encodeStunMessage(parts: StunMessageParts): Uint8Array<ArrayBuffer> {
  const { method, messageClass, transactionId, attributes, integrity } = parts;
  if (transactionId.length !== TRANSACTION_ID_LENGTH) {
    throw new RangeError("Cannot encode a transaction id that is not 12 bytes long");
  }
  let signed = HEADER_LENGTH;
  for (const [, value] of attributes) signed += 4 + padded(value.length);
  const tagged = signed + (integrity === undefined ? 0 : 4 + TAG_LENGTHS[integrity.kind]);
  const total = tagged + (parts.fingerprint ? 8 : 0);
  if (total - HEADER_LENGTH > 0xffff) throw new RangeError("Cannot encode a message so long");
  const bytes = new Uint8Array(total);
  writeU16(bytes, 0, messageType(method, messageClass));
  writeU16(bytes, 2, total - HEADER_LENGTH);
  writeU32(bytes, 4, MAGIC_COOKIE);
  bytes.set(transactionId, 8);
  let offset = HEADER_LENGTH;
  for (const [type, value] of attributes) offset = writeAttribute(bytes, offset, type, value);
  if (integrity !== undefined) {
    const tag = integrityTag(integrity, bytes, signed);
    writeAttribute(bytes, signed, INTEGRITY_TYPES[integrity.kind], tag);
  }
  if (parts.fingerprint) {
    const value = u32(fingerprint(bytes, 0, tagged));
    writeAttribute(bytes, tagged, AttributeType.Fingerprint, value);
  }
  return bytes;
}

/** Length with the zeros that fill the last four bytes. */
export function padded(length: number): number {
  return length + 3 & ~3;
}

const INTEGRITY_TYPES: Readonly<Record<IntegrityKind, number>> = {
  sha1: AttributeType.MessageIntegrity,
  sha256: AttributeType.MessageIntegritySha256,
};

interface AttributePlace {
  readonly type: number;
  /** Where the value begins. */
  readonly offset: number;
  readonly length: number;
}

interface HonouredAttributes {
  readonly places: readonly AttributePlace[];
  readonly integrity: Readonly<Partial<Record<IntegrityKind, AttributePlace>>>;
  readonly hasFingerprint: boolean;
}

/**
 * The attributes that count: none behind an integrity attribute but the other one and FINGERPRINT
 * (sections 14.5 and 14.6), and FINGERPRINT only in the last place.
 */
function honouredAttributes(bytes: Uint8Array): HonouredAttributes | undefined {
  const places: AttributePlace[] = [];
  const integrity: Partial<Record<IntegrityKind, AttributePlace>> = {};
  for (let offset = HEADER_LENGTH; offset < bytes.length;) {
    const type = readU16(bytes, offset);
    const place = { type, offset: offset + 4, length: readU16(bytes, offset + 2) };
    const end = place.offset + padded(place.length);
    if (end > bytes.length) return undefined;
    if (type === AttributeType.Fingerprint) {
      const isRight = place.length === 4 && end === bytes.length &&
        (readU32(bytes, place.offset) | 0) === fingerprint(bytes, 0, offset);
      return isRight ? { places, integrity, hasFingerprint: true } : undefined;
    }
    if (type === AttributeType.MessageIntegritySha256) integrity.sha256 ??= place;
    else if (integrity.sha256 === undefined) {
      if (type === AttributeType.MessageIntegrity) integrity.sha1 ??= place;
      else if (integrity.sha1 === undefined) places.push(place);
    }
    offset = end;
  }
  return { places, integrity, hasFingerprint: false };
}

function messageClassOf(type: number): MessageClass {
  if ((type & 0x100) === 0) {
    return (type & 0x010) === 0 ? MessageClass.Request : MessageClass.Indication;
  }
  return (type & 0x010) === 0 ? MessageClass.Success : MessageClass.Error;
}

function writeAttribute(bytes: Uint8Array, offset: number, type: number, value: Uint8Array) {
  writeU16(bytes, offset, type);
  writeU16(bytes, offset + 2, value.length);
  bytes.set(value, offset + 4);
  return offset + 4 + padded(value.length);
}
