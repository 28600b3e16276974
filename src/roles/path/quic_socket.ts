import { getLogger } from "@logtape/logtape";
import { concatBytes, u16 } from "../../base/bytes.ts";
import { MAX_FRAME_LENGTH } from "../../protocol/link/link.ts";
import { type CloseInfo, shortReason, WaitingSocket } from "../web_socket.ts";
import { FrameReader } from "./frame_reader.ts";

const log = getLogger(["cairn", "path"]);

const ABNORMAL: CloseInfo = { code: 1006, reason: "" };
/** Bytes that are handed to the stream at once. */
const MAX_BATCH = 262_144;
/** Milliseconds without progress after which a connection that is to end is cut. */
const CLOSE_TIMEOUT = 10_000;

/**
 * A QUIC stream as a carrier: each frame with its length in front (u16, big-endian). The connection
 * has no other stream and ends with it.
 */
export class QuicSocket extends WaitingSocket {
  /** Resolves once the connection has ended, whoever ended it. */
  readonly ended: Promise<void>;
  readonly #connection: Deno.QuicConn;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #waiting: Uint8Array[] = [];
  #bufferedBytes = 0;
  #isWriting = false;
  #isOpen = true;
  #hasFinished = false;
  #closing: ReturnType<typeof setTimeout> | undefined;
  #closeInfo: CloseInfo = ABNORMAL;

  constructor(connection: Deno.QuicConn, stream: Deno.QuicBidirectionalStream) {
    super();
    this.#connection = connection;
    this.#writer = stream.writable.getWriter();
    // Its failures show where it is written to and in the end of the connection.
    this.#writer.closed.catch(() => {});
    this.#read(stream.readable.getReader());
    this.ended = connection.closed.then(() => this.#finish(), () => this.#finish());
  }

  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }

  /** @throws {RangeError} when the frame is longer than its length can say. */
  send(frame: Uint8Array): void {
    if (frame.length > MAX_FRAME_LENGTH) throw new RangeError("Cannot send a frame so long");
    if (!this.#isOpen) return;
    this.#waiting.push(u16(frame.length), frame);
    this.#bufferedBytes += 2 + frame.length;
    if (!this.#isWriting) this.#write();
  }

  sendText(): void {
    throw new TypeError("Cannot carry text");
  }

  /** Ends after what was sent before. */
  close(_code?: number, reason = ""): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#closeInfo = { code: 1000, reason: shortReason(reason) };
    this.#awaitEnd();
    if (!this.#isWriting) this.#closeStream();
  }

  destroy(): void {
    this.#isOpen = false;
    this.#connection.close();
    this.#finish();
  }

  async #write(): Promise<void> {
    this.#isWriting = true;
    try {
      while (this.#waiting.length > 0) {
        const batch = this.#nextBatch();
        await this.#writer.write(batch);
        this.#bufferedBytes -= batch.length;
        if (!this.#isOpen) this.#awaitEnd();
      }
      if (!this.#isOpen) this.#closeStream();
    } catch {
      this.destroy();
    } finally {
      this.#isWriting = false;
    }
  }

  #nextBatch(): Uint8Array {
    let length = 0;
    let count = 0;
    while (count < this.#waiting.length && length < MAX_BATCH) {
      length += this.#waiting[count++]!.length;
    }
    return concatBytes(...this.#waiting.splice(0, count));
  }

  /** The remote ends the connection when it has read the end of the stream. */
  #awaitEnd(): void {
    clearTimeout(this.#closing);
    if (this.#hasFinished) return;
    this.#closing = setTimeout(() => this.#connection.close(), CLOSE_TIMEOUT);
  }

  #closeStream(): void {
    this.#writer.close().catch(() => {});
  }

  async #read(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
    const frames = new FrameReader((frame) => this.receiveFrame(frame));
    try {
      for (let part = await reader.read(); part.value; part = await reader.read()) {
        frames.push(part.value);
      }
      this.#closeInfo = { code: 1000, reason: this.#closeInfo.reason };
    } catch (error) {
      log.debug("A QUIC stream broke: {error}", { error });
    }
    // Frames that wait to be written have nobody left to read them.
    this.#isOpen = false;
    this.#connection.close();
    this.#finish();
  }

  #finish(): void {
    this.#hasFinished = true;
    clearTimeout(this.#closing);
    this.#isOpen = false;
    this.end(this.#closeInfo);
  }
}
