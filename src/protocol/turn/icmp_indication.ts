import { concatBytes, u16, u32 } from "../../base/bytes.ts";
import { type AddressFamily, type AddressWords, Endpoint } from "../../base/endpoint.ts";
import { AttributeType, encodeXorAddress } from "../stun/attributes.ts";
import { encodeStunMessage, MessageClass, Method } from "../stun/message.ts";
import type { RelayPort } from "./relay_port.ts";
import type { TurnEffect } from "./turn_effect.ts";

/** What an ICMP message says of a datagram that a relay port sent. */
export interface IcmpReport {
  readonly type: number;
  readonly code: number;
  /** What the next link takes, bytes; it counts where the datagram was too long for that. */
  readonly mtu: number;
}

/** The types that a client is told of (RFC 8656 section 11.5). */
const TOLD: Readonly<Record<AddressFamily, readonly number[]>> = { 4: [3, 11], 6: [1, 2, 3] };

/**
 * What tells the client that its datagram to `to` came to nothing (RFC 8656 section 11.5): a Data
 * indication with ICMP in place of data. Nothing of a type that is not told, nor of a peer without
 * permission. `transactionId` is 12 random bytes.
 */
export function icmpIndication(
  port: RelayPort,
  to: AddressWords,
  { type, code, mtu }: IcmpReport,
  transactionId: Uint8Array,
  now: number,
): Extract<TurnEffect, { kind: "send" }> | undefined {
  const { allocation, family } = port;
  const permission = port.permission(to);
  const isPermitted = permission !== undefined && permission.expiresAt > now;
  if (allocation === undefined || !isPermitted || !TOLD[family].includes(type)) return undefined;
  const isTooLong = family === 4 ? type === 3 && code === 4 : type === 2;
  const bytes = encodeStunMessage({
    method: Method.Data,
    messageClass: MessageClass.Indication,
    transactionId,
    attributes: [
      [
        AttributeType.XorPeerAddress,
        encodeXorAddress(Endpoint.fromWords(to, family), transactionId),
      ],
      // Seven bits of type and nine of code (section 18.13).
      [
        AttributeType.Icmp,
        concatBytes(u16(0), u16(type << 9 | code), u32(isTooLong ? mtu : 0)),
      ],
    ],
  });
  return { kind: "send", client: allocation.client, bytes };
}
