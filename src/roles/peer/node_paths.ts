import type { Host } from "../../base/host.ts";
import { relayServers } from "../path/relay_access.ts";
import { UdpPaths } from "../path/udp_paths.ts";
import type { SignalClient } from "../signal_client.ts";
import type { NodeOptions } from "./node_api.ts";

/** Ways of datagrams to servers; relays of its own are of use only with a user for them. */
export function openNodePaths(
  { turnServers = [], turnUser }: Pick<NodeOptions, "turnServers" | "turnUser">,
  host: Host,
  clients: () => readonly SignalClient[],
): UdpPaths {
  const paths = new UdpPaths({
    host,
    relays: turnUser ? relayServers(turnServers, () => turnUser) : [],
    interfaces: () => Deno.networkInterfaces(),
  });
  paths.onNetworkChange((isLost) => {
    // Their connections would be silent for long before that shows.
    if (isLost) clients().forEach((client) => client.renew());
  });
  return paths;
}

/**
 * Uses the relays that a pairing link names, where the user has given a user for relays and named
 * none: a name and a password for one relay are not shown to another.
 */
export function useHintedRelays(
  paths: UdpPaths | undefined,
  { turnServers = [], turnUser }: Pick<NodeOptions, "turnServers" | "turnUser">,
  uris: readonly string[],
): void {
  if (!turnUser || turnServers.length > 0) return;
  for (const server of relayServers(uris, () => turnUser)) paths?.addRelay(server);
}
