import { readU16 } from "../../base/bytes.ts";
import { MAX_FRAME_LENGTH } from "../../protocol/link/link.ts";

const HEADER = 2;

/** Cuts a stream into frames, each with its length in front (u16, big-endian). */
export class FrameReader {
  readonly #onFrame: (frame: Uint8Array) => void;
  /** A frame of which a part has come, with its length. */
  readonly #partial = new Uint8Array(HEADER + MAX_FRAME_LENGTH);
  #filled = 0;

  /** Nothing else writes to a frame that is handed over. */
  constructor(onFrame: (frame: Uint8Array) => void) {
    this.#onFrame = onFrame;
  }

  /** Takes the next bytes, which must not change later. */
  push(bytes: Uint8Array): void {
    let offset = this.#complete(bytes);
    while (bytes.length - offset >= HEADER) {
      const end = offset + HEADER + readU16(bytes, offset);
      if (end > bytes.length) break;
      this.#onFrame(bytes.subarray(offset + HEADER, end));
      offset = end;
    }
    if (offset < bytes.length) this.#keep(bytes.subarray(offset));
  }

  /** Adds to the frame that was begun; returns how many bytes it took. */
  #complete(bytes: Uint8Array): number {
    let taken = 0;
    while (this.#filled > 0 && taken < bytes.length) {
      const wanted = this.#filled < HEADER ? HEADER : HEADER + readU16(this.#partial, 0);
      const part = bytes.subarray(taken, taken + wanted - this.#filled);
      this.#keep(part);
      taken += part.length;
      if (this.#filled < HEADER) break;
      const length = HEADER + readU16(this.#partial, 0);
      if (this.#filled < length) continue;
      this.#filled = 0;
      this.#onFrame(this.#partial.slice(HEADER, length));
    }
    return taken;
  }

  #keep(part: Uint8Array): void {
    this.#partial.set(part, this.#filled);
    this.#filled += part.length;
  }
}
