import { ProtocolError } from "../base/errors.ts";
import { type CborMap, decodeCborMap, encodeCbor } from "./cbor.ts";
import type { CborValue } from "./cbor_value.ts";
import { PeerId } from "./crypto/peer_id.ts";
import { MAX_TEXT_LENGTH } from "./message_types.ts";

/* Payloads 0x0502, 0x0503, 0x0720 and 0x0721. */

const PEER_ID_LENGTH = 34;
const CIRCUIT_ID_LENGTH = 16;
const MAX_CREDIT = 0xffff_ffff;
/** Longest frame that is relayed: a Noise message. */
export const MAX_RELAYED_FRAME = 65_535;
/** Most peers in one Roster or RosterChange. */
export const MAX_ROSTER_ROWS = 256;

const PRESENCES = ["gone", "away", "online"] as const;

/** `gone`: not paired with the server any more; `online`: has a link that receives. */
export type Presence = typeof PRESENCES[number];

/** What a server tells of one of its paired peers. */
export interface RosterRow {
  readonly peerId: PeerId;
  /** For display only, at most 256 bytes. */
  readonly name: string | null;
  readonly presence: Presence;
}

/** The peers of a server, without the one that is told; several messages when they are many. */
export interface Roster {
  /** At most 256. */
  readonly rows: readonly RosterRow[];
  /** The roster goes on in the next message. */
  readonly more: boolean;
}

export function encodeRoster(message: Roster): Uint8Array<ArrayBuffer> {
  return encodeCbor(
    new Map<number, CborValue>([[0, message.rows.map(encodeRow)], [1, message.more]]),
  );
}

/** @throws {ProtocolError} `malformed`. */
export function decodeRoster(payload: Uint8Array): Roster {
  const map = decodeCborMap(payload);
  return { rows: readRows(map), more: map.boolean(1) };
}

/** What became different since the Roster. */
export interface RosterChange {
  /** At most 256. */
  readonly rows: readonly RosterRow[];
}

export function encodeRosterChange(message: RosterChange): Uint8Array<ArrayBuffer> {
  return encodeCbor(new Map([[0, message.rows.map(encodeRow)]]));
}

/** @throws {ProtocolError} `malformed`. */
export function decodeRosterChange(payload: Uint8Array): RosterChange {
  return { rows: readRows(decodeCborMap(payload)) };
}

/** One frame of a relayed link. Decoded byte fields are views on the payload, here and below. */
export interface RelayData {
  /** Towards the server whom it is for, from the server whom it is from. */
  readonly peerId: PeerId;
  /** 1 to 65,535 bytes. */
  readonly frame: Uint8Array;
  /** 16 random bytes, chosen by the peer that opened the circuit. */
  readonly circuit: Uint8Array;
  /** True in the first frame of a circuit alone. */
  readonly opens: boolean;
  /** As in RelayAck, so that a conversation of small frames needs none. */
  readonly credit: number;
}

export function encodeRelayData(message: RelayData): Uint8Array<ArrayBuffer> {
  const map = new Map<number, CborValue>([
    [0, message.peerId.bytes],
    [1, message.frame],
    [2, message.circuit],
  ]);
  if (message.opens) map.set(3, true);
  if (message.credit > 0) map.set(4, message.credit);
  return encodeCbor(map);
}

/** @throws {ProtocolError} `malformed`. */
export function decodeRelayData(payload: Uint8Array): RelayData {
  const map = decodeCborMap(payload);
  const frame = map.bytesUpTo(1, MAX_RELAYED_FRAME);
  if (frame.length === 0) throw new ProtocolError("malformed", "Relayed frame is empty");
  return {
    peerId: readPeerId(map),
    frame,
    circuit: map.bytes(2, CIRCUIT_ID_LENGTH),
    opens: map.has(3) && map.boolean(3),
    credit: map.has(4) ? map.uint(4, MAX_CREDIT) : 0,
  };
}

/** Gives credit for further frames of a circuit, or ends it. */
export interface RelayAck {
  /** The peer at the other end. */
  readonly peerId: PeerId;
  /** 16 bytes. */
  readonly circuit: Uint8Array;
  /** Bytes of frames that were taken since the last one. */
  readonly credit: number;
  /** Why the circuit was refused or has ended; null while it lives. At most 256 bytes. */
  readonly reason: string | null;
}

export function encodeRelayAck(message: RelayAck): Uint8Array<ArrayBuffer> {
  return encodeCbor(
    new Map<number, CborValue>([
      [0, message.peerId.bytes],
      [1, message.circuit],
      [2, message.credit],
      [3, message.reason],
    ]),
  );
}

/** @throws {ProtocolError} `malformed`. */
export function decodeRelayAck(payload: Uint8Array): RelayAck {
  const map = decodeCborMap(payload);
  return {
    peerId: readPeerId(map),
    circuit: map.bytes(1, CIRCUIT_ID_LENGTH),
    credit: map.uint(2, MAX_CREDIT),
    reason: map.has(3) ? map.text(3, MAX_TEXT_LENGTH) : null,
  };
}

function encodeRow({ peerId, name, presence }: RosterRow): CborValue[] {
  return [peerId.bytes, name, PRESENCES.indexOf(presence)];
}

function readRows(map: CborMap): RosterRow[] {
  return map.rows(0, 3, MAX_ROSTER_ROWS).map((row) => {
    const presence = PRESENCES[row.uint(2)];
    if (presence === undefined) throw new ProtocolError("malformed", "Presence is unknown");
    return {
      peerId: readPeerId(row),
      name: row.has(1) ? row.text(1, MAX_TEXT_LENGTH) : null,
      presence,
    };
  });
}

function readPeerId(map: CborMap): PeerId {
  return PeerId.fromBytes(map.bytes(0, PEER_ID_LENGTH));
}
