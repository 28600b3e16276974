import {
  type AddressPrefix,
  formatIp,
  parseIp,
  parsePrefix,
  prefixHas,
} from "../../base/address.ts";

/** Networks that no router carries to the internet: RFC 1918, 3927, 4193. */
const PRIVATE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7"]
  .map((text) => parsePrefix(text))
  .filter((prefix) => prefix !== undefined);
/** Never a machine of the network, whatever the prefixes say. */
const NEVER = ["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/96", "fe80::/10", "ff00::/8"]
  .map((text) => parsePrefix(text))
  .filter((prefix) => prefix !== undefined);

/**
 * Whether `address` may be dialed because somebody on a network with these prefixes has said so: a
 * private address or one of that network, in its one right form. A link-local IPv6 address means
 * nothing without its zone, which no URL can carry.
 */
export function isLocalAddress(text: string, networks: readonly AddressPrefix[]): boolean {
  const address = parseIp(text);
  if (address === undefined || formatIp(address) !== text) return false;
  if (NEVER.some((prefix) => prefixHas(prefix, address))) return false;
  return [...PRIVATE, ...networks].some((prefix) => prefixHas(prefix, address)) &&
    !networks.some((prefix) => isEdge(prefix, address));
}

/** Whether `address` is the network's own or its broadcast address. */
function isEdge(prefix: AddressPrefix, address: Uint8Array): boolean {
  if (address.length !== 4 || prefix.length > 30 || !prefixHas(prefix, address)) return false;
  const host = (address[0]! * 2 ** 24 + (address[1]! << 16 | address[2]! << 8 | address[3]!)) %
    2 ** (32 - prefix.length);
  return host === 0 || host === 2 ** (32 - prefix.length) - 1;
}
