/** What a client asks of a TURN server (RFC 8656 sections 7 to 12), without authentication. */

import type { AddressPort, IpAddress } from "../../base/address.ts";
import type { AddressFamily } from "../../base/endpoint.ts";
import {
  AttributeType,
  decodeErrorCode,
  decodeLifetime,
  decodeXorAddress,
  encodeAddressFamily,
  encodeChannelNumber,
  encodeLifetime,
  encodeXorAddress,
  UDP_PROTOCOL,
} from "../stun/attributes.ts";
import {
  type Attribute,
  encodeStunMessage,
  MessageClass,
  Method,
  type StunMessage,
} from "../stun/message.ts";
import type { TurnRefusal } from "./client_effects.ts";

/** A request without what authentication adds. */
export interface ClientRequest {
  readonly method: number;
  /** Addresses are masked with the transaction id. */
  readonly attributes: (transactionId: Uint8Array) => readonly Attribute[];
}

export const BINDING: ClientRequest = { method: Method.Binding, attributes: () => [] };

/** Asks for an address of `family`, else for IPv4. */
export function allocateRequest(family: AddressFamily | undefined): ClientRequest {
  const attributes: Attribute[] = [
    [AttributeType.RequestedTransport, Uint8Array.of(UDP_PROTOCOL, 0, 0, 0)],
  ];
  if (family !== undefined) {
    attributes.push([AttributeType.RequestedAddressFamily, encodeAddressFamily(family)]);
  }
  return { method: Method.Allocate, attributes: () => attributes };
}

/** Asks for the server's lifetime; with 0 seconds, for the end. */
export function refreshRequest(lifetime?: number): ClientRequest {
  const attributes: Attribute[] = lifetime === undefined
    ? []
    : [[AttributeType.Lifetime, encodeLifetime(lifetime)]];
  return { method: Method.Refresh, attributes: () => attributes };
}

export function permissionRequest(address: IpAddress): ClientRequest {
  return {
    method: Method.CreatePermission,
    attributes: (id) => [
      [AttributeType.XorPeerAddress, encodeXorAddress({ address, port: 0 }, id)],
    ],
  };
}

export function channelRequest(peer: AddressPort, number: number): ClientRequest {
  return {
    method: Method.ChannelBind,
    attributes: (id) => [
      [AttributeType.ChannelNumber, encodeChannelNumber(number)],
      [AttributeType.XorPeerAddress, encodeXorAddress(peer, id)],
    ],
  };
}

/** A Send indication. */
export function sendIndication(
  peer: AddressPort,
  data: Uint8Array,
  transactionId: Uint8Array,
): Uint8Array {
  return encodeStunMessage({
    method: Method.Send,
    messageClass: MessageClass.Indication,
    transactionId,
    attributes: [
      [AttributeType.XorPeerAddress, encodeXorAddress(peer, transactionId)],
      [AttributeType.Data, data],
    ],
  });
}

/** The address in a response or indication; `undefined` when there is none that can be read. */
export function xorAddress(message: StunMessage, type: number): AddressPort | undefined {
  const value = message.get(type);
  return value && decodeXorAddress(value, message.transactionId);
}

/** The seconds that a response grants; `undefined` when it does not say. */
export function grantedLifetime(message: StunMessage): number | undefined {
  const value = message.get(AttributeType.Lifetime);
  return value && decodeLifetime(value);
}

/** What is wrong with a response that cannot be read. */
export const MALFORMED: TurnRefusal = { code: "malformed", reason: "" };

/** What an error response says; `undefined` for any other message. */
export function refusalOf(message: StunMessage): TurnRefusal | undefined {
  if (message.messageClass !== MessageClass.Error) return undefined;
  return decodeErrorCode(message.get(AttributeType.ErrorCode) ?? new Uint8Array()) ?? MALFORMED;
}
