/** The kinds of value that an option may have: how each is read and what is said when it is wrong. */

import { parsePrefix } from "../base/address.ts";
import { LOG_FILTER_EXPECTED, type LogDirective, parseLogFilter } from "../base/log_filter.ts";
import { PeerId } from "../protocol/crypto/peer_id.ts";
import { parseStoreLocation } from "../roles/store_location.ts";
import { judgePsk, MIN_PSK_LENGTH } from "../protocol/pairing/psk.ts";
import { parseStaticUser, type StaticUser } from "../protocol/turn/credentials.ts";
import { parseTurnUri } from "../protocol/turn/turn_uri.ts";

/** Reads one kind of value from the text of a flag, a variable or a default. */
export interface ValueKind<T> {
  /** Stands for the value in help, as in `<host:port>`; a switch takes no value. */
  readonly placeholder?: string;
  /** Completes "expected …". */
  readonly expected: string;
  /** `undefined` when `text` is not such a value. */
  readonly parse: (text: string) => T | undefined;
}

const MAX_PORT = 65_535;
/** What can stand in an `Authorization` header; a comma separates several tokens. */
const TOKEN = /^[!-+\--~]+$/;

/** The address as it was written. */
export const listenAddress: ValueKind<string> = {
  placeholder: "<host:port>",
  expected: "an address and a port, as in 0.0.0.0:443 or [::]:443",
  parse(text) {
    const match = /^(?:\[[0-9a-f:.]+(?:%[\w.-]+)?\]|[^\s:[\]/@]+):(\d{1,5})$/i.exec(text);
    return wholeNumber(match?.[1] ?? "", MAX_PORT) === undefined ? undefined : text;
  },
};

export const host: ValueKind<string> = {
  placeholder: "<address>",
  expected: "a host name or an IP address without a port, as in 127.0.0.1 or ::1",
  parse(text) {
    const bare = /^\[(.+)\]$/.exec(text)?.[1] ?? text;
    if (/^[0-9a-f:.]*:[0-9a-f:.]*:[0-9a-f:.]*$/i.test(bare)) return bare;
    return /^[^\s:[\]/]+$/.test(bare) ? bare : undefined;
  },
};

export const port: ValueKind<number> = {
  placeholder: "<port>",
  expected: `a port from 0 to ${MAX_PORT}`,
  parse: (text) => wholeNumber(text, MAX_PORT),
};

export const count: ValueKind<number> = {
  placeholder: "<number>",
  expected: "a whole number of 1 or more",
  parse: (text) => wholeNumber(text, Number.MAX_SAFE_INTEGER) || undefined,
};

export const countOrNone: ValueKind<number> = {
  placeholder: "<number>",
  expected: "a whole number of 0 or more",
  parse: (text) => wholeNumber(text, Number.MAX_SAFE_INTEGER),
};

export const boolean: ValueKind<boolean> = {
  placeholder: "<true|false>",
  expected: "true, false, 1, 0, yes or no",
  parse: parseBoolean,
};

/** Given without a value on the command line; its variable takes a boolean. */
export const flagOnly: ValueKind<boolean> = { expected: boolean.expected, parse: parseBoolean };

const SIZE_UNITS = new Map([["", 0], ["K", 10], ["M", 20], ["G", 30], ["T", 40]]);

/** Bytes. */
export const size: ValueKind<number> = {
  placeholder: "<size>",
  expected: "a size of 1 byte or more, as in 1GB (2^30 bytes), 512MB or a number of bytes",
  parse(text) {
    const match = /^(\d{1,15})\s*([kmgt]?)(?:i?b)?$/i.exec(text);
    const power = SIZE_UNITS.get(match?.[2]?.toUpperCase() ?? "");
    if (match === null || power === undefined) return undefined;
    const bytes = Number(match[1]) * 2 ** power;
    return bytes > 0 && Number.isSafeInteger(bytes) ? bytes : undefined;
  },
};

const DURATION_UNITS = new Map([["d", 86_400_000], ["h", 3_600_000], ["m", 60_000], ["s", 1000]]);

/** Milliseconds. */
export const duration: ValueKind<number> = {
  placeholder: "<duration>",
  expected: "a duration above zero, as in 7d, 12h, 30m, 10s, 1d12h or a number of seconds",
  parse(text) {
    const spelled = /^\d+$/.test(text) ? `${text}s` : text;
    if (!/^(\d{1,12}[dhms]\s*)+$/i.test(spelled)) return undefined;
    let milliseconds = 0;
    for (const [, amount, unit = ""] of spelled.matchAll(/(\d+)([dhms])/gi)) {
      milliseconds += Number(amount) * (DURATION_UNITS.get(unit.toLowerCase()) ?? NaN);
    }
    return milliseconds > 0 && Number.isSafeInteger(milliseconds) ? milliseconds : undefined;
  },
};

/** Milliseconds. */
export const durationOrZero: ValueKind<number> = {
  placeholder: "<duration>",
  expected: `${duration.expected}; or 0`,
  parse: (text) => /^0[dhms]?$/i.test(text) ? 0 : duration.parse(text),
};

export const path: ValueKind<string> = {
  placeholder: "<path>",
  expected: "a path",
  parse: (text) => text === "" || text.includes("\0") ? undefined : text,
};

/** A folder, or a server that speaks the protocol KV Connect. */
export const kvLocation: ValueKind<string> = {
  placeholder: "<path or url>",
  expected: "the path of a folder, or an https:// address; an http:// one only of this machine",
  parse: (text) => parseStoreLocation(text) && text,
};

export const text: ValueKind<string> = {
  placeholder: "<text>",
  expected: "text",
  parse: (text) => text,
};

export const psk: ValueKind<string> = {
  placeholder: "<key>",
  expected: `a key of at least ${MIN_PSK_LENGTH} bytes on one line; 16 random ones are right`,
  parse: (text) => /[\r\n]/.test(text) || judgePsk(text) === "refused" ? undefined : text,
};

export const token: ValueKind<string> = {
  placeholder: "<token>",
  expected: "a token of visible ASCII characters without commas or spaces",
  parse: (text) => TOKEN.test(text) ? text : undefined,
};

export const tokens: ValueKind<readonly string[]> = {
  placeholder: "<tokens>",
  expected: "a token of visible ASCII characters, or several separated by commas",
  parse: listOf(token.parse),
};

export const hostNames: ValueKind<readonly string[]> = {
  placeholder: "<names>",
  expected: "host names separated by commas, as in cairn.example.com",
  parse: listOf((text) => /^[a-z0-9._-]+(:\d{1,5})?$/i.test(text) ? text : undefined),
};

export const webUrl: ValueKind<string> = {
  placeholder: "<url>",
  expected: "an http:// or https:// address without a path, as in https://cairn.example.com:9090",
  parse(text) {
    const url = URL.parse(text);
    const right = url !== null && /^https?:$/.test(url.protocol) && url.pathname === "/" &&
      `${url.search}${url.hash}${url.username}${url.password}` === "";
    return right ? url.origin : undefined;
  },
};

/** As browsers write them in the header `Origin`. */
export const origins: ValueKind<readonly string[]> = {
  placeholder: "<origins>",
  expected: "origins separated by commas, as in https://app.example.com or https://localhost:3000",
  parse: listOf(parseOrigin),
};

export const addressRanges: ValueKind<readonly string[]> = {
  placeholder: "<addresses>",
  expected: "IP addresses or ranges separated by commas, as in 127.0.0.1,10.0.0.0/8,fd00::/8",
  parse: listOf((text) => parsePrefix(text) ? text : undefined),
};

export const webSocketUrl: ValueKind<string> = {
  placeholder: "<url>",
  expected: "a ws:// or wss:// address, as in wss://cairn.example.com",
  parse: parseWebSocketUrl,
};

export const webSocketUrls: ValueKind<readonly string[]> = {
  placeholder: "<urls>",
  expected: "ws:// or wss:// addresses separated by commas, as in wss://signal.example.com",
  parse: listOf(parseWebSocketUrl),
};

/** As they were written. */
export const turnUser: ValueKind<StaticUser> = {
  placeholder: "<user:pass>",
  expected: "user:password",
  parse: parseStaticUser,
};

export const turnUrls: ValueKind<readonly string[]> = {
  placeholder: "<urls>",
  expected: "turn: or turns: addresses separated by commas, as in turn:relay.example.com:3478",
  parse: listOf((text) => parseTurnUri(text) && text),
};

export const peerId: ValueKind<PeerId> = {
  placeholder: "<peer-id>",
  expected: "a whole Peer ID, 46 characters that begin with Qm, as cairn peer id prints it",
  parse: (text) => PeerId.parse(text),
};

export const peerIds: ValueKind<readonly PeerId[]> = {
  placeholder: "<peer-ids>",
  expected: "Peer IDs (46 characters that begin with Qm) separated by commas",
  parse: listOf((text) => PeerId.parse(text)),
};

/** A role, or all three in one process. */
export type Role = (typeof ROLES)[number];
export const ROLES = ["up", "server", "signal", "relay"] as const;

export const role: ValueKind<Role> = {
  placeholder: "<role>",
  expected: "up, server, signal or relay",
  parse: (text) => ROLES.find((role) => role === text),
};

/** As it was written. */
export const healthUrl: ValueKind<string> = {
  placeholder: "<url>",
  expected: "an http, https, ws, wss or turn address, as in http://127.0.0.1:9090/health",
  parse(text) {
    if (parseTurnUri(text)) return text;
    return /^(https?|wss?):$/.test(URL.parse(text)?.protocol ?? "") ? text : undefined;
  },
};

export const logFilter: ValueKind<readonly LogDirective[]> = {
  placeholder: "<filter>",
  expected: LOG_FILTER_EXPECTED,
  parse: parseLogFilter,
};

export const logFormat: ValueKind<"pretty" | "json"> = {
  placeholder: "<pretty|json>",
  expected: "pretty or json",
  parse: (text) => text === "pretty" || text === "json" ? text : undefined,
};

function parseBoolean(text: string): boolean | undefined {
  switch (text.toLowerCase()) {
    case "true":
    case "1":
    case "yes":
      return true;
    case "false":
    case "0":
    case "no":
      return false;
    default:
      return undefined;
  }
}

function parseOrigin(text: string): string | undefined {
  const [, scheme] = /^([a-z][a-z0-9+.-]*):\/\/[^\s/?#@]+$/i.exec(text) ?? [];
  if (scheme === undefined) return undefined;
  // Schemes of browser extensions have no origin in the parser of URLs.
  return /^https?$/i.test(scheme) ? URL.parse(text)?.origin : text.toLowerCase();
}

function parseWebSocketUrl(text: string): string | undefined {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== "ws:" && url.protocol !== "wss:")) return undefined;
  return url.hostname === "" || url.hash !== "" ? undefined : text;
}

function wholeNumber(text: string, max: number): number | undefined {
  if (!/^\d{1,16}$/.test(text)) return undefined;
  const number = Number(text);
  return number <= max ? number : undefined;
}

/** Reads what stands between commas; `undefined` when nothing does or a part is wrong. */
export function listOf<T>(parseItem: (text: string) => T | undefined) {
  return (text: string): readonly T[] | undefined => {
    const items: T[] = [];
    for (const part of text.split(",").map((part) => part.trim())) {
      if (part === "") continue;
      const item = parseItem(part);
      if (item === undefined) return undefined;
      items.push(item);
    }
    return items.length > 0 ? items : undefined;
  };
}
