import { utf8 } from "../base/bytes.ts";
import { CairnError } from "../base/errors.ts";

/** Why and how a socket ended; 1006 when there was no closing handshake (RFC 6455, 7.1.5). */
export interface CloseInfo {
  readonly code: number;
  readonly reason: string;
}

/** Carries binary messages both ways. What arrives before `onFrame` is set is kept for it. */
export interface FrameSocket {
  /** Sends one binary message; silently nothing once the socket ends. Do not change it later. */
  send(frame: Uint8Array): void;
  /** Ends in order, telling the remote why. */
  close(code?: number, reason?: string): void;
  /** Ends at once. */
  destroy(): void;
  /** Bytes that were sent and have not left yet. */
  readonly bufferedBytes: number;
  onFrame: (frame: Uint8Array) => void;
  /** Called once, whoever ended the socket. */
  onClose: (info: CloseInfo) => void;
}

/** A {@linkcode FrameSocket} that may also carry text, if `onText` is set. */
export interface TextFrameSocket extends FrameSocket {
  onText: (text: string) => void;
  sendText(text: string): void;
}

/** A socket that this side opened. */
export interface ConnectedWebSocket extends TextFrameSocket {
  /** The subprotocol that the server chose; empty when it chose none. */
  readonly protocol: string;
}

const MAX_EARLY_FRAMES = 64;
const MAX_REASON_LENGTH = 123;
const CONNECT_TIMEOUT = 10_000;
const UNSUPPORTED_DATA = 1003;
/** Close code of what ends in order. */
export const NORMAL = 1000;
/** Stands for the lack of a closing handshake. */
export const ABNORMAL = 1006;

/** What accepted and connected sockets share: events wait for their handlers. */
export abstract class WaitingSocket implements TextFrameSocket {
  #onFrame: ((frame: Uint8Array) => void) | undefined;
  #onText: ((text: string) => void) | undefined;
  #onClose: ((info: CloseInfo) => void) | undefined;
  #early: Uint8Array[] = [];
  #ended: CloseInfo | undefined;

  abstract send(frame: Uint8Array): void;
  abstract sendText(text: string): void;
  abstract close(code?: number, reason?: string): void;
  abstract destroy(): void;
  abstract get bufferedBytes(): number;

  set onFrame(handler: (frame: Uint8Array) => void) {
    this.#onFrame = handler;
    // The handler may put another one in its place, which then takes the rest.
    for (let frame = this.#early.shift(); frame; frame = this.#early.shift()) this.#onFrame(frame);
  }

  set onText(handler: (text: string) => void) {
    this.#onText = handler;
  }

  set onClose(handler: (info: CloseInfo) => void) {
    this.#onClose = handler;
    const ended = this.#ended;
    if (ended) queueMicrotask(() => handler(ended));
  }

  protected receiveFrame(frame: Uint8Array): void {
    if (this.#ended) return;
    if (this.#onFrame) this.#onFrame(frame);
    else if (this.#early.push(frame) > MAX_EARLY_FRAMES) this.destroy();
  }

  protected receiveText(text: string): void {
    if (this.#ended) return;
    if (this.#onText) this.#onText(text);
    else this.close(UNSUPPORTED_DATA, "binary messages only");
  }

  protected end(info: CloseInfo): void {
    if (this.#ended) return;
    this.#ended = info;
    this.#onClose?.(info);
  }
}

/** Shortens a reason to what a close frame can carry (RFC 6455, 5.5). */
export function shortReason(reason: string): string {
  let short = reason;
  while (utf8(short).length > MAX_REASON_LENGTH) short = short.slice(0, -1);
  return short.toWellFormed();
}

export interface ConnectOptions {
  readonly protocols?: readonly string[];
  /** Sent with the handshake; browsers cannot. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Gives the attempt up; it has no effect on the open socket. */
  readonly signal?: AbortSignal;
  /** PEM certificates of authorities to trust beside the system's. */
  readonly caCerts?: readonly string[];
  /** Milliseconds. Default 10,000. */
  readonly timeout?: number;
}

/**
 * Opens a WebSocket to `url` (`ws://` or `wss://`).
 *
 * @throws {CairnError} `unreachable`; `refused` when the server wants another token;
 * `invalid-option` when `url` is not a WebSocket URL; `closed` when `signal` was aborted.
 */
export async function connectWebSocket(
  url: string,
  options: ConnectOptions = {},
): Promise<ConnectedWebSocket> {
  const target = URL.parse(url);
  if (target?.protocol !== "ws:" && target?.protocol !== "wss:") {
    throw new CairnError("invalid-option", `Not a WebSocket URL (ws:// or wss://): ${url}`);
  }
  target.hash = "";
  const { timeout = CONNECT_TIMEOUT, signal } = options;
  const trust = options.caCerts && Deno.createHttpClient({ caCerts: [...options.caCerts] });
  const attempt = new AbortController();
  const giveUp = () => attempt.abort(new CairnError("closed", "The connection was given up"));
  const timer = setTimeout(() => {
    const seconds = Math.ceil(timeout / 1000);
    attempt.abort(unreachable(target, `did not answer within ${seconds} s; check the address`));
  }, timeout);
  signal?.addEventListener("abort", giveUp);
  if (signal?.aborted) giveUp();
  try {
    return await open(target, options, trust, attempt.signal);
  } catch (error) {
    trust?.close();
    throw error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", giveUp);
  }
}

function open(
  target: URL,
  options: ConnectOptions,
  trust: Deno.HttpClient | undefined,
  attempt: AbortSignal,
): Promise<ConnectedSocket> {
  return new Promise((resolve, reject) => {
    attempt.throwIfAborted();
    const protocols = [...options.protocols ?? []];
    const headers = { ...options.headers };
    const webSocket = options.headers || trust
      ? new WebSocket(target, { protocols, headers, ...(trust && { client: trust }) })
      : new WebSocket(target, protocols);
    webSocket.binaryType = "arraybuffer";
    const abort = () => {
      release();
      webSocket.close();
      reject(attempt.reason);
    };
    const release = () => {
      webSocket.onopen = webSocket.onerror = null;
      attempt.removeEventListener("abort", abort);
    };
    attempt.addEventListener("abort", abort);
    webSocket.onopen = () => {
      release();
      resolve(new ConnectedSocket(webSocket, trust));
    };
    webSocket.onerror = (event) => {
      release();
      const detail = event instanceof ErrorEvent ? event.message : "";
      explainFailure(target, detail, { headers, trust, attempt }).then(reject, reject);
    };
  });
}

class ConnectedSocket extends WaitingSocket implements ConnectedWebSocket {
  readonly #webSocket: WebSocket;

  constructor(webSocket: WebSocket, trust: Deno.HttpClient | undefined) {
    super();
    this.#webSocket = webSocket;
    webSocket.onmessage = ({ data }) => {
      if (typeof data === "string") this.receiveText(data);
      else this.receiveFrame(new Uint8Array(data));
    };
    webSocket.onclose = ({ code, reason }) => {
      trust?.close();
      this.end({ code: code || ABNORMAL, reason });
    };
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
    // The built-in WebSocket lets clients say 1000 and the range of applications only.
    const allowed = code === NORMAL || code >= 3000 && code <= 4999 ? code : NORMAL;
    this.#webSocket.close(allowed, shortReason(reason));
  }

  destroy(): void {
    this.#webSocket.close();
    this.end({ code: ABNORMAL, reason: "" });
  }
}

/** Puts a failed handshake into a sentence. */
async function explainFailure(
  target: URL,
  detail: string,
  context: {
    readonly headers: Readonly<Record<string, string>>;
    readonly trust: Deno.HttpClient | undefined;
    readonly attempt: AbortSignal;
  },
): Promise<CairnError> {
  const status = /status code: (\d+)/.exec(detail)?.[1];
  if (status !== undefined) return refusal(target, Number(status));
  if (/connect error|lookup/.test(detail)) {
    return unreachable(target, "is not reachable; check the address and that the server runs");
  }
  if (target.protocol === "ws:") {
    return unreachable(target, "does not speak WebSocket; if it uses TLS, write wss://");
  }
  // Over TLS the handshake's own error says nothing, whether the certificate or the token failed.
  const { headers, trust, attempt } = context;
  const page = new URL(target);
  page.protocol = "https:";
  try {
    const response = await fetch(page, {
      headers: { ...headers },
      redirect: "manual",
      signal: attempt,
      ...(trust && { client: trust }),
    });
    await response.body?.cancel();
    return refusal(target, response.status);
  } catch (error) {
    if (attempt.aborted) throw attempt.reason;
    const reason = error instanceof Error ? `${error.message} ${error.cause ?? ""}` : "";
    const certificate = /invalid peer certificate: ([^\n]+)/.exec(reason)?.[1];
    return certificate === undefined
      ? unreachable(target, "does not speak TLS; check the address, or write ws://")
      : unreachable(
        target,
        `has a certificate that this machine does not trust (${certificate}); use one of a known ` +
          "authority that names this host, or add its authority to the trusted ones",
      );
  }
}

function refusal(target: URL, status: number): CairnError {
  return status === 401 || status === 403
    ? new CairnError("refused", `${originOf(target)} refused the token (HTTP status ${status})`)
    : unreachable(target, `does not accept WebSockets at ${target.pathname} (status ${status})`);
}

function unreachable(target: URL, sentence: string): CairnError {
  return new CairnError("unreachable", `${originOf(target)} ${sentence}`);
}

function originOf({ protocol, host }: URL): string {
  return `${protocol}//${host}`;
}
