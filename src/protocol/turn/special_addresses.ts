/**
 * What addresses are for: the IANA special-purpose registries (RFC 6890), multicast, and the forms
 * of IPv6 addresses that carry an IPv4 address.
 */

import { type AddressPrefix, type IpAddress, parsePrefix, prefixHas } from "../../base/address.ts";

/** What a range of addresses is for. */
export interface SpecialRange {
  readonly prefix: AddressPrefix;
  /**
   * `global`: may be reached over the internet; `local`: only where an operator opens it; `never`:
   * no peer can have such an address, or RFC 8656 section 21.4 forbids it.
   */
  readonly reach: "global" | "local" | "never";
  /** Completes "the address is …". */
  readonly is: string;
}

/** An IPv4 address in an IPv6 one. */
interface Embedding {
  readonly prefix: AddressPrefix;
  readonly ipv4: (address: IpAddress) => IpAddress | undefined;
}

const last = (address: IpAddress) => address.subarray(12);

/** Every form in which an IPv6 address means an IPv4 one to some stack or gateway. */
const EMBEDDINGS: readonly Embedding[] = [
  { prefix: prefix("::ffff:0:0/96"), ipv4: last },
  { prefix: prefix("::ffff:0:0:0/96"), ipv4: last },
  // `::` and `::1` have meanings of their own.
  { prefix: prefix("::/127"), ipv4: () => undefined },
  { prefix: prefix("::/96"), ipv4: last },
  { prefix: prefix("64:ff9b::/96"), ipv4: last },
  { prefix: prefix("64:ff9b:1::/48"), ipv4: last },
  { prefix: prefix("2002::/16"), ipv4: (address) => address.subarray(2, 6) },
  { prefix: prefix("2001::/32"), ipv4: (address) => last(address).map((byte) => byte ^ 0xff) },
];

const RANGES: readonly SpecialRange[] = [
  range("0.0.0.0/0", "global", "a public address"),
  range("0.0.0.0/8", "never", "of this host on this network (RFC 791)"),
  range("10.0.0.0/8", "local", "private (RFC 1918)"),
  range("100.64.0.0/10", "local", "shared by the customers of a provider (RFC 6598)"),
  range("127.0.0.0/8", "local", "loopback (RFC 1122)"),
  range("169.254.0.0/16", "local", "link-local (RFC 3927), as the metadata of clouds is"),
  range("172.16.0.0/12", "local", "private (RFC 1918)"),
  range("192.0.0.0/24", "local", "for protocols (RFC 6890)"),
  range("192.0.2.0/24", "local", "for documentation (RFC 5737)"),
  range("192.88.99.0/24", "local", "a gateway to 6to4 (RFC 7526)"),
  range("192.168.0.0/16", "local", "private (RFC 1918)"),
  range("198.18.0.0/15", "local", "for benchmarks (RFC 2544)"),
  range("198.51.100.0/24", "local", "for documentation (RFC 5737)"),
  range("203.0.113.0/24", "local", "for documentation (RFC 5737)"),
  range("224.0.0.0/4", "never", "multicast (RFC 5771)"),
  range("240.0.0.0/4", "local", "reserved (RFC 1112)"),
  range("255.255.255.255/32", "never", "broadcast (RFC 919)"),

  range("::/0", "local", "not of the global unicast range 2000::/3 (RFC 4291)"),
  range("2000::/3", "global", "a public address"),
  range("::/96", "never", "IPv4-compatible (RFC 4291), which nothing on the wire may be"),
  range("::/128", "never", "unspecified (RFC 4291)"),
  range("::1/128", "local", "loopback (RFC 4291)"),
  range("::ffff:0:0/96", "never", "IPv4-mapped (RFC 4291), which nothing on the wire may be"),
  range("::ffff:0:0:0/96", "never", "IPv4-translated (RFC 2765), which nothing uses any more"),
  range("64:ff9b::/96", "global", "behind NAT64 (RFC 6052)"),
  range("64:ff9b:1::/48", "local", "behind a NAT64 of this network (RFC 8215)"),
  range("100::/64", "local", "to be discarded (RFC 6666)"),
  range("2001::/23", "local", "for protocols (RFC 2928)"),
  range("2001::/32", "never", "Teredo (RFC 4380)"),
  range("2001:db8::/32", "local", "for documentation (RFC 3849)"),
  range("2002::/16", "never", "6to4 (RFC 3056)"),
  range("3fff::/20", "local", "for documentation (RFC 9637)"),
  range("fc00::/7", "local", "unique local (RFC 4193)"),
  range("fe80::/10", "local", "link-local (RFC 4291)"),
  range("fec0::/10", "local", "site-local (RFC 3879)"),
  range("ff00::/8", "never", "multicast (RFC 4291)"),
];

/** From the longest prefix to the shortest, so that the first one that matches is the closest. */
const CLOSEST_FIRST = RANGES.toSorted((a, b) => b.prefix.length - a.prefix.length);

/** The smallest range of the registries that `address` lies in. */
export function specialRange(address: IpAddress): SpecialRange {
  for (const range of CLOSEST_FIRST) if (prefixHas(range.prefix, address)) return range;
  throw new RangeError("An IP address has 4 or 16 bytes");
}

/** The IPv4 address that an IPv6 address carries, if it is of a form that does. */
export function embeddedIpv4(address: IpAddress): IpAddress | undefined {
  if (address.length !== 16) return undefined;
  for (const { prefix, ipv4 } of EMBEDDINGS) if (prefixHas(prefix, address)) return ipv4(address);
  return undefined;
}

function range(text: string, reach: SpecialRange["reach"], is: string): SpecialRange {
  return { prefix: prefix(text), reach, is };
}

function prefix(text: string): AddressPrefix {
  const parsed = parsePrefix(text);
  if (parsed === undefined) throw new TypeError(`"${text}" is no prefix`);
  return parsed;
}
