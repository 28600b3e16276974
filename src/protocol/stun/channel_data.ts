/** ChannelData messages (RFC 8656 section 12.4): four bytes in front of a datagram. */

import { readU16, writeU16 } from "../../base/bytes.ts";
import { padded } from "./message.ts";

export const CHANNEL_HEADER_LENGTH = 4;
/** Channel numbers of RFC 8656 section 12. */
export const FIRST_CHANNEL = 0x4000;
export const LAST_CHANNEL = 0x4fff;
/** The last channel number of RFC 5766, which older clients use. */
export const LAST_LEGACY_CHANNEL = 0x7fff;

/** Writes the header at `offset`; the datagram of `length` bytes lies behind it. */
export function writeChannelHeader(
  buffer: Uint8Array,
  offset: number,
  channel: number,
  length: number,
): void {
  writeU16(buffer, offset, channel);
  writeU16(buffer, offset + 2, length);
}

/**
 * The length of the datagram in a ChannelData message of `length` bytes at `offset`, or -1 when the
 * message is shorter than it says. Bytes behind the datagram are padding.
 */
export function channelDataLength(buffer: Uint8Array, offset: number, length: number): number {
  if (length < CHANNEL_HEADER_LENGTH) return -1;
  const dataLength = readU16(buffer, offset + 2);
  return dataLength > length - CHANNEL_HEADER_LENGTH ? -1 : dataLength;
}

/** Fills the last four bytes of a ChannelData message, as streams need it; returns its length. */
export function padChannelData(buffer: Uint8Array, offset: number, length: number): number {
  const end = offset + padded(length);
  for (let i = offset + length; i < end; i++) buffer[i] = 0;
  return padded(length);
}
