import { ProtocolError } from "../base/errors.ts";
import { decodeCborMap, encodeCbor } from "./cbor.ts";
import { MAX_TEXT_LENGTH } from "./message_types.ts";

const MAX_VERSIONS = 32;

/** The versions that one side speaks, highest first; the answer holds the selected one alone. */
export interface VersionNegotiate {
  readonly versions: readonly number[];
}

export function encodeVersionNegotiate(message: VersionNegotiate): Uint8Array<ArrayBuffer> {
  return encodeCbor(new Map([["versions", [...message.versions]]]));
}

/** @throws {ProtocolError} `malformed`. */
export function decodeVersionNegotiate(payload: Uint8Array): VersionNegotiate {
  const versions = decodeCborMap(payload)
    .uintArray("versions", Number.MAX_SAFE_INTEGER, MAX_VERSIONS);
  return { versions };
}

/**
 * The first of the initiator's versions that the responder has too.
 *
 * @throws {ProtocolError} `unsupported-version` when there is none.
 */
export function selectVersion(initiator: readonly number[], responder: readonly number[]): number {
  const version = initiator.find((candidate) => responder.includes(candidate));
  if (version === undefined) {
    throw new ProtocolError("unsupported-version", "No version in common");
  }
  return version;
}

/** Precedes the orderly end of a link. */
export interface SessionClose {
  /** One of the reasons of the wire format; empty when the remote gave none. */
  readonly reason: string;
}

export function encodeSessionClose(message: SessionClose): Uint8Array<ArrayBuffer> {
  return encodeCbor(new Map([[0, message.reason]]));
}

/** Accepts the reference's empty payload too. @throws {ProtocolError} `malformed`. */
export function decodeSessionClose(payload: Uint8Array): SessionClose {
  if (payload.length === 0) return { reason: "" };
  return { reason: decodeCborMap(payload).text(0, MAX_TEXT_LENGTH) };
}
