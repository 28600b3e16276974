import type { Host } from "../../base/host.ts";
import { relayServers } from "../path/relay_access.ts";
import { UdpPaths } from "../path/udp_paths.ts";
import type { NodeOptions } from "./node_api.ts";

/** Ways of datagrams to servers; relays of its own are of use only with a user for them. */
export function openNodePaths(
  { turnServers = [], turnUser }: Pick<NodeOptions, "turnServers" | "turnUser">,
  host: Host,
): UdpPaths {
  return new UdpPaths({
    host,
    relays: turnUser ? relayServers(turnServers, () => turnUser) : [],
    interfaces: () => Deno.networkInterfaces(),
  });
}
