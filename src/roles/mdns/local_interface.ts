import { type AddressPrefix, parseIp } from "../../base/address.ts";
import type { AddressFamily } from "../../base/endpoint.ts";
import { isLoopback } from "../path/host_addresses.ts";

/** An interface as the system lists it: once for each of its addresses. */
export type InterfaceAddress = Pick<
  Deno.NetworkInterfaceInfo,
  "name" | "family" | "address" | "cidr"
>;

/** Machines that run many containers have hundreds. */
const MAX_INTERFACES = 16;

/** The networks of one interface. */
export interface LocalInterface {
  readonly name: string;
  /** With the interface's own addresses in them. */
  readonly networks: readonly (AddressPrefix & { readonly text: string })[];
}

/** The interfaces that have a network around them, which the loopback has not. */
export function localInterfaces(addresses: readonly InterfaceAddress[]): LocalInterface[] {
  const found = new Map<string, LocalInterface["networks"]>();
  for (const { name, address: text, cidr } of addresses) {
    const address = parseIp(text);
    const length = Number(/\/(\d+)$/.exec(cidr ?? "")?.[1]);
    if (!address || !(length < address.length * 8) || isLoopback(address)) continue;
    found.set(name, [...found.get(name) ?? [], { address, length, text }]);
  }
  return [...found].slice(0, MAX_INTERFACES).map(([name, networks]) => ({ name, networks }));
}

/** The networks of one family. */
export function networksOf(
  { networks }: LocalInterface,
  family: AddressFamily,
): LocalInterface["networks"] {
  return networks.filter(({ address }) => address.length === (family === 4 ? 4 : 16));
}
