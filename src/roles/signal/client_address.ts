import { BlockList, isIP, isIPv4, isIPv6 } from "node:net";

/** The proxies whose word about the client's address is believed. */
export class TrustedProxies {
  readonly #list = new BlockList();
  readonly #size: number;

  /** Each an address or a range as in `10.0.0.0/8`. @throws {RangeError} on anything else. */
  constructor(ranges: readonly string[]) {
    for (const range of ranges) {
      const parsed = parseAddressRange(range);
      if (!parsed) throw new RangeError(`Not an address or a range of addresses: ${range}`);
      this.#list.addSubnet(parsed.address, parsed.prefix, parsed.family);
    }
    this.#size = ranges.length;
  }

  /** `address` without IPv4-mapping and zone, see {@linkcode plainAddress}. */
  has(address: string): boolean {
    return this.#size > 0 && this.#list.check(address, isIPv4(address) ? "ipv4" : "ipv6");
  }
}

export interface AddressRange {
  readonly address: string;
  readonly prefix: number;
  readonly family: "ipv4" | "ipv6";
}

/** Reads `10.0.0.1`, `10.0.0.0/8`, `::1` or `fd00::/8`. */
export function parseAddressRange(text: string): AddressRange | undefined {
  const [, address = "", prefix] = /^([0-9a-f:.]+)(?:\/(\d{1,3}))?$/i.exec(text) ?? [];
  if (isIP(address) === 0) return undefined;
  const family = isIPv4(address) ? "ipv4" : "ipv6";
  const longest = family === "ipv4" ? 32 : 128;
  const length = prefix === undefined ? longest : Number(prefix);
  return length <= longest ? { address, prefix: length, family } : undefined;
}

/**
 * The address of the client. `remote` is the other end of the connection; only if it is a trusted
 * proxy, the rightmost entry of `X-Forwarded-For` counts that is not such a proxy itself. What
 * stands to the left of that the client may have written.
 */
export function clientAddress(
  remote: string | undefined,
  forwardedFor: string | undefined,
  proxies: TrustedProxies,
): string {
  let client = plainAddress(remote ?? "") ?? "unknown";
  if (client === "unknown" || forwardedFor === undefined) return client;
  for (const entry of forwardedFor.split(",").reverse()) {
    if (!proxies.has(client)) return client;
    const next = plainAddress(withoutPort(entry.trim()));
    if (next === undefined) return client;
    client = next;
  }
  return client;
}

/** What limits count by: an IPv4 address, or the /64 of an IPv6 address, which one client has. */
export function addressKey(address: string): string {
  if (!isIPv6(address)) return address;
  return `${ipv6Groups(address).slice(0, 4).map((group) => group.toString(16)).join(":")}::/64`;
}

/** An IP address without zone, IPv4 also where it came mapped into IPv6. */
export function plainAddress(text: string): string | undefined {
  const address = text.replace(/%.*$/, "");
  if (isIP(address) === 0) return undefined;
  if (isIPv4(address)) return address;
  const groups = ipv6Groups(address);
  const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  if (!isMapped) return address.toLowerCase();
  const [high = 0, low = 0] = groups.slice(6);
  return [high >> 8, high & 0xff, low >> 8, low & 0xff].join(".");
}

function withoutPort(entry: string): string {
  return /^\[(.+)\](?::\d+)?$/.exec(entry)?.[1] ?? /^([\d.]+):\d+$/.exec(entry)?.[1] ?? entry;
}

/** The eight groups of a valid IPv6 address. */
function ipv6Groups(address: string): number[] {
  // The parser of URLs writes the dotted form in groups too.
  const { hostname } = new URL(`http://[${address}]`);
  const [head = "", tail] = hostname.slice(1, -1).split("::");
  const left = parseGroups(head);
  const right = parseGroups(tail ?? "");
  return [...left, ...new Array<number>(8 - left.length - right.length).fill(0), ...right];
}

function parseGroups(text: string): number[] {
  return text === "" ? [] : text.split(":").map((group) => parseInt(group, 16));
}
