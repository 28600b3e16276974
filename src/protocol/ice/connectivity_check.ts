/** Connectivity checks: STUN Binding with short-term credentials (RFC 8445 section 7). */

import type { AddressPort } from "../../base/address.ts";
import { fromUtf8, toHex, u32, utf8 } from "../../base/bytes.ts";
import { AttributeType, decodeXorAddress, encodeXorAddress } from "../stun/attributes.ts";
import type { Integrity } from "../stun/integrity.ts";
import {
  type Attribute,
  encodeStunMessage,
  MessageClass,
  Method,
  type StunMessage,
} from "../stun/message.ts";

/** Attributes of RFC 8445 section 16.1. */
const PRIORITY = 0x0024;
const USE_CANDIDATE = 0x0025;
const ICE_CONTROLLED = 0x8029;
const ICE_CONTROLLING = 0x802a;
const KNOWN: ReadonlySet<number> = new Set([
  AttributeType.Username,
  AttributeType.MessageIntegrity,
  PRIORITY,
  USE_CANDIDATE,
]);
const TIE_BREAKER_LENGTH = 8;

/** Who offered controls which pair is used; who answered follows. */
export type CheckRole = "controlling" | "controlled";

/** What one side signs its answers with and expects in requests to it. */
export interface CheckCredentials {
  /** The user name fragment. */
  readonly fragment: string;
  readonly password: string;
}

/** One side's credentials in a session of two peers; `password` is 16 random bytes of that side. */
export function sessionCredentials(
  session: Uint8Array,
  role: CheckRole,
  password: Uint8Array,
): CheckCredentials {
  const side = role === "controlling" ? "o" : "a";
  return { fragment: toHex(session) + side, password: toHex(password) };
}

/** A request to the remote. */
export function encodeCheck(check: {
  readonly transactionId: Uint8Array;
  readonly role: CheckRole;
  readonly local: CheckCredentials;
  readonly remote: CheckCredentials;
  /** Of a peer-reflexive candidate that the remote may learn from it. */
  readonly priority: number;
  readonly nominate: boolean;
}): Uint8Array<ArrayBuffer> {
  const { transactionId, role, local, remote, priority, nominate } = check;
  const roleAttribute = role === "controlling" ? ICE_CONTROLLING : ICE_CONTROLLED;
  const attributes: Attribute[] = [
    [AttributeType.Username, utf8(`${remote.fragment}:${local.fragment}`)],
    [PRIORITY, u32(priority)],
    // Roles are settled by who offered, so that nothing needs to break a tie.
    [roleAttribute, new Uint8Array(TIE_BREAKER_LENGTH)],
  ];
  if (nominate) attributes.push([USE_CANDIDATE, new Uint8Array(0)]);
  return encodeStunMessage({
    method: Method.Binding,
    messageClass: MessageClass.Request,
    transactionId,
    attributes,
    integrity: keyOf(remote),
    fingerprint: true,
  });
}

/** The answer to a request that came from `source`. */
export function encodeCheckResponse(
  request: StunMessage,
  local: CheckCredentials,
  source: AddressPort,
): Uint8Array<ArrayBuffer> {
  const { transactionId } = request;
  return encodeStunMessage({
    method: Method.Binding,
    messageClass: MessageClass.Success,
    transactionId,
    attributes: [[
      AttributeType.XorMappedAddress,
      encodeXorAddress(source, transactionId),
    ]],
    integrity: keyOf(local),
    fingerprint: true,
  });
}

/** The fragment of the side that a request is for; it is not verified. */
export function requestedFragment(message: StunMessage): string | undefined {
  if (message.method !== Method.Binding || message.messageClass !== MessageClass.Request) {
    return undefined;
  }
  const username = message.get(AttributeType.Username);
  if (username === undefined) return undefined;
  try {
    return fromUtf8(username).split(":")[0];
  } catch {
    return undefined;
  }
}

/** What an authentic request says; `undefined` for any other message. */
export function verifyCheck(
  message: StunMessage,
  local: CheckCredentials,
): { readonly nominates: boolean } | undefined {
  if (requestedFragment(message) !== local.fragment) return undefined;
  if (!message.verify(keyOf(local)) || message.unknownAttributes(KNOWN).length > 0) {
    return undefined;
  }
  return { nominates: message.has(USE_CANDIDATE) };
}

/** This side's address as the remote saw it; `undefined` unless it is an authentic answer. */
export function verifyCheckResponse(
  message: StunMessage,
  remote: CheckCredentials,
): AddressPort | undefined {
  const isAnswer = message.method === Method.Binding &&
    message.messageClass === MessageClass.Success;
  if (!isAnswer || !message.verify(keyOf(remote))) return undefined;
  const mapped = message.get(AttributeType.XorMappedAddress);
  return mapped && decodeXorAddress(mapped, message.transactionId);
}

function keyOf({ password }: CheckCredentials): Integrity {
  return { kind: "sha1", key: utf8(password) };
}
