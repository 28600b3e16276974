import { AttributeType, decodeAddressFamily, encodeLifetime } from "../stun/attributes.ts";
import type { StunMessage } from "../stun/message.ts";
import type { Allocation } from "./allocation.ts";
import type { Allocations } from "./allocations.ts";
import { grant, type Granted, type Refusal, refuse } from "./answer.ts";
import { grantedLifetime } from "./request.ts";

/** Refresh (RFC 8656 section 8.2): more time for the relayed addresses, or their end. */
export function refresh(
  message: StunMessage,
  allocation: Allocation,
  allocations: Allocations,
  now: number,
): Granted | Refusal {
  const requested = message.get(AttributeType.RequestedAddressFamily);
  const family = requested && decodeAddressFamily(requested);
  if (requested !== undefined && family === undefined) {
    return refuse(400, "REQUESTED-ADDRESS-FAMILY is malformed");
  }
  const ports = allocation.ports.filter((port) => family === undefined || port.family === family);
  if (ports.length === 0) return refuse(443, "The allocation has no address of that family");
  const lifetime = grantedLifetime(message);
  if (lifetime === undefined) return refuse(400, "LIFETIME is malformed");
  for (const port of ports) {
    if (lifetime === 0) allocations.closePort(port, "deleted", now);
    else allocations.schedule(port, now + lifetime * 1000);
  }
  return grant([AttributeType.Lifetime, encodeLifetime(lifetime)]);
}
