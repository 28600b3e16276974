/**
 * IP addresses as bytes: one spelling is read (RFC 4291 section 2.2, four decimal numbers for
 * IPv4), one is written (RFC 5952). Everything else compares bytes.
 */

import { equalBytes } from "./bytes.ts";

/** 4 bytes of IPv4 or 16 of IPv6, in network order. */
export type IpAddress = Uint8Array;

/** Where a datagram comes from or goes to. */
export interface AddressPort {
  readonly address: IpAddress;
  readonly port: number;
}

/** All addresses that share their first `length` bits with `address`. */
export interface AddressPrefix {
  readonly address: IpAddress;
  readonly length: number;
}

const MAX_PORT = 65_535;
/** `::ffff:0:0/96` of RFC 4291 section 2.5.5.2. */
const MAPPED = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff);

/** Reads an IPv4 or IPv6 address without zone; `undefined` on anything else. */
export function parseIp(text: string): IpAddress | undefined {
  return text.includes(":") ? parseIpv6(text) : parseIpv4(text);
}

/** Writes an address; IPv4-mapped ones as `::ffff:192.0.2.1`. */
export function formatIp(address: IpAddress): string {
  if (address.length === 4) return formatIpv4(address, 0);
  if (startsWith(address, MAPPED)) return `::ffff:${formatIpv4(address, 12)}`;
  const groups = Array.from({ length: 8 }, (_, i) => address[2 * i]! << 8 | address[2 * i + 1]!);
  const [start, length] = longestZeroRun(groups);
  const hex = groups.map((group) => group.toString(16));
  if (length < 2) return hex.join(":");
  return `${hex.slice(0, start).join(":")}::${hex.slice(start + length).join(":")}`;
}

/** The IPv4 address that an IPv4-mapped IPv6 address stands for; any other address as it is. */
export function unmapIp(address: IpAddress): IpAddress {
  return address.length === 16 && startsWith(address, MAPPED) ? address.subarray(12) : address;
}

/** Whether `address` is `0.0.0.0` or `::`. */
export function isUnspecified(address: IpAddress): boolean {
  return address.every((byte) => byte === 0);
}

/** Reads `10.0.0.0/8` or `fd00::/8`; an address alone is a prefix of one. */
export function parsePrefix(text: string): AddressPrefix | undefined {
  const [, spelled = "", bits] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const address = parseIp(spelled);
  if (address === undefined) return undefined;
  const length = bits === undefined ? address.length * 8 : Number(bits);
  return length <= address.length * 8 ? { address, length } : undefined;
}

/** Writes a prefix with zeros behind its length. */
export function formatPrefix(prefix: AddressPrefix): string {
  const address = prefix.address.map((byte, i) => byte & byteMask(prefix.length - 8 * i));
  return `${formatIp(address)}/${prefix.length}`;
}

/** Whether `address` is of the prefix's family and lies in it. */
export function prefixHas({ address: base, length }: AddressPrefix, address: IpAddress): boolean {
  if (base.length !== address.length) return false;
  for (let i = 0; 8 * i < length; i++) {
    if ((base[i]! ^ address[i]!) & byteMask(length - 8 * i)) return false;
  }
  return true;
}

/** Reads `192.0.2.1:3478` or `[2001:db8::1]:3478`; `undefined` on anything else. */
export function parseAddressPort(text: string): AddressPort | undefined {
  const [, v6, v4, digits = ""] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? [];
  const address = v6 === undefined ? parseIpv4(v4 ?? "") : parseIpv6(v6);
  const port = Number(digits);
  return address === undefined || port > MAX_PORT ? undefined : { address, port };
}

/** The form that {@linkcode parseAddressPort} reads. */
export function formatAddressPort({ address, port }: AddressPort): string {
  return address.length === 4 ? `${formatIp(address)}:${port}` : `[${formatIp(address)}]:${port}`;
}

/** Whether both are the same address of the same family and the same port. */
export function equalAddressPort(a: AddressPort, b: AddressPort): boolean {
  return a.port === b.port && equalBytes(a.address, b.address);
}

function parseIpv4(text: string): IpAddress | undefined {
  // A leading zero would make a number octal to some readers and decimal to others.
  if (!/^(?:0|[1-9]\d{0,2})(?:\.(?:0|[1-9]\d{0,2})){3}$/.test(text)) return undefined;
  const bytes = text.split(".").map(Number);
  return bytes.every((byte) => byte <= 255) ? Uint8Array.from(bytes) : undefined;
}

function parseIpv6(text: string): IpAddress | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const [head, tail] = halves.map((half, i) => parseGroups(half, i === halves.length - 1));
  if (head === undefined || (halves.length === 2 && tail === undefined)) return undefined;
  const given = head.length + (tail?.length ?? 0);
  if (tail === undefined ? given !== 16 : given > 14) return undefined;
  const address = new Uint8Array(16);
  address.set(head);
  if (tail !== undefined) address.set(tail, 16 - tail.length);
  return address;
}

/** The bytes of groups between colons; the last may be a dotted IPv4 address. */
function parseGroups(text: string, mayEndDotted: boolean): number[] | undefined {
  if (text === "") return [];
  const bytes: number[] = [];
  const groups = text.split(":");
  for (const [i, group] of groups.entries()) {
    if (group.includes(".")) {
      const dotted = mayEndDotted && i === groups.length - 1 ? parseIpv4(group) : undefined;
      if (dotted === undefined) return undefined;
      bytes.push(...dotted);
    } else if (/^[0-9a-f]{1,4}$/i.test(group)) {
      const value = parseInt(group, 16);
      bytes.push(value >> 8, value & 0xff);
    } else {
      return undefined;
    }
  }
  return bytes;
}

/** The four bytes from `offset` on. */
function formatIpv4(bytes: Uint8Array, offset: number): string {
  return `${bytes[offset]}.${bytes[offset + 1]}.${bytes[offset + 2]}.${bytes[offset + 3]}`;
}

/** The first of the longest runs of zeros. */
function longestZeroRun(groups: readonly number[]): [start: number, length: number] {
  let best: [number, number] = [0, 0];
  let start = 0;
  for (const [i, group] of groups.entries()) {
    if (group !== 0) start = i + 1;
    else if (i + 1 - start > best[1]) best = [start, i + 1 - start];
  }
  return best;
}

/** The mask of the byte in which `bits` bits of a prefix are left. */
function byteMask(bits: number): number {
  if (bits >= 8) return 0xff;
  return bits <= 0 ? 0 : 0xff << (8 - bits) & 0xff;
}

function startsWith(address: IpAddress, start: Uint8Array): boolean {
  return start.every((byte, i) => address[i] === byte);
}
