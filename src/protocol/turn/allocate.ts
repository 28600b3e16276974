/** What an Allocate request asks for, checked in the order of RFC 8656 section 7.2. */

import type { AddressFamily } from "../../base/endpoint.ts";
import {
  AttributeType,
  decodeAddressFamily,
  encodeAddressErrorCode,
  UDP_PROTOCOL,
} from "../stun/attributes.ts";
import type { Attribute, StunMessage } from "../stun/message.ts";
import { type Refusal, refuse } from "./answer.ts";
import type { PortWish } from "./port_pool.ts";
import type { RelayPort } from "./relay_port.ts";
import type { RelayPorts } from "./relay_ports.ts";
import { DEFAULT_LIFETIME, grantedLifetime } from "./request.ts";

const RESERVATION_TOKEN_LENGTH = 8;

/** What is to be allocated. */
export interface AllocateWish {
  readonly kind: "wish";
  /** One relayed address for each. */
  readonly lanes: readonly { readonly family: AddressFamily; readonly wish: PortWish }[];
  /** In place of a lane: the port that RESERVATION-TOKEN names. */
  readonly reserved: RelayPort | undefined;
  /** ADDRESS-ERROR-CODE where only one of two families can be had. */
  readonly addressErrors: readonly Attribute[];
  /** Seconds. */
  readonly lifetime: number;
}

/** Reads steps 3 to 9; authentication, the 5-tuple and quotas are not seen here. */
export function readAllocate(message: StunMessage, ports: RelayPorts): AllocateWish | Refusal {
  const transport = message.get(AttributeType.RequestedTransport);
  if (transport?.length !== 4) return refuse(400, "REQUESTED-TRANSPORT is missing or malformed");
  if (transport[0] !== UDP_PROTOCOL) return refuse(442, "This relay relays UDP only");
  const granted = grantedLifetime(message);
  if (granted === undefined) return refuse(400, "LIFETIME is malformed");
  // Zero ends an allocation in Refresh and means nothing here.
  const lifetime = Math.max(granted, DEFAULT_LIFETIME);

  const token = message.get(AttributeType.ReservationToken);
  const requested = message.get(AttributeType.RequestedAddressFamily);
  const additional = message.get(AttributeType.AdditionalAddressFamily);
  const evenPort = message.get(AttributeType.EvenPort);
  if (token !== undefined) {
    if (evenPort !== undefined || requested !== undefined || additional !== undefined) {
      return refuse(400, "RESERVATION-TOKEN already says which port");
    }
    return readReserved(token, ports, lifetime);
  }
  if (requested !== undefined && additional !== undefined) {
    return refuse(400, "REQUESTED- and ADDITIONAL-ADDRESS-FAMILY exclude each other");
  }
  if (requested !== undefined && requested.length !== 4) {
    return refuse(400, "REQUESTED-ADDRESS-FAMILY is malformed");
  }
  const family = requested === undefined ? 4 : decodeAddressFamily(requested);
  if (family === undefined || (additional === undefined && !ports.supports(family))) {
    return refuse(440, "This relay has no address of that family");
  }
  if (evenPort !== undefined && evenPort.length !== 1) return refuse(400, "EVEN-PORT is malformed");
  const reserveNext = (evenPort?.[0] ?? 0) >= 0x80;
  const wish = evenPort === undefined ? "any" : reserveNext ? "pair" : "even";
  if (additional === undefined) return wishFor([family], wish, lifetime);
  if (reserveNext) return refuse(400, "EVEN-PORT cannot reserve a port for two families");
  if (decodeAddressFamily(additional) !== 6) {
    return refuse(400, "ADDITIONAL-ADDRESS-FAMILY can be IPv6 only");
  }
  return readDual(ports, wish, lifetime);
}

function readReserved(
  token: Uint8Array,
  ports: RelayPorts,
  lifetime: number,
): AllocateWish | Refusal {
  if (token.length !== RESERVATION_TOKEN_LENGTH) {
    return refuse(400, "RESERVATION-TOKEN is malformed");
  }
  const reserved = ports.reserved(token);
  if (reserved === undefined) return refuse(508, "No port is reserved under this token");
  return { kind: "wish", lanes: [], reserved, addressErrors: [], lifetime };
}

/** Both families, or the one that there is. */
function readDual(ports: RelayPorts, wish: PortWish, lifetime: number): AllocateWish | Refusal {
  const both: readonly AddressFamily[] = [4, 6];
  const families = both.filter((family) => ports.supports(family));
  if (families.length === 0) return refuse(440, "This relay has no address of either family");
  const missing = both.filter((family) => !ports.supports(family));
  return wishFor(families, wish, lifetime, missing.map((family) => addressError(family, 440)));
}

function wishFor(
  families: readonly AddressFamily[],
  wish: PortWish,
  lifetime: number,
  addressErrors: readonly Attribute[] = [],
): AllocateWish {
  const lanes = families.map((family) => ({ family, wish }));
  return { kind: "wish", lanes, reserved: undefined, addressErrors, lifetime };
}

/** ADDRESS-ERROR-CODE for the family that is missing from an answer. */
export function addressError(family: AddressFamily, code: 440 | 508): Attribute {
  const reason = code === 440 ? "Address Family not Supported" : "Insufficient Capacity";
  return [AttributeType.AddressErrorCode, encodeAddressErrorCode(family, { code, reason })];
}
