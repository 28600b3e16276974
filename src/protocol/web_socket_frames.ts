/** The frames of RFC 6455 (section 5) as a server writes them; it has no extensions. */

import { utf8 } from "../base/bytes.ts";

/** Opcodes (5.2). */
export const CONTINUATION = 0x0;
export const TEXT = 0x1;
export const BINARY = 0x2;
export const CLOSE = 0x8;
export const PING = 0x9;
export const PONG = 0xa;
/** The bit of an opcode that tells control frames (5.5). */
export const IS_CONTROL = 0x8;
/** The bit in front of an opcode that ends a message. */
export const FINAL = 0x80;
/** Lengths that stand for a longer field (5.2). */
export const LENGTH_OF_16_BITS = 126;
export const LENGTH_OF_64_BITS = 127;

/** Whether a close code may stand in a frame (7.4). */
export function mayBeSent(code: number): boolean {
  return code >= 1000 && code <= 1014 && (code < 1004 || code > 1006) ||
    code >= 3000 && code <= 4999;
}

/** A message in the one form in which every client gets it, encoded once for all of them. */
export class EncodedMessage {
  /** The whole frame. */
  readonly frame: Uint8Array;
  /** The part of `frame` that the message is. */
  readonly payload: Uint8Array;

  private constructor(opcode: number, payload: Uint8Array) {
    this.frame = encodeFrame(opcode, payload);
    this.payload = this.frame.subarray(this.frame.length - payload.length);
  }

  /** Copies `payload`. */
  static binary(payload: Uint8Array): EncodedMessage {
    return new EncodedMessage(BINARY, payload);
  }
}

export function encodeBinary(payload: Uint8Array): Uint8Array {
  return encodeFrame(BINARY, payload);
}

export function encodeText(text: string): Uint8Array {
  return encodeFrame(TEXT, utf8(text));
}

/** An empty ping, to be sent as often as one likes. */
export const PING_FRAME = encodeFrame(PING, new Uint8Array(0));

/** Answers a ping of this payload. */
export function encodePong(payload: Uint8Array): Uint8Array {
  return encodeFrame(PONG, payload);
}

/** `reason` of at most 123 bytes. Without a code that may be sent, the frame has none. */
export function encodeClose(code: number, reason: string): Uint8Array {
  if (!mayBeSent(code)) return encodeFrame(CLOSE, new Uint8Array(0));
  const text = utf8(reason);
  const payload = new Uint8Array(2 + text.length);
  payload[0] = code >> 8;
  payload[1] = code & 0xff;
  payload.set(text, 2);
  return encodeFrame(CLOSE, payload);
}

/** One unfragmented frame from a server, which does not mask. */
function encodeFrame(opcode: number, payload: Uint8Array): Uint8Array {
  const { length } = payload;
  const headLength = length < LENGTH_OF_16_BITS ? 2 : length < 0x1_0000 ? 4 : 10;
  const frame = new Uint8Array(headLength + length);
  frame[0] = FINAL | opcode;
  if (headLength === 2) frame[1] = length;
  else {
    frame[1] = headLength === 4 ? LENGTH_OF_16_BITS : LENGTH_OF_64_BITS;
    let rest = length;
    for (let at = headLength - 1; at > 1; at--) {
      frame[at] = rest % 256;
      rest = Math.floor(rest / 256);
    }
  }
  frame.set(payload, headLength);
  return frame;
}
