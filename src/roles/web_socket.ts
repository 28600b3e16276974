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
  /** Takes any certificate: for what proves in another way who is there. Not in a page. */
  readonly anyCertificate?: boolean;
  /** Milliseconds. Default 10,000. */
  readonly timeout?: number;
}

/** Opens one WebSocket, or rejects with the reason of `attempt` or a {@linkcode CairnError}. */
export type Dial = (
  target: URL,
  options: ConnectOptions,
  attempt: AbortSignal,
) => Promise<ConnectedWebSocket>;

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
  const attempt = new AbortController();
  const giveUp = () => attempt.abort(new CairnError("closed", "The connection was given up"));
  const timer = setTimeout(() => {
    const seconds = Math.ceil(timeout / 1000);
    attempt.abort(unreachable(target, `did not answer within ${seconds} s; check the address`));
  }, timeout);
  signal?.addEventListener("abort", giveUp);
  if (signal?.aborted) giveUp();
  try {
    const dial = await platformDial();
    attempt.signal.throwIfAborted();
    return await dial(target, options, attempt.signal);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", giveUp);
  }
}

/** A page has only the WebSocket of its browser; it sets no headers and does not say why it fails. */
async function platformDial(): Promise<Dial> {
  return "Deno" in globalThis
    ? (await import("./web_socket_client.ts")).dial
    : (await import("./browser_web_socket.ts")).dial;
}

/** What a client says when it closes: beside 1000 browsers allow the range of applications only. */
export function clientCloseCode(code: number): number {
  return code >= 3000 && code <= 4999 ? code : NORMAL;
}

/** Says why a server refused the handshake with an HTTP status. */
export function refusal(target: URL, status: number): CairnError {
  return status === 401 || status === 403
    ? new CairnError("refused", `${originOf(target)} refused the token (HTTP status ${status})`)
    : unreachable(target, `does not accept WebSockets at ${target.pathname} (status ${status})`);
}

/** Says of a server what it does or does not. */
export function unreachable(target: URL, sentence: string, cause?: unknown): CairnError {
  return new CairnError("unreachable", `${originOf(target)} ${sentence}`, { cause });
}

function originOf({ protocol, host }: URL): string {
  return `${protocol}//${host}`;
}
