import { toHex, utf8 } from "../../base/bytes.ts";
import type { Host } from "../../base/host.ts";
import type { RelayAccess } from "../../protocol/rendezvous/sealed_message.ts";
import { timeLimitedPassword } from "../../protocol/turn/credentials.ts";
import { parseTurnUri } from "../../protocol/turn/turn_uri.ts";
import type { RelayServer } from "./relay_keeper.ts";

/** Seconds for which time-limited credentials let a peer in. */
const LIFETIME = 6 * 3_600;
const NAME_BYTES = 8;

/** What lets a client in at a TURN server. */
export interface RelayCredentials {
  readonly username: string;
  readonly password: string;
}

/** Credentials for `LIFETIME` seconds that whoever knows the relay's secret can make. */
export function timeLimitedCredentials(secret: string, host: Host): RelayCredentials {
  const expiry = Math.floor(host.now() / 1000) + LIFETIME;
  const username = `${expiry}:${toHex(host.random(NAME_BYTES))}`;
  return { username, password: timeLimitedPassword(username, utf8(secret)) };
}

/** The relays at these URIs, each entered with what `credentials` says at that time. */
export function relayServers(
  uris: readonly string[],
  credentials: () => RelayCredentials,
): RelayServer[] {
  return uris.flatMap((text) => {
    const uri = parseTurnUri(text);
    return uri ? [{ uri, credentials }] : [];
  });
}

/** A relay that a peer gave access to; `undefined` when its URI cannot be read. */
export function relayOf({ uri, username, password }: RelayAccess): RelayServer | undefined {
  return relayServers([uri], () => ({ username, password }))[0];
}
