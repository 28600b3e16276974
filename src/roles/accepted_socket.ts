import type { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import { concatBytes } from "../base/bytes.ts";
import {
  encodeBinary,
  encodeClose,
  type EncodedMessage,
  encodePong,
  encodeText,
  PING_FRAME,
} from "../protocol/web_socket_frames.ts";
import { FrameReader, TOO_BIG } from "../protocol/web_socket_reader.ts";
import type { DeadlineQueue } from "./deadline_queue.ts";
import {
  ABNORMAL,
  type CloseInfo,
  NORMAL,
  shortReason,
  type TextFrameSocket,
  WaitingSocket,
} from "./web_socket.ts";

/** What a queued message costs beside its bytes. */
const QUEUED_OVERHEAD = 256;
/** Frames that wait are joined up to this length, so that they cost one call of the system. */
const MAX_WRITE_LENGTH = 65_536;

/** Bounds of one accepted socket. */
export interface SocketLimits {
  /** Longest message; a longer one closes its socket with 1009. */
  readonly maxFrameBytes: number;
  /** Bytes that may wait for a slow reader; beyond, its connection is reset. */
  readonly maxBufferedBytes: number;
  /** Milliseconds that a client may take to answer a close. Default 2,000. */
  readonly closeTimeout?: number;
  /**
   * Close code for a slow reader and one that answers no ping. It is reset when it has not taken
   * that in either after `closeTimeout`; without a code it is reset at once.
   */
  readonly tooSlowCode?: number;
}

/** Why the server, and not the client or its handler, ended a connection. */
export type DropReason = "slow reader" | "no answer to pings" | "too large" | "broken frame";

/** A socket that a server accepted. */
export interface AcceptedWebSocket extends TextFrameSocket {
  /** Called for each ping of the client, which is answered by itself, and each idle pong. */
  onPing: () => void;
  /** Sends what was encoded once for several. */
  sendEncoded(message: EncodedMessage): void;
}

/** What the sockets of one server share. */
export interface SocketSurroundings {
  readonly limits: SocketLimits;
  readonly writes: WriteTurn;
  /** Sockets that wait for the client's part of the end; late ones are destroyed. */
  readonly leaving: DeadlineQueue<AcceptedSocket>;
  onDrop(reason: DropReason): void;
  /** Ends a connection at once, so that neither side keeps anything that waits in it. */
  reset(connection: Socket): void;
  /** The connection is no more. */
  onEnd(socket: AcceptedSocket): void;
}

/** The server's end of a WebSocket on a connection whose opening handshake is done. */
export class AcceptedSocket extends WaitingSocket implements AcceptedWebSocket {
  onPing: () => void = ignore;
  readonly #connection: Socket;
  readonly #around: SocketSurroundings;
  readonly #reader: FrameReader;
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  /** Until then nothing more is written: the connection has not taken what it was given. */
  #onTaken: (() => void) | undefined;
  /** Closing: said so. Finishing: all was said, and the connection ends when that is written. */
  #state: "open" | "closing" | "finishing" | "ended" = "open";
  #unansweredPings = 0;
  #dropReason: DropReason | undefined;
  #closed: CloseInfo | undefined;

  constructor(connection: Socket, around: SocketSurroundings) {
    super();
    this.#connection = connection;
    this.#around = around;
    this.#reader = new FrameReader(around.limits.maxFrameBytes);
  }

  /** Begins to read, first what came behind the handshake. */
  start(rest: Buffer): void {
    const connection = this.#connection;
    connection.on("error", ignore);
    connection.on("data", (bytes: Buffer) => this.#receive(bytes));
    connection.on("end", () => this.#finish());
    connection.on("close", () => this.#onEnd());
    if (rest.length > 0) this.#receive(rest);
    connection.resume();
  }

  /** With what each queued message costs beside its bytes, or many small ones would be free. */
  get bufferedBytes(): number {
    return this.#connection.writableLength + this.#queuedBytes +
      this.#queue.length * QUEUED_OVERHEAD;
  }

  send(message: Uint8Array): void {
    if (this.#state === "open") this.#sendFrame(encodeBinary(message));
  }

  sendText(text: string): void {
    if (this.#state === "open") this.#sendFrame(encodeText(text));
  }

  sendEncoded({ frame }: EncodedMessage): void {
    if (this.#state === "open") this.#sendFrame(frame);
  }

  /** Asks for a sign of life, or ends what gave none after two such questions. */
  ping(): void {
    if (this.#state !== "open") return;
    if (this.#unansweredPings >= 2) return this.#drop("no answer to pings");
    this.#unansweredPings++;
    this.#write(PING_FRAME);
  }

  close(code = NORMAL, reason = ""): void {
    if (this.#state !== "open") return;
    this.#state = "closing";
    this.#write(encodeClose(code, shortReason(reason)));
    this.#around.leaving.add(this);
  }

  destroy(): void {
    this.#discard();
    this.#around.reset(this.#connection);
  }

  /** Writes what waits, as much as the connection takes. */
  flush(): void {
    while (this.#queue.length > 0 && !this.#onTaken) {
      const bytes = this.#takeFromQueue();
      if (this.#connection.writableLength === 0) {
        this.#connection.write(bytes);
      } else {
        this.#onTaken = () => {
          this.#onTaken = undefined;
          this.flush();
        };
        this.#connection.write(bytes, this.#onTaken);
      }
    }
    if (this.#state === "finishing" && this.#queue.length === 0) this.#endConnection();
  }

  #endConnection(): void {
    // Ending what has been ended makes an error, which nobody sees but which costs.
    if (this.#connection.writableEnded) return;
    // After both close frames nothing more can come that would be worth to wait for.
    if (this.#closed) this.#connection.destroySoon();
    else this.#connection.end();
  }

  #receive(bytes: Uint8Array): void {
    const reader = this.#reader;
    reader.take(bytes);
    for (let found = reader.next(); found !== undefined; found = reader.next()) {
      if (this.#state === "ended") return;
      const isPongAskedFor = found === "pong" && this.#unansweredPings > 0;
      this.#unansweredPings = 0;
      switch (found) {
        case "binary":
          this.receiveFrame(reader.payload);
          break;
        case "text":
          this.receiveText(reader.text);
          break;
        case "ping":
          this.onPing();
          if (this.#state === "open") this.#sendFrame(encodePong(reader.payload));
          break;
        case "pong":
          if (!isPongAskedFor) this.onPing();
          break;
        case "close":
          this.#closed = { code: reader.closeCode, reason: reader.text };
          if (this.#state === "open") this.#write(encodeClose(reader.closeCode, reader.text));
          this.#finish();
          break;
        case "breach":
          this.#noteDrop(reader.closeCode === TOO_BIG ? "too large" : "broken frame");
          if (this.#state === "open") this.#write(encodeClose(reader.closeCode, ""));
          this.#finish();
      }
    }
  }

  #sendFrame(frame: Uint8Array): void {
    this.#write(frame);
    if (this.bufferedBytes > this.#around.limits.maxBufferedBytes) this.#drop("slow reader");
  }

  #write(frame: Uint8Array): void {
    this.#queuedBytes += frame.length;
    if (this.#queue.push(frame) === 1) this.#around.writes.add(this);
  }

  #takeFromQueue(): Uint8Array {
    const queue = this.#queue;
    const [first = new Uint8Array(0)] = queue;
    let count = 1;
    let length = first.length;
    while (count < queue.length && length + queue[count]!.length <= MAX_WRITE_LENGTH) {
      length += queue[count++]!.length;
    }
    const taken = count === queue.length ? queue : queue.splice(0, count);
    if (taken === queue) this.#queue = [];
    this.#queuedBytes -= length;
    return count === 1 ? first : concatBytes(...taken);
  }

  /** Ends the connection when what waits is written, and for the remote's part waits a little. */
  #finish(): void {
    if (this.#state === "ended" || this.#state === "finishing") return;
    this.#state = "finishing";
    this.#around.writes.add(this);
    this.#around.leaving.add(this);
  }

  /** Nothing more is read or written. */
  #discard(): void {
    this.#state = "ended";
    this.#queue = [];
    this.#queuedBytes = 0;
  }

  #onEnd(): void {
    this.#discard();
    this.#around.leaving.delete(this);
    this.#around.onEnd(this);
    const { code, reason } = this.#closed ?? { code: ABNORMAL, reason: "" };
    this.end({ code, reason: this.#dropReason ?? reason });
  }

  #drop(reason: DropReason): void {
    this.#noteDrop(reason);
    const { tooSlowCode } = this.#around.limits;
    if (tooSlowCode === undefined) this.destroy();
    else this.close(tooSlowCode, reason);
  }

  #noteDrop(reason: DropReason): void {
    if (this.#dropReason !== undefined) return;
    this.#dropReason = reason;
    this.#around.onDrop(reason);
  }
}

/** Lets sockets write at the end of a turn, so that all frames of the turn are one write. */
export class WriteTurn {
  #waiting: AcceptedSocket[] = [];
  readonly #end = () => {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const socket of waiting) socket.flush();
  };

  add(socket: AcceptedSocket): void {
    if (this.#waiting.push(socket) === 1) queueMicrotask(this.#end);
  }
}

function ignore(): void {}
