import type { InvitationHint } from "../../protocol/pairing/invitation.ts";
import type { Candidate } from "../../protocol/rendezvous/sealed_message.ts";

const MAX_CANDIDATES = 16;

/** One address of a network interface. */
export interface InterfaceAddress {
  readonly family: "IPv4" | "IPv6";
  readonly address: string;
}

/**
 * The WebSocket URLs at which a server can be reached: its public URL first, if it has one, then
 * the addresses it listens at; a wildcard stands for all of the machine's.
 */
export function linkCandidates(options: {
  publicUrl: string | undefined;
  /** Where links are accepted; loopback listeners are of use on the same machine only. */
  listeners: readonly { readonly host: string; readonly port: number; readonly tls: boolean }[];
  interfaces: readonly InterfaceAddress[];
}): Candidate[] {
  const urls = new Set<string>();
  if (options.publicUrl !== undefined) urls.add(options.publicUrl);
  for (const { host, port, tls } of options.listeners) {
    const scheme = tls ? "wss" : "ws";
    for (const address of expand(host, options.interfaces)) {
      const name = address.includes(":") ? `[${address}]` : address;
      urls.add(`${scheme}://${name}:${port}/link`);
    }
  }
  return [...urls].slice(0, MAX_CANDIDATES).map((value) => ({ type: "ws", value }));
}

/**
 * What a pairing link says about how to reach this server, the most useful first: room in it is
 * short. An address of this machine alone comes last.
 */
export function invitationHints(
  options: {
    readonly signalServers?: readonly string[];
    readonly signalHints?: readonly string[];
    readonly turnServers?: readonly string[];
  },
  candidates: readonly Candidate[],
): InvitationHint[] {
  const urls = candidates.map(({ value }) => value.replace(/\/link$/, ""));
  const isLoopback = (url: string) => /^wss?:\/\/(127\.|\[::1\]|localhost[:/])/.test(url);
  const [near, far] = [urls.filter(isLoopback), urls.filter((url) => !isLoopback(url))];
  const ofType = (type: string, values: readonly string[]) =>
    values.map((value) => ({ type, value }));
  const { signalServers = [], signalHints = signalServers, turnServers = [] } = options;
  return [
    ...ofType("signal", signalHints.slice(0, 2)),
    ...ofType("ws", far.slice(0, 3)),
    ...ofType("turn", turnServers.slice(0, 1)),
    ...ofType("ws", near.slice(0, 1)),
  ];
}

function expand(host: string, interfaces: readonly InterfaceAddress[]): string[] {
  if (host === "0.0.0.0") {
    return interfaces.filter(({ family }) => family === "IPv4").map(({ address }) => address);
  }
  if (host === "::") {
    return interfaces
      .map(({ address }) => address)
      // A link-local address means nothing without the zone of the machine that dials it.
      .filter((address) => !address.toLowerCase().startsWith("fe80:"));
  }
  return [host];
}
