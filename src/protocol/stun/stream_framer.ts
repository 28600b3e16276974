import { readU16, readU32 } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import { CHANNEL_HEADER_LENGTH } from "./channel_data.ts";
import { HEADER_LENGTH, MAGIC_COOKIE, padded } from "./message.ts";

/** The longest message on a stream: a header and what 16 bits can count, with padding. */
export const MAX_FRAME_LENGTH = HEADER_LENGTH + 0x10000;

/** What is kept between frames; longer frames borrow more. */
const RESTING_CAPACITY = 4_096;
const FIRST_CHANNEL_BYTE = 0x40;

/**
 * Cuts a byte stream into STUN and ChannelData messages, which say themselves how long they are
 * (RFC 8489 section 6.2.2, RFC 8656 section 12.5). Memory is bounded by one frame and one chunk.
 */
export class StreamFramer {
  /** The longest frame accepted. The owner raises it once the client is known. */
  maxFrameLength: number;
  /** Holds the frame found by {@linkcode next}, until the next call of any method. */
  buffer: Uint8Array;
  /** Where the frame begins. At least `headroom` bytes in front of it are free. */
  offset = 0;
  /** The frame's length, padding included. */
  length = 0;
  readonly #headroom: number;
  readonly #lastChannelByte: number;
  #start: number;
  #end: number;

  /** `lastChannel` is the highest channel number that can begin a frame. */
  constructor(options: { headroom: number; maxFrameLength: number; lastChannel: number }) {
    this.#headroom = options.headroom;
    this.#lastChannelByte = options.lastChannel >>> 8;
    this.maxFrameLength = options.maxFrameLength;
    this.buffer = new Uint8Array(options.headroom + RESTING_CAPACITY);
    this.#start = this.#end = options.headroom;
  }

  /** Takes a copy of what has arrived. Call {@linkcode next} until it is false afterwards. */
  push(chunk: Uint8Array): void {
    this.#makeRoom(chunk.length);
    this.buffer.set(chunk, this.#end);
    this.#end += chunk.length;
  }

  /**
   * Finds the next whole frame.
   *
   * @throws {ProtocolError} `malformed` where no frame can begin, `too-large` on one that is longer
   * than `maxFrameLength`. The stream cannot be read on then.
   */
  next(): boolean {
    const available = this.#end - this.#start;
    const length = this.#frameLength(available);
    if (length > this.maxFrameLength) {
      throw new ProtocolError("too-large", `Frame of ${length} bytes on a stream`);
    }
    if (length === 0 || available < length) return false;
    this.offset = this.#start;
    this.length = length;
    this.#start += length;
    return true;
  }

  /** The length of the frame that begins here, or 0 when its header is not there yet. */
  #frameLength(available: number): number {
    if (available === 0) return 0;
    const first = this.buffer[this.#start]!;
    if (first >= FIRST_CHANNEL_BYTE) {
      if (first > this.#lastChannelByte) throw noFrame("neither STUN nor ChannelData");
      if (available < CHANNEL_HEADER_LENGTH) return 0;
      return CHANNEL_HEADER_LENGTH + padded(readU16(this.buffer, this.#start + 2));
    }
    if (available < 8) return 0;
    const length = readU16(this.buffer, this.#start + 2);
    if (readU32(this.buffer, this.#start + 4) !== MAGIC_COOKIE || length % 4 !== 0) {
      throw noFrame("not a STUN header");
    }
    return HEADER_LENGTH + length;
  }

  #makeRoom(length: number): void {
    const pending = this.#end - this.#start;
    const needed = this.#headroom + pending + length;
    const resting = this.#headroom + RESTING_CAPACITY;
    if (this.#end + length <= this.buffer.length && pending > 0) return;
    const old = this.buffer;
    if (needed > old.length) {
      // Doubled, so that a long frame that comes byte by byte is not copied for each of them.
      this.buffer = new Uint8Array(Math.max(needed, 2 * old.length));
    } else if (old.length > resting && needed <= resting) {
      this.buffer = new Uint8Array(resting);
    }
    this.buffer.set(old.subarray(this.#start, this.#end), this.#headroom);
    this.#start = this.#headroom;
    this.#end = this.#headroom + pending;
  }
}

function noFrame(what: string): ProtocolError {
  return new ProtocolError("malformed", `Bytes on a stream that are ${what}`);
}
