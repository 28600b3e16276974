import assert from "node:assert/strict";
// @ts-types="@types/ws"
import { type ClientOptions, WebSocket } from "ws";
import { encodeSignalFrame } from "../../src/protocol/signal/signal_frame.ts";
import type { CloseInfo } from "../../src/roles/web_socket.ts";
import { within } from "./deadline.ts";

const DEADLINE_MS = 120_000;

export type ForeignOptions = ClientOptions & { readonly protocols?: string[] };

/**
 * A WebSocket client that is none of ours. It keeps what it receives until a test asks for it, and
 * can tell, by a ping, when the server has handled what it was sent.
 */
export class ForeignClient {
  readonly socket: WebSocket;
  readonly closed: Promise<CloseInfo>;
  readonly #frames: Uint8Array[] = [];
  readonly #texts: string[] = [];
  #wake = () => {};

  private constructor(socket: WebSocket) {
    this.socket = socket;
    this.closed = new Promise((resolve) => {
      socket.on("close", (code, reason) => resolve({ code, reason: reason.toString() }));
    });
    socket.on("message", (data, isBinary) => {
      assert.ok(data instanceof Uint8Array);
      if (isBinary) this.#frames.push(new Uint8Array(data));
      else this.#texts.push(new TextDecoder().decode(data));
      this.#wake();
    });
  }

  static open(url: string, options: ForeignOptions): Promise<ForeignClient> {
    const { protocols, ...rest } = options;
    const socket = new WebSocket(url, protocols, { ...rest, perMessageDeflate: false });
    const client = new ForeignClient(socket);
    return new Promise((resolve, reject) => {
      socket.once("open", () => resolve(client));
      socket.on("error", reject);
    });
  }

  send(frame: Uint8Array): void {
    this.socket.send(frame);
  }

  get hasFrames(): boolean {
    return this.#frames.length > 0;
  }

  next(): Promise<Uint8Array> {
    return this.#take(this.#frames);
  }

  /** The next text message, as it came. */
  nextText(): Promise<string> {
    return this.#take(this.#texts);
  }

  /** Sends a text message and returns the next one that comes. */
  ask(text: string): Promise<string> {
    this.socket.send(text);
    return this.nextText();
  }

  async subscribe(topic: string): Promise<void> {
    this.send(encodeSignalFrame({ kind: "Subscribe", topic }));
    await this.settled();
  }

  /** Resolves when the server has handled what was sent, and all that it sent has arrived. */
  settled(): Promise<void> {
    return new Promise((resolve) => {
      this.socket.once("pong", () => resolve());
      this.socket.ping();
    });
  }

  async hasNothing(): Promise<void> {
    await this.settled();
    assert.ok(!this.hasFrames);
  }

  async #take<T>(waiting: T[]): Promise<T> {
    for (;;) {
      const [first] = waiting.splice(0, 1);
      if (first !== undefined) return first;
      const message = new Promise<void>((resolve) => this.#wake = resolve);
      await within(AbortSignal.timeout(DEADLINE_MS), message, () => "a message of the server");
    }
  }
}
