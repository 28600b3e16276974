/** How the server answers: successes, refusals, and what stands in them. */

import {
  type Attribute,
  encodeStunMessage,
  MessageClass,
  type StunMessage,
} from "../stun/message.ts";
import { AttributeType, encodeErrorCode, encodeUnknownAttributes } from "../stun/attributes.ts";
import type { Integrity } from "../stun/integrity.ts";
import type { Client } from "./client.ts";

/** What is understood; of the rest, a request may hold only what need not be. */
const KNOWN_ATTRIBUTES: ReadonlySet<number> = new Set(Object.values(AttributeType));

/** What of a request its answer needs, kept when the answer has to wait. */
export interface Asked {
  readonly client: Client;
  readonly method: number;
  readonly transactionId: Uint8Array;
  /** The request had a FINGERPRINT, so its sender tells protocols apart by it. */
  readonly fingerprint: boolean;
}

/** Keeps a view on the request; see {@linkcode keptAsked}. */
export function askedBy(client: Client, request: StunMessage): Asked {
  return {
    client,
    method: request.method,
    transactionId: request.transactionId,
    fingerprint: request.hasFingerprint,
  };
}

/** The same for an answer that outlives the request's buffer. */
export function keptAsked(asked: Asked): Asked {
  return { ...asked, transactionId: asked.transactionId.slice() };
}

/** What is in a success response. */
export interface Granted {
  readonly kind: "granted";
  readonly attributes: readonly Attribute[];
}

/** An error response of RFC 8489 section 14.8 or RFC 8656 section 19. */
export interface Refusal {
  readonly kind: "refused";
  readonly code: number;
  /** For people; what a request did wrong is said to those only who have authenticated. */
  readonly reason: string;
  readonly attributes: readonly Attribute[];
}

export function grant(...attributes: readonly Attribute[]): Granted {
  return { kind: "granted", attributes };
}

export function refuse(
  code: number,
  reason: string,
  ...attributes: readonly Attribute[]
): Refusal {
  return { kind: "refused", code, reason, attributes };
}

/** The bytes of an answer, signed when `integrity` is given. */
export function encodeAnswer(
  { method, transactionId, fingerprint }: Asked,
  answer: Granted | Refusal,
  integrity: Integrity | undefined,
): Uint8Array {
  const isError = answer.kind === "refused";
  const error: Attribute[] = isError ? [[AttributeType.ErrorCode, encodeErrorCode(answer)]] : [];
  return encodeStunMessage({
    method,
    messageClass: isError ? MessageClass.Error : MessageClass.Success,
    transactionId,
    attributes: [...error, ...answer.attributes],
    integrity,
    fingerprint,
  });
}

/** The refusal of a request with attributes that must be understood and are not. */
export function refuseUnknown(message: StunMessage): Refusal | undefined {
  const unknown = message.unknownAttributes(KNOWN_ATTRIBUTES);
  if (unknown.length === 0) return undefined;
  const attribute: Attribute = [
    AttributeType.UnknownAttributes,
    encodeUnknownAttributes(unknown),
  ];
  return refuse(420, "", attribute);
}
