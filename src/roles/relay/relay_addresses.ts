import { formatIp, type IpAddress, isUnspecified, parseIp, unmapIp } from "../../base/address.ts";
import type { AddressFamily } from "../../base/endpoint.ts";
import { CairnError } from "../../base/errors.ts";
import { specialRange } from "../../protocol/turn/special_addresses.ts";

/** Addresses of the machine that other machines can reach; the loopback's apart. */
export interface MachineAddresses {
  readonly outward: readonly IpAddress[];
  readonly loopback: readonly IpAddress[];
}

/** The addresses of this machine, without those that need a zone. */
export function machineAddresses(): MachineAddresses {
  const addresses = Deno.networkInterfaces()
    .filter(({ scopeid }) => scopeid === null || scopeid === 0)
    .flatMap(({ address }) => parseIp(address) ?? []);
  return {
    outward: addresses.filter((address) => !isLoopback(address)),
    loopback: addresses.filter(isLoopback),
  };
}

/**
 * The addresses to bind for `host`. A wildcard is bound one by one: its socket would answer from
 * the route's address, not from the one that was asked (RFC 8489 section 6.3.1.2).
 */
export function addressesToListen(host: string, machine: MachineAddresses): readonly string[] {
  const all = [...machine.outward, ...machine.loopback];
  if (host === "0.0.0.0") return all.filter(({ length }) => length === 4).map(formatIp);
  return host === "::" ? all.map(formatIp) : [host];
}

/** For each family, where relay ports are bound and what peers are told. */
export interface RelayAddresses {
  readonly bound: Readonly<Partial<Record<AddressFamily, IpAddress>>>;
  readonly advertised: Readonly<Partial<Record<AddressFamily, IpAddress>>>;
  /** What to warn the operator of. */
  readonly warnings: readonly string[];
}

/**
 * Chooses them: the operator's relay addresses, else the one that is listened on, else an
 * outward address of each family, one that is reached from the internet if there is any.
 *
 * @throws {CairnError} `invalid-option` on an address that nobody can send to.
 */
export function relayAddresses(
  options: {
    readonly listenHost: string;
    readonly relayIps: readonly IpAddress[];
    readonly externalIps: readonly IpAddress[];
  },
  machine: MachineAddresses,
): RelayAddresses {
  const { relayIps, externalIps } = options;
  for (const address of relayIps) check(address, "--relay-ip (CAIRN_RELAY_RELAY_IP)");
  for (const address of externalIps) check(address, "--external-ip (CAIRN_RELAY_EXTERNAL_IP)");
  const bound = byFamily(relayIps.length > 0 ? relayIps : defaultAddresses(options, machine));
  const external = byFamily(externalIps);
  const advertised: Partial<Record<AddressFamily, IpAddress>> = {};
  const warnings: string[] = [];
  for (const family of [4, 6] as const) {
    const own = bound[family];
    if (own === undefined) {
      if (external[family] === undefined) continue;
      throw new CairnError(
        "invalid-option",
        `The external address ${formatIp(external[family])} has no address of this machine ` +
          "behind it: give one of the same family with --relay-ip (CAIRN_RELAY_RELAY_IP)",
      );
    }
    const told = advertised[family] = external[family] ?? own;
    const range = specialRange(told);
    if (range.reach === "global") continue;
    warnings.push(
      `Peers are told to send to ${formatIp(told)}, which is ${range.is} and not reached from ` +
        "the internet: behind a NAT, set --external-ip (CAIRN_RELAY_EXTERNAL_IP)",
    );
  }
  return { bound, advertised, warnings };
}

function defaultAddresses(
  { listenHost }: { readonly listenHost: string },
  machine: MachineAddresses,
): readonly IpAddress[] {
  const listening = parseIp(listenHost);
  if (listening !== undefined && !isUnspecified(listening)) return [unmapIp(listening)];
  const { outward, loopback } = machine;
  const isGlobal = (address: IpAddress) => specialRange(address).reach === "global";
  return [...outward.filter(isGlobal), ...outward, ...(outward.length > 0 ? [] : loopback)];
}

function byFamily(
  addresses: readonly IpAddress[],
): Partial<Record<AddressFamily, IpAddress>> {
  const v4 = addresses.find(({ length }) => length === 4);
  const v6 = addresses.find(({ length }) => length === 16);
  return { ...(v4 && { 4: v4 }), ...(v6 && { 6: v6 }) };
}

function check(address: IpAddress, option: string): void {
  const { is, reach } = specialRange(address);
  if (reach !== "never") return;
  throw new CairnError(
    "invalid-option",
    `${formatIp(address)} is ${is}, to which no peer can send: give ${option} the address under ` +
      "which this relay is reached",
  );
}

function isLoopback(address: IpAddress): boolean {
  return specialRange(address).is.startsWith("loopback");
}
