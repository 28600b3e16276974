import { EpollSocket, type SocketEvents } from "./epoll_sockets.ts";

const TEXT = 1;
const BINARY = 2;
const CLOSE = 8;
const PING = 9;
const PONG = 10;
/** Not zero: some servers save themselves the work that a zero mask does not need. */
const MASK = [0x5a, 0xc3, 0x17, 0x88] as const;
const encoder = new TextEncoder();

export interface WebSocketEvents {
  onOpen(): void;
  /** A data message, or a part of one when the server sends in parts. A view: copy what is kept. */
  onMessage(bytes: Uint8Array): void;
  /** Not called after an own `close`. */
  onEnd(why: string): void;
}

export interface WebSocketTarget {
  readonly port: number;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** A WebSocket client (RFC 6455) that does what a load generator needs and nothing else. */
export class LoadWebSocket implements SocketEvents {
  readonly #socket: EpollSocket;
  readonly #target: WebSocketTarget;
  readonly #events: WebSocketEvents;
  #isOpen = false;
  #isClosing = false;
  #rest = new Uint8Array(0);

  constructor(target: WebSocketTarget, source: number, events: WebSocketEvents) {
    this.#target = target;
    this.#events = events;
    this.#socket = new EpollSocket(target.port, source, this);
  }

  sendText(text: string): void {
    this.#send(TEXT, encoder.encode(text));
  }

  sendBinary(bytes: Uint8Array): void {
    this.#send(BINARY, bytes);
  }

  /** Sends what {@linkcode maskedBinary} made before. */
  sendMasked(frame: Uint8Array<ArrayBuffer>): void {
    this.#socket.send(frame);
  }

  /** Says goodbye; the socket ends when the server has answered, or ended it by itself. */
  close(): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#send(CLOSE, Uint8Array.of(0x03, 0xe8));
  }

  get isGone(): boolean {
    return this.#socket.isClosed;
  }

  destroy(): void {
    this.#socket.close();
  }

  onOpen(): void {
    const { path, headers } = this.#target;
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join("");
    this.#socket.send(encoder.encode(
      `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${lines}\r\n`,
    ));
  }

  onData(bytes: Uint8Array): void {
    let data = bytes;
    if (this.#rest.length > 0) {
      data = new Uint8Array(this.#rest.length + bytes.length);
      data.set(this.#rest);
      data.set(bytes, this.#rest.length);
    }
    let used = 0;
    if (!this.#isOpen) {
      used = this.#readResponse(data);
      if (used > 0 && !this.#isClosing) this.#events.onOpen();
    }
    if (this.#isOpen) used += this.#readFrames(data.subarray(used));
    this.#rest = data.slice(used);
  }

  onEnd(): void {
    if (!this.#isClosing) this.#events.onEnd(this.#isOpen ? "ended by the server" : "not accepted");
  }

  #readResponse(data: Uint8Array): number {
    for (let i = 3; i < data.length; i++) {
      if (data[i] !== 10 || data[i - 1] !== 13 || data[i - 2] !== 10) continue;
      const status = String.fromCharCode(...data.subarray(9, 12));
      if (status !== "101") {
        this.#isClosing = true;
        this.#socket.close();
        this.#events.onEnd(`HTTP status ${status}`);
        return 0;
      }
      this.#isOpen = true;
      return i + 1;
    }
    return 0;
  }

  #readFrames(data: Uint8Array): number {
    let at = 0;
    while (data.length - at >= 2) {
      let start = at + 2;
      let length = data[at + 1]! & 0x7f;
      if (length >= 126) {
        const size = length === 126 ? 2 : 8;
        if (data.length - start < size) break;
        length = 0;
        for (let i = 0; i < size; i++) length = length * 256 + data[start + i]!;
        start += size;
      }
      if (data.length - start < length) break;
      this.#receive(data[at]! & 0x0f, data.subarray(start, start + length));
      at = start + length;
    }
    return at;
  }

  #receive(opcode: number, payload: Uint8Array): void {
    if (opcode === PING) return this.#send(PONG, payload);
    if (opcode === CLOSE) {
      const wasClosing = this.#isClosing;
      if (!wasClosing) this.#send(CLOSE, payload);
      this.#isClosing = true;
      this.#socket.close();
      if (!wasClosing) {
        this.#events.onEnd(`closed with ${payload[0]! * 256 + payload[1]!}`);
      }
      return;
    }
    if (opcode <= BINARY && !this.#isClosing) this.#events.onMessage(payload);
  }

  #send(opcode: number, payload: Uint8Array): void {
    this.#socket.send(maskedFrame(opcode, payload));
  }
}

/** A binary message as {@linkcode LoadWebSocket.sendMasked} takes it. */
export function maskedBinary(payload: Uint8Array): Uint8Array<ArrayBuffer> {
  return maskedFrame(BINARY, payload);
}

function maskedFrame(opcode: number, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const { length } = payload;
  const header = length < 126 ? 6 : 8;
  const frame = new Uint8Array(header + length);
  frame[0] = 0x80 | opcode;
  if (length < 126) {
    frame[1] = 0x80 | length;
  } else if (length < 65_536) {
    frame[1] = 0x80 | 126;
    frame[2] = length >> 8;
    frame[3] = length;
  } else {
    throw new RangeError("No load needs messages that long");
  }
  for (let i = 0; i < 4; i++) frame[header - 4 + i] = MASK[i]!;
  for (let i = 0; i < length; i++) frame[header + i] = payload[i]! ^ MASK[i & 3]!;
  return frame;
}
