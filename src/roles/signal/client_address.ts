import {
  type AddressPrefix,
  formatIp,
  formatPrefix,
  parseIp,
  parsePrefix,
  prefixHas,
  unmapIp,
} from "../../base/address.ts";

/** The proxies whose word about the client's address is believed. */
export class TrustedProxies {
  readonly #ranges: readonly AddressPrefix[];

  /** Each an address or a range as in `10.0.0.0/8`. @throws {RangeError} on anything else. */
  constructor(ranges: readonly string[]) {
    this.#ranges = ranges.map((range) => {
      const prefix = parsePrefix(range);
      if (!prefix) throw new RangeError(`Not an address or a range of addresses: ${range}`);
      return prefix;
    });
  }

  /** `address` without IPv4-mapping and zone, see {@linkcode plainAddress}. */
  has(address: string): boolean {
    if (this.#ranges.length === 0) return false;
    const ip = parseIp(address);
    return ip !== undefined && this.#ranges.some((range) => prefixHas(range, ip));
  }
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
  const ip = parseIp(address);
  return ip?.length === 16 ? formatPrefix({ address: ip, length: 64 }) : address;
}

/** An IP address without zone, IPv4 also where it came mapped into IPv6. */
export function plainAddress(text: string): string | undefined {
  const ip = parseIp(text.replace(/%.*$/, ""));
  return ip && formatIp(unmapIp(ip));
}

function withoutPort(entry: string): string {
  return /^\[(.+)\](?::\d+)?$/.exec(entry)?.[1] ?? /^([\d.]+):\d+$/.exec(entry)?.[1] ?? entry;
}
