/** The frames of RFC 6455 (section 5) as a server reads them; it has no extensions. */

import { fromUtf8, readU16, readU32 } from "../base/bytes.ts";
import {
  BINARY,
  CLOSE,
  CONTINUATION,
  FINAL,
  IS_CONTROL,
  LENGTH_OF_16_BITS,
  mayBeSent,
  PING,
  PONG,
  TEXT,
} from "./web_socket_frames.ts";

const RESERVED = 0x70;
const MASKED = 0x80;
const MASK_LENGTH = 4;
/** From how many bytes on it pays to unmask four at a time. */
const LONG = 64;
const MAX_FRAGMENTS = 256;
const EMPTY = new Uint8Array(0);

/** Close codes (7.4.1) that the rules of this file call for. */
const PROTOCOL_ERROR = 1002;
const INVALID_DATA = 1007;
const POLICY_VIOLATION = 1008;
/** Closes who sends what is too long. */
export const TOO_BIG = 1009;
/** Stands for a close frame without a code; never sent. */
export const NO_STATUS = 1005;

/** What a {@linkcode FrameReader} found; "breach" where the client broke the rules. */
export type Incoming = "binary" | "text" | "ping" | "pong" | "close" | "breach";

/**
 * Reads what one client sends. `take` what arrived, then call `next` until it has nothing; after
 * "close" and "breach" it never has. Memory: what has arrived of one frame and of one fragmented
 * message, never what a header only promises.
 */
export class FrameReader {
  /** Of "binary", "ping" and "pong": bytes that nothing writes to any more. */
  payload: Uint8Array = EMPTY;
  /** Of "text", and of "close" the reason. */
  text = "";
  /** Of "close" what the client said, {@linkcode NO_STATUS} if nothing; of "breach" what to say. */
  closeCode = NO_STATUS;
  readonly #maxLength: number;
  /** From `#at` to `#end` is what has not been read. */
  #input: Uint8Array = EMPTY;
  #at = 0;
  #end = 0;
  /** The opcode of a fragmented message of which some has come, else {@linkcode CONTINUATION}. */
  #fragmented = CONTINUATION;
  #fragments = 0;
  #message: Uint8Array = EMPTY;
  #messageLength = 0;
  #isEnded = false;

  /** Longest message in bytes, whether or not in fragments. */
  constructor(maxLength: number) {
    this.#maxLength = maxLength;
  }

  /** Takes bytes that belong to the reader from then on: it unmasks them in place. */
  take(bytes: Uint8Array): void {
    if (this.#isEnded) return;
    if (this.#end === 0) {
      this.#input = bytes;
      this.#end = bytes.length;
    } else {
      this.#input = append(this.#input, this.#end, bytes);
      this.#end += bytes.length;
    }
  }

  /** The next message or control frame of what was taken, if it is complete. */
  next(): Incoming | undefined {
    while (!this.#isEnded) {
      const input = this.#input;
      const start = this.#at;
      const available = this.#end - start;
      if (available < 2) return this.#keepRest();
      const first = input[start]!;
      const second = input[start + 1]!;
      const opcode = first & 0x0f;
      const isFinal = first >= FINAL;
      if ((first & RESERVED) !== 0 || second < MASKED || !this.#isDue(opcode)) {
        return this.#breach(PROTOCOL_ERROR);
      }
      let length = second & 0x7f;
      let headLength = 2;
      if (length >= LENGTH_OF_16_BITS) {
        if (opcode >= IS_CONTROL) return this.#breach(PROTOCOL_ERROR);
        headLength = length === LENGTH_OF_16_BITS ? 4 : 10;
        if (available < headLength) return this.#keepRest();
        const smallest = headLength === 4 ? LENGTH_OF_16_BITS : 0x1_0000;
        length = headLength === 4 ? readU16(input, start + 2) : readU64(input, start + 2);
        if (length < smallest) return this.#breach(PROTOCOL_ERROR);
      }
      if (opcode < IS_CONTROL) {
        if (this.#messageLength + length > this.#maxLength) return this.#breach(TOO_BIG);
      } else if (!isFinal) return this.#breach(PROTOCOL_ERROR);
      const from = start + headLength + MASK_LENGTH;
      if (this.#end - from < length) return this.#keepRest();
      this.#at = from + length;
      unmask(input, from, length);
      // A plain array, also where the input is a Buffer, whose `slice` would not copy.
      const payload = new Uint8Array(input.buffer, input.byteOffset + from, length);
      const found = opcode >= IS_CONTROL
        ? this.#control(opcode, payload)
        : this.#data(opcode, payload, isFinal);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** Whether a frame of this opcode may come here (5.4, 5.5, 5.6). */
  #isDue(opcode: number): boolean {
    if (opcode >= IS_CONTROL) return opcode <= PONG;
    return opcode <= BINARY && (opcode === CONTINUATION) === (this.#fragmented !== CONTINUATION);
  }

  #data(opcode: number, payload: Uint8Array, isFinal: boolean): Incoming | undefined {
    if (isFinal && opcode !== CONTINUATION) return this.#complete(opcode, payload);
    if (opcode !== CONTINUATION) this.#fragmented = opcode;
    if (++this.#fragments > MAX_FRAGMENTS) return this.#breach(POLICY_VIOLATION);
    this.#message = append(this.#message, this.#messageLength, payload);
    this.#messageLength += payload.length;
    if (!isFinal) return undefined;
    const message = this.#message.subarray(0, this.#messageLength);
    const kind = this.#fragmented;
    this.#message = EMPTY;
    this.#messageLength = this.#fragments = 0;
    this.#fragmented = CONTINUATION;
    return this.#complete(kind, message);
  }

  #complete(opcode: number, message: Uint8Array): Incoming {
    if (opcode === TEXT) return this.#readText(message) ? "text" : this.#breach(INVALID_DATA);
    this.payload = message;
    return "binary";
  }

  #control(opcode: number, payload: Uint8Array): Incoming {
    if (opcode === CLOSE) return this.#close(payload);
    this.payload = payload;
    return opcode === PING ? "ping" : "pong";
  }

  #close(payload: Uint8Array): Incoming {
    if (payload.length > 0) {
      if (payload.length === 1 || !mayBeSent(readU16(payload, 0))) {
        return this.#breach(PROTOCOL_ERROR);
      }
      if (!this.#readText(payload.subarray(2))) return this.#breach(INVALID_DATA);
      this.closeCode = readU16(payload, 0);
    }
    return this.#ended("close");
  }

  #readText(bytes: Uint8Array): boolean {
    try {
      this.text = fromUtf8(bytes);
      return true;
    } catch {
      return false;
    }
  }

  #breach(closeCode: number): Incoming {
    this.closeCode = closeCode;
    return this.#ended("breach");
  }

  #ended(how: Incoming): Incoming {
    this.#isEnded = true;
    this.#input = this.#message = EMPTY;
    return how;
  }

  /** Puts the part of a frame that has come aside, so that it keeps no other from being freed. */
  #keepRest(): undefined {
    if (this.#at === this.#end) this.#input = EMPTY;
    else if (this.#at > 0) this.#input = this.#input.slice(this.#at, this.#end);
    this.#end -= this.#at;
    this.#at = 0;
  }
}

/** `bytes` behind the first `length` of `kept`, in place where there is room. */
function append(kept: Uint8Array, length: number, bytes: Uint8Array): Uint8Array {
  const needed = length + bytes.length;
  let grown = kept;
  if (kept.length < needed) {
    grown = new Uint8Array(Math.max(needed, 2 * length));
    grown.set(kept.subarray(0, length));
  }
  grown.set(bytes, length);
  return grown;
}

/** Where the first bit is set, which the RFC forbids, it is too big like any such number. */
function readU64(bytes: Uint8Array, offset: number): number {
  return readU32(bytes, offset) * 2 ** 32 + readU32(bytes, offset + 4);
}

/** Undoes the masking (5.3) of the bytes at `from` by the key in front of them. */
function unmask(bytes: Uint8Array, from: number, length: number): void {
  const end = from + length;
  let at = from;
  if (length >= LONG) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const key = view.getInt32(from - MASK_LENGTH);
    for (; at + 4 <= end; at += 4) view.setInt32(at, view.getInt32(at) ^ key);
  }
  for (; at < end; at++) bytes[at] = bytes[at]! ^ bytes[from - MASK_LENGTH + ((at - from) & 3)]!;
}
