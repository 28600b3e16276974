import { fromBase64Url, fromHex, toBase64Url, toHex } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import { CborMap, decodeCbor, decodeCborMap, encodeCbor } from "../cbor.ts";
import type { CborValue } from "../cbor_value.ts";
import { PeerId } from "../crypto/peer_id.ts";

/** Most bytes of an {@linkcode Invitation} as a QR payload. */
export const MAX_INVITATION_LENGTH = 256;
/** Bytes of the nonce, which names the invitation. */
export const INVITATION_NONCE_LENGTH = 16;
/** Bytes of the credential in invitations of our own. */
export const INVITATION_CREDENTIAL_LENGTH = 32;

const PEER_ID_LENGTH = 34;
const CREDENTIAL_LENGTHS = { min: 16, max: 64 };
const MAX_HINTS = 8;
const MAX_HINT_TYPE = 16;
const MAX_HINT_VALUE = 200;
const MAX_LINK_LENGTH = 2_048;
/** Seconds that the clocks of two peers may differ. */
const CLOCK_TOLERANCE = 300;
const LINK_START = /^cairn:\/\/pair\/?\?/i;

/**
 * A way to reach the acceptor: `signal` (a signaling server's URL), `ws` (an address for links) or
 * `turn` (a relay's URI). Others are skipped.
 */
export interface InvitationHint {
  readonly type: string;
  readonly value: string;
}

/** What a pairing link or QR code says. Secret: whoever has it can pair once. */
export interface Invitation {
  /** The acceptor, which the joiner demands to meet. */
  readonly peerId: PeerId;
  /** 16 bytes; with the credential it gives the topic, and alone it names the invitation. */
  readonly nonce: Uint8Array;
  /** 32 bytes in ours, 16 to 64 in others. */
  readonly credential: Uint8Array;
  readonly hints: readonly InvitationHint[];
  /** Unix seconds. */
  readonly createdAt: number;
  /** Unix seconds. */
  readonly expiresAt: number;
}

/**
 * As bytes, for a QR code (the reference's payload).
 *
 * @throws {RangeError} beyond {@linkcode MAX_INVITATION_LENGTH}: give fewer hints.
 */
export function encodeInvitation(invitation: Invitation): Uint8Array<ArrayBuffer> {
  const bytes = encodeCbor(
    new Map<number, CborValue>([
      [0, invitation.peerId.bytes],
      [1, invitation.nonce],
      [2, invitation.credential],
      ...(invitation.hints.length > 0 ? [hintsField(invitation.hints)] : []),
      [4, invitation.createdAt],
      [5, invitation.expiresAt],
    ]),
  );
  if (bytes.length > MAX_INVITATION_LENGTH) {
    throw new RangeError(`Cannot put ${bytes.length} bytes into an invitation`);
  }
  return bytes;
}

/** @throws {ProtocolError} `malformed`. */
export function decodeInvitation(bytes: Uint8Array): Invitation {
  if (bytes.length > MAX_INVITATION_LENGTH) {
    throw new ProtocolError("malformed", "Invitation is too long");
  }
  const map = decodeCborMap(bytes);
  const credential = map.bytesUpTo(2, CREDENTIAL_LENGTHS.max).slice();
  requireCredential(credential);
  return {
    peerId: PeerId.fromBytes(map.bytes(0, PEER_ID_LENGTH)),
    nonce: map.bytes(1, INVITATION_NONCE_LENGTH).slice(),
    credential,
    hints: map.has(3) ? readHints(map) : [],
    createdAt: map.has(4) ? map.uint(4) : 0,
    expiresAt: map.has(5) ? map.uint(5) : 0,
  };
}

/** As a link, `cairn://pair?pid=…`, with the reference's parameters in its order. */
export function formatPairingLink(invitation: Invitation): string {
  const { peerId, nonce, credential, hints, createdAt, expiresAt } = invitation;
  const encoded = hints.map(({ type, value }) => [type, value]);
  return `cairn://pair?pid=${peerId}&nonce=${toHex(nonce)}&pake=${toHex(credential)}` +
    (hints.length > 0 ? `&hints=${toBase64Url(encodeCbor(encoded))}` : "") +
    `&t=${createdAt}&x=${expiresAt}`;
}

/** @throws {ProtocolError} `malformed` when `text` is not a whole pairing link. */
export function parsePairingLink(text: string): Invitation {
  const link = text.trim();
  if (link.length > MAX_LINK_LENGTH || !LINK_START.test(link)) throw notALink();
  const parameters = new URLSearchParams(link.slice(link.indexOf("?") + 1));
  const peerId = PeerId.parse(parameters.get("pid") ?? "");
  if (!peerId) throw notALink();
  const credential = readHex(parameters.get("pake"));
  requireCredential(credential);
  const nonce = readHex(parameters.get("nonce"));
  if (nonce.length !== INVITATION_NONCE_LENGTH) throw notALink();
  const hints = parameters.get("hints");
  return {
    peerId,
    nonce,
    credential,
    hints: hints === null ? [] : readHints(new CborMap(new Map([[3, decodeHints(hints)]]))),
    createdAt: readSeconds(parameters.get("t")),
    expiresAt: readSeconds(parameters.get("x")),
  };
}

/** Whether `now` (Unix seconds) lies behind the expiry, also for a clock that is a little ahead. */
export function isExpired({ expiresAt }: Invitation, now: number): boolean {
  return now > expiresAt + CLOCK_TOLERANCE;
}

/** As many of `hints`, the first first, as fit beside the rest of `invitation`. */
export function fitHints(
  invitation: Omit<Invitation, "hints">,
  hints: readonly InvitationHint[],
): InvitationHint[] {
  const fitting: InvitationHint[] = [];
  const empty = encodeInvitation({ ...invitation, hints: [] }).length;
  for (const hint of hints) {
    if (fitting.length >= MAX_HINTS || !isReadable(hint)) continue;
    const [key, value] = hintsField([...fitting, hint]);
    const added = encodeCbor(new Map([[key, value]])).length - 1;
    if (empty + added <= MAX_INVITATION_LENGTH) fitting.push(hint);
  }
  return fitting;
}

function hintsField(hints: readonly InvitationHint[]): [number, CborValue] {
  return [3, hints.map(({ type, value }) => [type, value])];
}

function readHints(map: CborMap): InvitationHint[] {
  return map.rows(3, 2, MAX_HINTS).map((row) => ({
    type: row.text(0, MAX_HINT_TYPE),
    value: row.text(1, MAX_HINT_VALUE),
  }));
}

function isReadable({ type, value }: InvitationHint): boolean {
  return type.length <= MAX_HINT_TYPE && value.length <= MAX_HINT_VALUE;
}

function decodeHints(text: string): CborValue {
  try {
    return decodeCbor(fromBase64Url(text));
  } catch {
    throw notALink();
  }
}

function readHex(text: string | null): Uint8Array {
  try {
    return fromHex(text ?? "");
  } catch {
    throw notALink();
  }
}

function readSeconds(text: string | null): number {
  if (text === null) return 0;
  if (!/^\d{1,15}$/.test(text)) throw notALink();
  return Number(text);
}

function requireCredential({ length }: Uint8Array): void {
  if (length < CREDENTIAL_LENGTHS.min || length > CREDENTIAL_LENGTHS.max) throw notALink();
}

function notALink(): ProtocolError {
  return new ProtocolError("malformed", "Not a pairing link");
}
