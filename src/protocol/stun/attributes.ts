/** STUN and TURN attributes: their numbers and the forms of their values. */

import type { AddressPort } from "../../base/address.ts";
import {
  concatBytes,
  fromUtf8,
  readU16,
  readU32,
  u16,
  u32,
  utf8,
  writeU16,
} from "../../base/bytes.ts";
import type { AddressFamily } from "../../base/endpoint.ts";
import type { PasswordAlgorithm } from "./integrity.ts";

/** Numbers of RFC 8489 section 18.3 and RFC 8656 section 18.2. */
export const AttributeType = {
  MappedAddress: 0x0001,
  Username: 0x0006,
  MessageIntegrity: 0x0008,
  ErrorCode: 0x0009,
  UnknownAttributes: 0x000a,
  ChannelNumber: 0x000c,
  Lifetime: 0x000d,
  XorPeerAddress: 0x0012,
  Data: 0x0013,
  Realm: 0x0014,
  Nonce: 0x0015,
  XorRelayedAddress: 0x0016,
  RequestedAddressFamily: 0x0017,
  EvenPort: 0x0018,
  RequestedTransport: 0x0019,
  DontFragment: 0x001a,
  MessageIntegritySha256: 0x001c,
  PasswordAlgorithm: 0x001d,
  UserHash: 0x001e,
  XorMappedAddress: 0x0020,
  ReservationToken: 0x0022,
  AdditionalAddressFamily: 0x8000,
  AddressErrorCode: 0x8001,
  PasswordAlgorithms: 0x8002,
  AlternateDomain: 0x8003,
  Icmp: 0x8004,
  Software: 0x8022,
  AlternateServer: 0x8023,
  Fingerprint: 0x8028,
} as const;

/** Whether a message may not be processed by who does not know the attribute (section 14). */
export function isComprehensionRequired(type: number): boolean {
  return type < 0x8000;
}

/** The number of UDP in REQUESTED-TRANSPORT. */
export const UDP_PROTOCOL = 17;
/** The most bytes of a USERNAME, REALM or NONCE that is read (RFC 8489 sections 14.3, 14.9, 14.10). */
export const MAX_USERNAME_LENGTH = 508;
export const MAX_TEXT_LENGTH = 763;

const MAX_REASON_CHARACTERS = 127;
const NO_BYTES = new Uint8Array(0);
const COOKIE_BYTES = Uint8Array.of(0x21, 0x12, 0xa4, 0x42);
const FAMILY_CODES: Readonly<Record<AddressFamily, number>> = { 4: 0x01, 6: 0x02 };
const PASSWORD_ALGORITHM_NUMBERS: Readonly<Record<PasswordAlgorithm, number>> = {
  "md5": 1,
  "sha-256": 2,
};

/** XOR-MAPPED-, XOR-PEER- and XOR-RELAYED-ADDRESS (RFC 8489 section 14.2). */
export function encodeXorAddress(
  { address, port }: AddressPort,
  transactionId: Uint8Array,
): Uint8Array {
  const value = new Uint8Array(4 + address.length);
  value[1] = FAMILY_CODES[address.length === 4 ? 4 : 6];
  writeU16(value, 2, port ^ 0x2112);
  mask(address, transactionId, value, 4);
  return value;
}

/** `undefined` unless the family is known and the length is that family's. */
export function decodeXorAddress(
  value: Uint8Array,
  transactionId: Uint8Array,
): AddressPort | undefined {
  const length = value[1] === 0x01 ? 4 : value[1] === 0x02 ? 16 : undefined;
  if (length === undefined || value.length !== 4 + length) return undefined;
  const address = new Uint8Array(length);
  mask(value.subarray(4), transactionId, address, 0);
  return { address, port: readU16(value, 2) ^ 0x2112 };
}

/** An ERROR-CODE (RFC 8489 section 14.8). */
export interface ErrorCode {
  /** 300 to 699. */
  readonly code: number;
  readonly reason: string;
}

/** The reason is cut after 127 characters. */
export function encodeErrorCode({ code, reason }: ErrorCode): Uint8Array {
  const text = reason === ""
    ? NO_BYTES
    : utf8([...reason].slice(0, MAX_REASON_CHARACTERS).join(""));
  const value = new Uint8Array(4 + text.length);
  value[2] = Math.floor(code / 100);
  value[3] = code % 100;
  value.set(text, 4);
  return value;
}

/** `undefined` unless the code lies in 300 to 699; a reason that is not UTF-8 becomes empty. */
export function decodeErrorCode(value: Uint8Array): ErrorCode | undefined {
  if (value.length < 4) return undefined;
  const [hundreds, number] = [value[2]! & 7, value[3]!];
  if (hundreds < 3 || hundreds > 6 || number > 99) return undefined;
  return { code: hundreds * 100 + number, reason: decodeText(value.subarray(4)) ?? "" };
}

/** ADDRESS-ERROR-CODE (RFC 8656 section 18.12): why an allocation has no address of this family. */
export function encodeAddressErrorCode(family: AddressFamily, error: ErrorCode): Uint8Array {
  const value = encodeErrorCode(error);
  value[0] = FAMILY_CODES[family];
  return value;
}

/** UNKNOWN-ATTRIBUTES (RFC 8489 section 14.13). */
export function encodeUnknownAttributes(types: readonly number[]): Uint8Array {
  return concatBytes(...types.map(u16));
}

/** The algorithms of PASSWORD-ALGORITHMS, best first, without parameters (section 14.11). */
export function encodePasswordAlgorithms(algorithms: readonly PasswordAlgorithm[]): Uint8Array {
  return concatBytes(...algorithms.map(encodePasswordAlgorithm));
}

/** PASSWORD-ALGORITHM (RFC 8489 section 14.12): a number and no parameters. */
export function encodePasswordAlgorithm(algorithm: PasswordAlgorithm): Uint8Array {
  return concatBytes(u16(PASSWORD_ALGORITHM_NUMBERS[algorithm]), u16(0));
}

/** `undefined` for an unknown algorithm or one with parameters. */
export function decodePasswordAlgorithm(value: Uint8Array): PasswordAlgorithm | undefined {
  if (value.length !== 4 || readU16(value, 2) !== 0) return undefined;
  switch (readU16(value, 0)) {
    case 1:
      return "md5";
    case 2:
      return "sha-256";
    default:
      return undefined;
  }
}

/** The known algorithms of a PASSWORD-ALGORITHMS in its order; `undefined` when it is malformed. */
export function decodePasswordAlgorithms(value: Uint8Array): PasswordAlgorithm[] | undefined {
  const algorithms: PasswordAlgorithm[] = [];
  for (let offset = 0; offset < value.length;) {
    if (offset + 4 > value.length) return undefined;
    const end = offset + 4 + (readU16(value, offset + 2) + 3 & ~3);
    if (end > value.length) return undefined;
    const algorithm = decodePasswordAlgorithm(value.subarray(offset, end));
    if (algorithm !== undefined) algorithms.push(algorithm);
    offset = end;
  }
  return algorithms;
}

/** REQUESTED- and ADDITIONAL-ADDRESS-FAMILY (RFC 8656 section 18.6). */
export function encodeAddressFamily(family: AddressFamily): Uint8Array {
  return Uint8Array.of(FAMILY_CODES[family], 0, 0, 0);
}

/** `undefined` for an unknown family or a wrong length. */
export function decodeAddressFamily(value: Uint8Array): AddressFamily | undefined {
  if (value.length !== 4) return undefined;
  return value[0] === 0x01 ? 4 : value[0] === 0x02 ? 6 : undefined;
}

/** LIFETIME, seconds. */
export function encodeLifetime(seconds: number): Uint8Array {
  return u32(seconds);
}

/** `undefined` on a wrong length. */
export function decodeLifetime(value: Uint8Array): number | undefined {
  return value.length === 4 ? readU32(value, 0) : undefined;
}

/** CHANNEL-NUMBER (RFC 8656 section 18.1). */
export function encodeChannelNumber(channel: number): Uint8Array {
  return concatBytes(u16(channel), u16(0));
}

/** `undefined` on a wrong length. */
export function decodeChannelNumber(value: Uint8Array): number | undefined {
  return value.length === 4 ? readU16(value, 0) : undefined;
}

/** The text of a USERNAME, REALM, NONCE or SOFTWARE; `undefined` when it is not UTF-8. */
export function decodeText(value: Uint8Array): string | undefined {
  try {
    return fromUtf8(value);
  } catch {
    return undefined;
  }
}

/** Masks an address, or takes its mask away. */
function mask(
  address: Uint8Array,
  transactionId: Uint8Array,
  into: Uint8Array,
  offset: number,
): void {
  for (let i = 0; i < address.length; i++) {
    const pad = i < 4 ? COOKIE_BYTES[i]! : transactionId[i - 4]!;
    into[offset + i] = address[i]! ^ pad;
  }
}
