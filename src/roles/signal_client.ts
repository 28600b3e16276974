import { getLogger } from "@logtape/logtape";
import { backoffDelay } from "../base/backoff.ts";
import { CairnError, ProtocolError } from "../base/errors.ts";
import type { Host } from "../base/host.ts";
import {
  decodeSignalFrame,
  encodeSignalFrame,
  MAX_SIGNAL_FRAME_LENGTH,
  type SignalFrame,
} from "../protocol/signal/signal_frame.ts";
import { type ConnectedWebSocket, connectWebSocket, type FrameSocket } from "./web_socket.ts";

const log = getLogger(["cairn", "peer"]);

const MAX_QUEUED_FRAMES = 256;
const MAX_BUFFERED_BYTES = 1_048_576;
/** A connection that lasted this long was a good one: the next failure begins a new count. */
const STABLE_AFTER = 10_000;
/** After two of these without a word the server is taken for dead: sooner than TCP, by minutes. */
const PROBE_INTERVAL = 15_000;
/** A server of ours answers it with a text message, whatever it knows. */
const PROBE = '{"type":"query","topic":""}';
const SIGNAL_PROTOCOL = "cairn.signal.v1";
const CLOSE_TIMEOUT = 2_000;

export interface SignalClientOptions {
  /** `ws://` or `wss://`. */
  readonly url: string;
  readonly authToken?: string;
  readonly host: Host;
  /** PEM certificates of authorities to trust beside the system's. */
  readonly caCerts?: readonly string[];
  /** Milliseconds between looks whether the server is alive. Default 15,000. */
  readonly probeInterval?: number;
}

type Listener = (payload: Uint8Array) => void;

/** Listening and speaking on the topics of one signaling server. */
export type TopicAccess = Pick<SignalClient, "subscribe" | "relay" | "url" | "connected">;

/**
 * A lasting presence on one signaling server: it reconnects until closed, and subscribes again to
 * everything that is listened to.
 */
export class SignalClient {
  /** Why the last attempt failed; `undefined` while connected. */
  lastError: CairnError | undefined;
  /** Called after each change of {@linkcode connected}. */
  onStateChange: (connected: boolean) => void = () => {};
  readonly #options: SignalClientOptions;
  readonly #topics = new Map<string, Set<{ readonly listener: Listener }>>();
  readonly #waiting = new Set<() => void>();
  readonly #closing = new AbortController();
  #queue: Uint8Array[] = [];
  #socket: FrameSocket | undefined;
  #running: Promise<void> | undefined;
  #wake: () => void = () => {};

  constructor(options: SignalClientOptions) {
    this.#options = options;
  }

  /** Begins to connect; again and again until {@linkcode close}. */
  start(): void {
    this.#running ??= this.#run();
  }

  get url(): string {
    return this.#options.url;
  }

  get connected(): boolean {
    return this.#socket !== undefined;
  }

  /** Listens to a topic, now and after every reconnection. Returns what ends it. */
  subscribe(topic: string, listener: Listener): () => void {
    const entry = { listener };
    const listeners = this.#topics.get(topic) ?? new Set();
    this.#topics.set(topic, listeners.add(entry));
    if (listeners.size === 1) this.#send({ kind: "Subscribe", topic });
    return () => {
      if (!listeners.delete(entry) || listeners.size > 0) return;
      this.#topics.delete(topic);
      this.#send({ kind: "Unsubscribe", topic });
    };
  }

  /**
   * Sends `payload` to everybody else on the topic. While not connected, the 256 newest wait.
   *
   * @throws {RangeError} when the frame would be longer than a signaling server takes.
   */
  relay(topic: string, payload: Uint8Array): void {
    const frame = encodeSignalFrame({ kind: "Relay", topic, payload });
    if (frame.length > MAX_SIGNAL_FRAME_LENGTH) {
      throw new RangeError(`Cannot relay ${payload.length} bytes: the frame would be too long`);
    }
    if (this.#socket) return this.#write(this.#socket, frame);
    this.#queue.push(frame);
    if (this.#queue.length > MAX_QUEUED_FRAMES) this.#queue.shift();
  }

  /** Resolves at once or with the next connection. @throws the reason that `signal` gives. */
  whenConnected(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const aborted = AbortSignal.any([signal, this.#closing.signal]);
      const settle = () => {
        this.#waiting.delete(connected);
        aborted.removeEventListener("abort", abort);
      };
      const connected = () => {
        settle();
        resolve();
      };
      const abort = () => {
        settle();
        reject(aborted.reason);
      };
      if (aborted.aborted) return abort();
      if (this.connected) return connected();
      this.#waiting.add(connected);
      aborted.addEventListener("abort", abort);
    });
  }

  /** Connects again at once: the address is gone from which it was connected. */
  renew(): void {
    const socket = this.#socket;
    // What is sent until then waits, in place of being lost.
    this.#socket = undefined;
    socket?.destroy();
  }

  /** Cuts a pause between two attempts short. */
  hurry(): void {
    this.#wake();
  }

  /** Leaves the server for good. */
  async close(): Promise<void> {
    this.#closing.abort(new CairnError("closed", "The signaling client was closed"));
    await this.#running;
  }

  async #run(): Promise<void> {
    const { host } = this.#options;
    const { signal } = this.#closing;
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        const socket = await this.#connect();
        const since = host.monotonic();
        await this.#hold(socket);
        if (host.monotonic() - since >= STABLE_AFTER) attempt = 0;
      } catch (error) {
        if (!(error instanceof CairnError)) throw error;
        if (signal.aborted) return;
        this.lastError = error;
        log.debug("No connection to the signaling server: {message}", { message: error.message });
      }
      await this.#pause(backoffDelay(attempt, host.random(1)[0]! / 256));
    }
  }

  async #connect(): Promise<ConnectedWebSocket> {
    const { url, authToken, caCerts } = this.#options;
    try {
      return await connectWebSocket(url, {
        protocols: [SIGNAL_PROTOCOL],
        ...(authToken !== undefined && { headers: { authorization: `Bearer ${authToken}` } }),
        ...(caCerts && { caCerts }),
        signal: this.#closing.signal,
      });
    } catch (cause) {
      if (!(cause instanceof CairnError) || cause.code !== "refused") throw cause;
      throw new CairnError(
        "refused",
        "The signaling server refused the token; check the signaling token",
        { cause },
      );
    }
  }

  /** Uses an open connection until it ends. */
  #hold(socket: ConnectedWebSocket): Promise<void> {
    const { signal } = this.#closing;
    const { probeInterval = PROBE_INTERVAL } = this.#options;
    return new Promise((resolve) => {
      let closeTimer: ReturnType<typeof setTimeout> | undefined;
      const leave = () => {
        socket.close(1000, "going away");
        closeTimer = setTimeout(() => socket.destroy(), CLOSE_TIMEOUT);
      };
      let silentLooks = 0;
      const prober = setInterval(() => {
        // Another server ignores text, but TCP notices a dead path only when something is written.
        if (socket.protocol !== SIGNAL_PROTOCOL) return this.#refresh();
        if (silentLooks >= 2) return socket.destroy();
        if (silentLooks++ === 1) socket.sendText(PROBE);
      }, probeInterval);
      socket.onText = () => silentLooks = 0;
      socket.onClose = ({ code, reason }) => {
        clearInterval(prober);
        clearTimeout(closeTimer);
        signal.removeEventListener("abort", leave);
        this.#socket = undefined;
        this.lastError = refusalOf(code) ?? this.lastError;
        log.debug("The signaling connection ended: {code} {reason}", { code, reason });
        this.onStateChange(false);
        resolve();
      };
      socket.onFrame = (frame) => {
        silentLooks = 0;
        this.#receive(frame);
      };
      signal.addEventListener("abort", leave);
      if (signal.aborted) return leave();
      this.#socket = socket;
      this.lastError = undefined;
      for (const topic of this.#topics.keys()) this.#send({ kind: "Subscribe", topic });
      for (const frame of this.#queue.splice(0)) this.#write(socket, frame);
      log.debug("Connected to the signaling server");
      for (const connected of [...this.#waiting]) connected();
      this.onStateChange(true);
    });
  }

  #receive(bytes: Uint8Array): void {
    try {
      const frame = decodeSignalFrame(bytes);
      if (frame.kind !== "Relay") return;
      for (const { listener } of [...this.#topics.get(frame.topic) ?? []]) listener(frame.payload);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      log.debug("Ignored a malformed frame from the signaling server");
    }
  }

  #refresh(): void {
    const [topic] = this.#topics.keys();
    if (topic !== undefined) this.#send({ kind: "Subscribe", topic });
  }

  #send(frame: SignalFrame): void {
    if (this.#socket) this.#write(this.#socket, encodeSignalFrame(frame));
  }

  #write(socket: FrameSocket, frame: Uint8Array): void {
    socket.send(frame);
    if (socket.bufferedBytes > MAX_BUFFERED_BYTES) socket.destroy();
  }

  #pause(milliseconds: number): Promise<void> {
    const { signal } = this.#closing;
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, milliseconds);
      this.#wake = done;
      signal.addEventListener("abort", done);
      if (signal.aborted) done();
    });
  }
}

/** What a close code says that a server gives in place of the status of a refused handshake. */
function refusalOf(code: number): CairnError | undefined {
  switch (code) {
    case 4401:
      return new CairnError(
        "refused",
        "The signaling server wants a token; give the one that it was started with",
      );
    case 4403:
      return new CairnError(
        "refused",
        "The signaling server admits no pages of this origin; its --allowed-origins can name it",
      );
    case 4429:
      return new CairnError(
        "unreachable",
        "The signaling server takes no more from this address for now; wait, or raise its limits",
      );
    default:
      return undefined;
  }
}
