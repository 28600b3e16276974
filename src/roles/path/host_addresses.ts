import { type AddressPort, type IpAddress, parseIp } from "../../base/address.ts";
import type { AddressFamily } from "../../base/endpoint.ts";

/** The interface of an address, as the system lists it. */
type InterfaceAddress = Pick<Deno.NetworkInterfaceInfo, "address" | "family">;

/**
 * The addresses of one family at which other machines may reach this one; loopback only where there
 * is nothing else.
 */
export function hostAddresses(
  interfaces: readonly InterfaceAddress[],
  family: AddressFamily,
): IpAddress[] {
  const all = interfaces.filter((each) => each.family === `IPv${family}`)
    .map(({ address }) => parseIp(address))
    .filter((address) => address !== undefined);
  const useful = all.filter((address) => !isLoopback(address) && !isLinkLocal(address));
  return useful.length > 0 ? useful : all.filter(isLoopback);
}

/** Each address with the port of the socket. */
export function withPort(addresses: readonly IpAddress[], port: number): AddressPort[] {
  return addresses.map((address) => ({ address, port }));
}

/** Whether it is the machine itself. */
export function isLoopback(address: IpAddress): boolean {
  return address.length === 4
    ? address[0] === 127
    : address.every((byte, i) => byte === (i === 15 ? 1 : 0));
}

/** Means nothing without the zone of the machine that sends there. */
function isLinkLocal(address: IpAddress): boolean {
  return address.length === 4
    ? address[0] === 169 && address[1] === 254
    : address[0] === 0xfe && (address[1]! & 0xc0) === 0x80;
}
