import { getLogger } from "@logtape/logtape";
import { CairnError } from "../../base/errors.ts";
import { type Host, systemHost } from "../../base/host.ts";
import { PeerId } from "../../protocol/crypto/peer_id.ts";
import { GOOD_PSK_LENGTH, judgePsk, MIN_PSK_LENGTH } from "../../protocol/pairing/psk.ts";
import { parseTurnUri } from "../../protocol/turn/turn_uri.ts";
import type { ServerOptions } from "./server_options.ts";

const log = getLogger(["cairn", "server"]);

const MAX_PORT = 65_535;

/** Options that make sense, with Peer IDs that are read. */
export type CheckedOptions = Omit<ServerOptions, "approvedPeers" | "host"> & {
  readonly approvedPeers: readonly PeerId[];
  readonly host: Host;
};

/**
 * Holds what a program asks for against what a server can do; the command line has done so before.
 *
 * @throws {CairnError} `invalid-option` that names the one that is wrong.
 */
export function checkOptions(options: ServerOptions): CheckedOptions {
  const { forward = {}, management = {}, signalServers = [], turnServers = [] } = options;
  const { approvedPeers = [], host = systemHost } = options;
  for (
    const [name, value, least, most] of [
      ["forward.maxPerPeer", forward.maxPerPeer, 1],
      ["forward.maxAgeMs", forward.maxAgeMs, 1],
      ["forward.maxTotalBytes", forward.maxTotalBytes, 1],
      ["maxMessageRetentionSecs", options.maxMessageRetentionSecs, 1],
      ["relayCapacity", options.relayCapacity, 0],
      ["relayPeerRate", options.relayPeerRate, 1],
      ["management.port", management.port, 0, MAX_PORT],
    ] as const
  ) {
    if (value !== undefined) requireWhole(name, value, least, most);
  }
  for (const url of signalServers) {
    if (/^wss?:$/.test(URL.parse(url)?.protocol ?? "")) continue;
    throw wrong("signalServers", "ws:// or wss:// addresses, as in wss://signal.example.com");
  }
  for (const uri of turnServers) {
    if (parseTurnUri(uri) !== undefined) continue;
    throw wrong("turnServers", "turn: or turns: addresses, as in turn:relay.example.com:3478");
  }
  checkPsk(options.psk);
  return { ...options, host, approvedPeers: approvedPeers.map(readPeerId) };
}

function requireWhole(name: string, value: number, least: number, most?: number): void {
  if (Number.isSafeInteger(value) && value >= least && value <= (most ?? value)) return;
  const range = most === undefined ? `of ${least} or more` : `from ${least} to ${most}`;
  throw wrong(name, `a whole number ${range}`);
}

function wrong(name: string, expected: string): CairnError {
  return new CairnError("invalid-option", `The option ${name} is not right; expected ${expected}`);
}

function checkPsk(psk: string | undefined): void {
  if (psk === undefined) return;
  const verdict = judgePsk(psk);
  if (verdict === "refused") {
    throw new CairnError(
      "invalid-option",
      `The pre-shared key (CAIRN_PSK) is too short: at least ${MIN_PSK_LENGTH} bytes, better ` +
        `${GOOD_PSK_LENGTH} or more`,
    );
  }
  if (verdict === "short") {
    log.warn("The pre-shared key is short; use {length} bytes or more", {
      length: GOOD_PSK_LENGTH,
    });
  }
}

function readPeerId(peer: PeerId | string): PeerId {
  const parsed = peer instanceof PeerId ? peer : PeerId.parse(peer);
  if (parsed) return parsed;
  throw new CairnError("invalid-option", `Not a Peer ID in the approved peers: "${peer}"`);
}
