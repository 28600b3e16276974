import { bearerSubprotocol } from "../protocol/signal/bearer_subprotocol.ts";
import {
  ABNORMAL,
  clientCloseCode,
  type ConnectedWebSocket,
  type Dial,
  NORMAL,
  shortReason,
  unreachable,
  WaitingSocket,
} from "./web_socket.ts";

/**
 * Opens the WebSocket that the platform brings, as a page must. It sets no headers: a bearer token
 * goes as a subprotocol.
 */
export const dial: Dial = (target, { protocols = [], headers = {} }, attempt) => {
  const token = /^Bearer (.+)$/.exec(headers.authorization ?? "")?.[1];
  const bearer = token === undefined ? [] : [bearerSubprotocol(token)];
  return new Promise((resolve, reject) => {
    const webSocket = open(target, [...protocols, ...bearer]);
    webSocket.binaryType = "arraybuffer";
    const release = () => {
      webSocket.onopen = webSocket.onerror = null;
      attempt.removeEventListener("abort", abort);
    };
    const abort = () => {
      release();
      webSocket.close();
      reject(attempt.reason);
    };
    attempt.addEventListener("abort", abort);
    webSocket.onopen = () => {
      release();
      resolve(new BrowserSocket(webSocket));
    };
    webSocket.onerror = () => {
      release();
      reject(unreachable(target, "is not reachable or refuses; check the address and the token"));
    };
  });
};

/** @throws {CairnError} `unreachable` where a page of `https:` may not open a `ws:` URL. */
function open(target: URL, protocols: string[]): WebSocket {
  try {
    return new WebSocket(target, protocols);
  } catch (cause) {
    if (!(cause instanceof DOMException && cause.name === "SecurityError")) throw cause;
    throw unreachable(target, "may not be opened by a page of https:, which needs wss:", cause);
  }
}

class BrowserSocket extends WaitingSocket implements ConnectedWebSocket {
  readonly #webSocket: WebSocket;

  constructor(webSocket: WebSocket) {
    super();
    this.#webSocket = webSocket;
    webSocket.onmessage = ({ data }) => {
      if (typeof data === "string") this.receiveText(data);
      else this.receiveFrame(new Uint8Array(data));
    };
    webSocket.onclose = ({ code, reason }) => this.end({ code: code || ABNORMAL, reason });
  }

  get bufferedBytes(): number {
    return this.#webSocket.bufferedAmount;
  }

  get protocol(): string {
    return this.#webSocket.protocol;
  }

  send(frame: Uint8Array<ArrayBuffer>): void {
    this.#webSocket.send(frame);
  }

  sendText(text: string): void {
    this.#webSocket.send(text);
  }

  close(code = NORMAL, reason = ""): void {
    this.#webSocket.close(clientCloseCode(code), shortReason(reason));
  }

  destroy(): void {
    this.#webSocket.close();
    this.end({ code: ABNORMAL, reason: "" });
  }
}
