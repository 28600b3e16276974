import { readFileSync } from "node:fs";
import { CairnError } from "../../base/errors.ts";

/** How to reach a NATS server, or several of one cluster. */
export interface BusServers {
  /** Each `host:port`. */
  readonly servers: readonly string[];
  /** Whether TLS is asked for; it is also used when the server offers it. */
  readonly isTls: boolean;
  readonly login: BusLogin | undefined;
}

/** What a URL says about who asks. */
export type BusLogin =
  | { readonly user: string; readonly password: string }
  | { readonly token: string };

/** How to get on the bus. */
export interface BusAccess extends BusServers {
  /** Path of a file with a JWT and its key, as `nsc` writes it; read at each attempt. */
  readonly credentialsPath?: string;
}

const DEFAULT_PORT = 4222;

/**
 * Reads URLs as in `nats://user:password@host:4222` or `tls://token@host`, separated by commas, all
 * of one scheme; the first one that has a login says it for all. `undefined` for anything else.
 */
export function parseBusServers(text: string): BusServers | undefined {
  const servers: string[] = [];
  const schemes = new Set<string>();
  let login: BusLogin | undefined;
  for (const part of text.split(",").map((part) => part.trim())) {
    const url = URL.parse(part);
    if (!url || !/^(nats|tls):$/.test(url.protocol) || url.hostname === "") return undefined;
    if (!/^\/?$/.test(url.pathname) || url.search + url.hash !== "") return undefined;
    schemes.add(url.protocol);
    servers.push(`${url.hostname}:${url.port || DEFAULT_PORT}`);
    try {
      const own = loginOf(url);
      login ??= own;
    } catch {
      return undefined;
    }
  }
  return schemes.size === 1 ? { servers, isTls: schemes.has("tls:"), login } : undefined;
}

/** @throws {URIError} when something is not well encoded, or a password is nobody's. */
function loginOf({ username, password }: URL): BusLogin | undefined {
  if (username === "" && password !== "") throw new URIError("A password without a user");
  if (username === "") return undefined;
  const user = decodeURIComponent(username);
  return password === "" ? { token: user } : { user, password: decodeURIComponent(password) };
}

/** @throws {CairnError} `invalid-option` when the file cannot be read. */
export function readBusCredentials(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? ` (${cause.code})` : "";
    throw new CairnError(
      "invalid-option",
      `Cannot read the file of credentials for the bus, ${path}${code}: check the path that ` +
        "--bus-credentials (CAIRN_SIGNAL_BUS_CREDENTIALS) names, and its permissions",
      { cause },
    );
  }
}
