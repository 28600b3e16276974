/** Addresses at which a peer may receive datagrams, and which of them to prefer (RFC 8445). */

import {
  type AddressPort,
  formatAddressPort,
  isUnspecified,
  parseAddressPort,
} from "../../base/address.ts";

/** How an address came to be known; `prflx` only from a check that came from it. */
export type CandidateType = "host" | "prflx" | "srflx" | "relay";

/** An address of a peer. */
export interface UdpCandidate {
  readonly type: CandidateType;
  readonly address: AddressPort;
}

/** The form in sealed messages: type and `ip:port`. */
export interface CandidateText {
  readonly type: string;
  readonly value: string;
}

/** Type preferences that RFC 8445 section 5.1.2.2 recommends. */
const TYPE_PREFERENCES: Readonly<Record<CandidateType, number>> = {
  host: 126,
  prflx: 110,
  srflx: 100,
  relay: 0,
};
const IPV6_PREFERENCE = 65_535;
const IPV4_PREFERENCE = 65_534;
/** There is one component. */
const COMPONENT_TERM = 255;

/** RFC 8445 section 5.1.2.1; IPv6 goes before IPv4. */
export function candidatePriority(type: CandidateType, { address }: AddressPort): number {
  const local = address.length === 16 ? IPV6_PREFERENCE : IPV4_PREFERENCE;
  return TYPE_PREFERENCES[type] * 2 ** 24 + local * 2 ** 8 + COMPONENT_TERM;
}

/** RFC 8445 section 6.1.2.3, from the priorities of the two ends. */
export function pairPriority(controlling: number, controlled: number): bigint {
  const [low, high] = [Math.min(controlling, controlled), Math.max(controlling, controlled)];
  return (BigInt(low) << 32n) + 2n * BigInt(high) + (controlling > controlled ? 1n : 0n);
}

export function formatCandidate({ type, address }: UdpCandidate): CandidateText {
  return { type, value: formatAddressPort(address) };
}

/** `undefined` for what is no address to which one peer's datagrams could be sent. */
export function parseCandidate({ type, value }: CandidateText): UdpCandidate | undefined {
  if (type !== "host" && type !== "srflx" && type !== "relay") return undefined;
  const address = parseAddressPort(value);
  return address && isUnicast(address) ? { type, address } : undefined;
}

function isUnicast({ address, port }: AddressPort): boolean {
  if (port === 0 || isUnspecified(address)) return false;
  return address.length === 4 ? address[0]! < 224 : address[0] !== 0xff;
}
