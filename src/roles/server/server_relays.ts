import type { Host } from "../../base/host.ts";
import type { RelayAccess } from "../../protocol/rendezvous/sealed_message.ts";
import { relayServers, timeLimitedCredentials } from "../path/relay_access.ts";
import { UdpPaths } from "../path/udp_paths.ts";
import type { ServerOptions } from "./server_options.ts";

type RelayOptions = Pick<ServerOptions, "turnServers" | "turnCredentials">;

/** Relays that one sealed message names at most. */
const MAX_RELAYS = 4;

/** Ways of datagrams to this server, through its relays where it may enter them. */
export function openServerPaths(options: RelayOptions, host: Host): UdpPaths {
  const { turnServers = [], turnCredentials } = options;
  return new UdpPaths({
    host,
    relays: turnCredentials
      ? relayServers(
        turnServers,
        () =>
          "secret" in turnCredentials
            ? timeLimitedCredentials(turnCredentials.secret, host)
            : turnCredentials,
      )
      : [],
    interfaces: () => Deno.networkInterfaces(),
  });
}

/** What lets a paired peer in at the relays for a while: nothing without their secret. */
export function relayAccess(
  { turnServers = [], turnCredentials }: RelayOptions,
  host: Host,
): RelayAccess[] {
  if (!turnCredentials || !("secret" in turnCredentials)) return [];
  const credentials = timeLimitedCredentials(turnCredentials.secret, host);
  return turnServers.slice(0, MAX_RELAYS).map((uri) => ({ uri, ...credentials }));
}
