/** Bytes of one buffer. */
export const PACKET_BUFFER_LENGTH = 65_536;

/**
 * Memory is asked for in pieces so large that the system hands out pages only where they are
 * touched: a relay port that sees datagrams of 1,200 bytes costs 8 KiB and not 64.
 */
const BUFFERS_PER_SLAB = 64;

/** Buffers for one datagram each, used again and again. */
export class PacketBuffers {
  readonly #free: Uint8Array<ArrayBuffer>[] = [];

  take(): Uint8Array<ArrayBuffer> {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    const slab = new ArrayBuffer(BUFFERS_PER_SLAB * PACKET_BUFFER_LENGTH);
    for (let i = BUFFERS_PER_SLAB - 1; i >= 0; i--) {
      this.#free.push(new Uint8Array(slab, i * PACKET_BUFFER_LENGTH, PACKET_BUFFER_LENGTH));
    }
    return this.take();
  }

  /** Nothing may use `buffer` any more. */
  giveBack(buffer: Uint8Array<ArrayBuffer>): void {
    this.#free.push(buffer);
  }
}
