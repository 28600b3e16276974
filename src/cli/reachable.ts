/** Where listeners of this machine are reached, from itself and from others. */

import { formatIp } from "../base/address.ts";
import { specialRange } from "../protocol/turn/special_addresses.ts";
import { formatListenAddress, type ListenAddress } from "../roles/http.ts";
import { machineAddresses } from "../roles/relay/relay_addresses.ts";

/** The URL of a listener for other machines: of a wildcard the first address that leads outward. */
export function reachableUrl(scheme: string, { host, port }: ListenAddress): string {
  return `${scheme}://${formatListenAddress({ host: outwardHost(host), port })}`;
}

/** A listening host as other machines know it. */
export function outwardHost(host: string): string {
  if (host !== "0.0.0.0" && host !== "::") return host;
  const { outward } = machineAddresses();
  const usable = outward.filter((address) =>
    (host === "::" || address.length === 4) && !specialRange(address).is.startsWith("link-local")
  );
  const [first] = usable.toSorted((one, other) => one.length - other.length);
  return first === undefined ? "127.0.0.1" : formatIp(first);
}

/** A listening host as a URL of this machine has it. */
export function loopbackOf(host: string): string {
  if (host === "0.0.0.0") return "127.0.0.1";
  if (host === "::") return "[::1]";
  return host.includes(":") ? `[${host}]` : host;
}
