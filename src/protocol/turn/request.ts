/** A request that has authenticated, and what every method asks of it first. */

import { type AddressPort, formatIp } from "../../base/address.ts";
import { Endpoint } from "../../base/endpoint.ts";
import { AttributeType, decodeLifetime, decodeXorAddress } from "../stun/attributes.ts";
import type { Integrity } from "../stun/integrity.ts";
import type { StunMessage } from "../stun/message.ts";
import type { Allocation } from "./allocation.ts";
import { type Asked, type Refusal, refuse } from "./answer.ts";
import type { Account } from "./authentication.ts";
import type { Client } from "./client.ts";
import type { PeerPolicy } from "./peer_policy.ts";
import type { RelayPort } from "./relay_port.ts";

/** Seconds of RFC 8656 sections 3.2 and 7.2: the least, which is also the default, and the most. */
export const DEFAULT_LIFETIME = 600;
export const MAX_LIFETIME = 3_600;

export interface AuthenticRequest {
  readonly message: StunMessage;
  readonly client: Client;
  readonly account: Account;
  readonly asked: Asked;
  readonly integrity: Integrity;
}

/** The allocation that a request is about, which must exist and be this user's (section 5). */
export function ownAllocation({ client, account }: AuthenticRequest): Allocation | Refusal {
  const { allocation } = client;
  if (allocation === undefined || !allocation.isOpen) {
    return refuse(437, "No allocation here: send Allocate first");
  }
  if (allocation.user.name !== account.user) {
    return refuse(441, "Another user opened this allocation");
  }
  return allocation;
}

/** The seconds that LIFETIME asks for, within the bounds; `undefined` where it is malformed. */
export function grantedLifetime(message: StunMessage): number | undefined {
  const value = message.get(AttributeType.Lifetime);
  const seconds = value === undefined ? DEFAULT_LIFETIME : decodeLifetime(value);
  return seconds && Math.min(Math.max(seconds, DEFAULT_LIFETIME), MAX_LIFETIME);
}

/** A peer that a client may have a permission for, and the relayed address that can reach it. */
export interface JudgedPeer {
  readonly kind: "judged";
  readonly endpoint: Endpoint;
  readonly port: RelayPort;
  /** Whether it is a relayed transport address of this server. */
  readonly isOwn: boolean;
}

/** Reads and judges an XOR-PEER-ADDRESS. */
export function judgePeer(
  value: Uint8Array,
  message: StunMessage,
  allocation: Allocation,
  policy: Pick<PeerPolicy, "judge">,
): JudgedPeer | Refusal {
  const peer: AddressPort | undefined = decodeXorAddress(value, message.transactionId);
  if (peer === undefined) return refuse(400, "XOR-PEER-ADDRESS is malformed");
  const endpoint = new Endpoint(peer.address, peer.port);
  const port = allocation.port(endpoint.family);
  if (port === undefined) return refuse(443, "The allocation has no address of the peer's family");
  const verdict = policy.judge(peer.address, peer.port);
  if (verdict === "forbidden") {
    return refuse(403, `This relay does not reach ${formatIp(peer.address)}`);
  }
  return { kind: "judged", endpoint, port, isOwn: verdict === "own" };
}
