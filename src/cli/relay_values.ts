/** The kinds of value that only a relay's options have. */

import {
  type AddressPrefix,
  type IpAddress,
  isUnspecified,
  parseIp,
  parsePrefix,
} from "../base/address.ts";
import { parseStaticUser, type StaticUser } from "../protocol/turn/credentials.ts";
import { specialRange } from "../protocol/turn/special_addresses.ts";
import { addressRanges, listOf, type ValueKind } from "./option_values.ts";

const FIRST_PORT = 1_024;
const LAST_PORT = 65_535;

export const users: ValueKind<readonly StaticUser[]> = {
  placeholder: "<user:pass>",
  expected: "user:password, or several separated by commas",
  parse: lines(parseStaticUser),
};

export const secrets: ValueKind<readonly string[]> = {
  placeholder: "<secrets>",
  expected: "a secret of at least one character, or several separated by commas",
  parse: lines((text) => text),
};

export const portRange: ValueKind<{ readonly min: number; readonly max: number }> = {
  placeholder: "<first-last>",
  expected: `a first and a last port from ${FIRST_PORT} to ${LAST_PORT}, as in 49152-65535`,
  parse(text) {
    const [, first, last] = /^(\d{1,5})-(\d{1,5})$/.exec(text) ?? [];
    const [min, max] = [Number(first), Number(last)];
    return min >= FIRST_PORT && min <= max && max <= LAST_PORT ? { min, max } : undefined;
  },
};

/** At most one of each family. */
export const ownAddresses: ValueKind<readonly IpAddress[]> = {
  placeholder: "<addresses>",
  expected: "one IPv4 address, one IPv6 address, or both separated by a comma, neither " +
    "unspecified (0.0.0.0, ::) nor multicast",
  parse(text) {
    const addresses = lines(parseOwnAddress)(text);
    const families = new Set(addresses?.map(({ length }) => length));
    return families.size === addresses?.length ? addresses : undefined;
  },
};

export const prefixes: ValueKind<readonly AddressPrefix[]> = {
  placeholder: "<addresses>",
  expected: addressRanges.expected,
  parse: lines(parsePrefix),
};

const BIT_UNITS = new Map([["", 1], ["k", 1e3], ["m", 1e6], ["g", 1e9]]);

/** Bits a second. */
export const bitRate: ValueKind<number> = {
  placeholder: "<bits>",
  expected: "a number of bits a second, as in 8M, 500k or 8000000; 0 for no bound",
  parse(text) {
    const [, amount, unit = ""] = /^(\d{1,12})([kmg]?)$/i.exec(text) ?? [];
    const bits = Number(amount) * (BIT_UNITS.get(unit.toLowerCase()) ?? NaN);
    return Number.isSafeInteger(bits) ? bits : undefined;
  },
};

function parseOwnAddress(text: string): IpAddress | undefined {
  const address = parseIp(text);
  if (address === undefined || isUnspecified(address)) return undefined;
  return specialRange(address).reach === "never" ? undefined : address;
}

/** Reads what stands between commas and ends of lines. */
function lines<T>(parse: (text: string) => T | undefined) {
  const parseAll = listOf(parse);
  return (text: string) => parseAll(text.replaceAll(/\r?\n/g, ","));
}
