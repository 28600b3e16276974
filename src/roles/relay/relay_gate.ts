import { type AddressPort, type IpAddress, parseIp } from "../../base/address.ts";
import { PeerPolicy } from "../../protocol/turn/peer_policy.ts";
import { parseListenAddress } from "../http.ts";
import type { MachineAddresses, RelayAddresses } from "./relay_addresses.ts";
import type { RelayOptions } from "./relay_options.ts";

/** What of a relay's options the gate for peers depends on. */
export type GateOptions = Pick<
  RelayOptions,
  | "allowPeers"
  | "denyPeers"
  | "relayPorts"
  | "listenAddr"
  | "tcpAddr"
  | "tlsAddr"
  | "apiAddr"
  | "metricsAddr"
>;

export const DEFAULT_RELAY_PORTS = { min: 49_152, max: 65_535 };

/** The gate for peers of a relay with these options on this machine. */
export function peerPolicy(
  options: GateOptions,
  addresses: Pick<RelayAddresses, "bound" | "advertised">,
  machine: MachineAddresses,
): PeerPolicy {
  const { bound, advertised } = addresses;
  const relayed = [bound[4], bound[6], advertised[4], advertised[6]];
  const { listenAddr, tcpAddr, tlsAddr, apiAddr, metricsAddr } = options;
  return new PeerPolicy({
    allow: options.allowPeers,
    deny: options.denyPeers,
    relayed: relayed.filter((address) => address !== undefined),
    relayPorts: options.relayPorts ?? DEFAULT_RELAY_PORTS,
    listening: [listenAddr, tcpAddr, tlsAddr, apiAddr, metricsAddr].flatMap(listeningAt),
    machine: machine.outward,
  });
}

function listeningAt(text: string | undefined): AddressPort[] {
  if (text === undefined) return [];
  const { host, port } = parseListenAddress(text);
  return hostAddresses(host).map((address) => ({ address, port }));
}

/** Of a name that only a resolver knows the address stays unknown, as it may change. */
function hostAddresses(host: string): IpAddress[] {
  const texts = host === "localhost" ? ["127.0.0.1", "::1"] : [host];
  return texts.flatMap((text) => parseIp(text) ?? []);
}
