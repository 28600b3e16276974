// @ts-types="@types/ws"
import { type RawData, WebSocket } from "ws";
import type { CairnError } from "../base/errors.ts";
import {
  ABNORMAL,
  clientCloseCode,
  type ConnectedWebSocket,
  type Dial,
  NORMAL,
  refusal,
  shortReason,
  unreachable,
  WaitingSocket,
} from "./web_socket.ts";

/** More than any message of ours. */
const MAX_MESSAGE_LENGTH = 2 * 1_048_576;

/**
 * Opens a WebSocket by npm:ws, which sends small messages at once (TCP_NODELAY): the built-in one
 * lets a second one wait for the answer to the first, up to 40 ms.
 */
export const dial: Dial = async (target, options, attempt) => {
  const { protocols = [], headers = {}, caCerts, anyCertificate = false } = options;
  const authorities = caCerts && [...await systemAuthorities(), ...caCerts];
  attempt.throwIfAborted();
  return await new Promise((resolve, reject) => {
    const webSocket = new WebSocket(target, [...protocols], {
      headers,
      perMessageDeflate: false,
      maxPayload: MAX_MESSAGE_LENGTH,
      ...(authorities && { ca: authorities }),
      ...(anyCertificate && { rejectUnauthorized: false }),
    });
    const fail = (reason: unknown) => {
      attempt.removeEventListener("abort", abort);
      webSocket.terminate();
      reject(reason);
    };
    const abort = () => fail(attempt.reason);
    attempt.addEventListener("abort", abort);
    webSocket.on("error", (error) => fail(explain(target, error)));
    webSocket.on("unexpected-response", (_request, { statusCode = 0 }) => {
      fail(refusal(target, statusCode));
    });
    webSocket.on("open", () => {
      attempt.removeEventListener("abort", abort);
      // From here on npm:ws closes by itself with the code for what the server did wrong.
      webSocket.removeAllListeners("error");
      webSocket.on("error", ignore);
      resolve(new ClientSocket(webSocket));
    });
  });
};

/** Asked for where they are wanted: a page's bundle has this module in it, and may not import that. */
async function systemAuthorities(): Promise<string[]> {
  return (await import("node:tls")).getCACertificates("default");
}

class ClientSocket extends WaitingSocket implements ConnectedWebSocket {
  readonly #webSocket: WebSocket;

  constructor(webSocket: WebSocket) {
    super();
    this.#webSocket = webSocket;
    webSocket.on("message", (data: RawData, isBinary: boolean) => {
      if (isBinary) this.receiveFrame(plainBytes(data));
      else this.receiveText(data.toString());
    });
    webSocket.on("close", (code, reason) => this.end({ code, reason: reason.toString() }));
  }

  get bufferedBytes(): number {
    return this.#webSocket.bufferedAmount;
  }

  get protocol(): string {
    return this.#webSocket.protocol;
  }

  send(frame: Uint8Array): void {
    this.#webSocket.send(frame, ignore);
  }

  sendText(text: string): void {
    this.#webSocket.send(text, ignore);
  }

  close(code = NORMAL, reason = ""): void {
    this.#webSocket.close(clientCloseCode(code), shortReason(reason));
  }

  destroy(): void {
    this.#webSocket.terminate();
    this.end({ code: ABNORMAL, reason: "" });
  }
}

/** A plain view: a Buffer's `slice` would be a view where a copy is meant. */
function plainBytes(data: RawData): Uint8Array {
  if (Array.isArray(data)) throw new TypeError("Fragments are joined before they are handed over");
  return data instanceof ArrayBuffer
    ? new Uint8Array(data)
    : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** What is sent on a socket that ends is lost, as it would be a moment later. */
function ignore(): void {}

const UNREACHABLE = /^(ECONNREFUSED|ENOTFOUND|EAI_\w+|EHOST\w+|ENET\w+|ETIMEDOUT|EADDRNOTAVAIL)$/;
const CERTIFICATE = /CERT|SELF_SIGNED|UNABLE_TO_(VERIFY|GET)|ALTNAME|HOSTNAME/;
const NOT_TLS = /^(ERR_SSL|EPROTO|ECONNRESET)|InvalidContentType/;

/** Puts a failed handshake into a sentence. */
function explain(target: URL, error: Error): CairnError {
  const code = "code" in error && typeof error.code === "string" ? error.code : error.message;
  if (UNREACHABLE.test(code)) {
    return unreachable(target, "is not reachable; check the address and that the server runs");
  }
  if (target.protocol === "ws:") {
    return unreachable(target, "does not speak WebSocket; if it uses TLS, write wss://");
  }
  if (CERTIFICATE.test(code)) {
    return unreachable(
      target,
      `has a certificate that this machine does not trust (${error.message}); use one of a known ` +
        "authority that names this host, or add its authority to the trusted ones",
    );
  }
  return NOT_TLS.test(code)
    ? unreachable(target, "does not speak TLS; check the address, or write ws://")
    : unreachable(target, "does not speak WebSocket; check the address");
}
