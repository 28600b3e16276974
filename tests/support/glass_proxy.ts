/**
 * Stands between one peer and its server and, because the test owns both identities, sees every
 * message of their links, holds them back, and cuts the connection at an exact point.
 */

import { encodeEnvelope, type Envelope } from "../../src/protocol/envelope.ts";
import { MAX_FRAME_LENGTH } from "../../src/protocol/link/link.ts";
import { type HttpListener, listen } from "../../src/roles/http.ts";
import type { FrameSocket } from "../../src/roles/web_socket.ts";
import { acceptWebSockets } from "../../src/roles/web_socket_server.ts";
import { within } from "./deadline.ts";
import { type Direction, type GlassKeys, Passage, PROTOCOL } from "./glass_passage.ts";

interface Seen {
  readonly direction: Direction;
  readonly envelope: Envelope;
}

/** A way from one peer to its server that the test can look into. */
export class GlassProxy implements AsyncDisposable {
  /** Every message that has come in from either side, held ones included. */
  readonly seen: Seen[] = [];
  readonly #listener: HttpListener;
  readonly #deadline: AbortSignal;
  readonly #passages = new Set<Passage>();
  readonly #holds: Record<Direction, Hold> = { up: new Hold(), down: new Hold() };
  readonly #watchers = new Set<(seen: Seen) => void>();
  #alteration: ((seen: Seen) => Uint8Array | undefined) | undefined;
  #server = Promise.withResolvers<string>();
  #keys: GlassKeys | undefined;
  #lastFailure: unknown;

  private constructor(listener: HttpListener, deadline: AbortSignal) {
    this.#listener = listener;
    this.#deadline = deadline;
  }

  /** Opens one on a port of its own. It is opaque until {@linkcode GlassProxy.seeThrough}. */
  static async open(deadline: AbortSignal): Promise<GlassProxy> {
    const opened = Promise.withResolvers<GlassProxy>();
    const listener = await listen({
      host: "127.0.0.1",
      port: 0,
      prepare: (server) => {
        acceptWebSockets({
          server,
          limits: { maxFrameBytes: MAX_FRAME_LENGTH, maxBufferedBytes: 64 * 1_048_576 },
          handler: (_request, accept) =>
            accept((socket) => void opened.promise.then((proxy) => proxy.#carry(socket)), PROTOCOL),
        });
      },
    });
    const proxy = new GlassProxy(listener, deadline);
    opened.resolve(proxy);
    return proxy;
  }

  /** Where the peer is to look for the server. */
  get url(): string {
    return `ws://127.0.0.1:${this.#listener.address.port}/link`;
  }

  /** Names the server's address; without one, connections wait until there is one. */
  leadTo(url: string | undefined): void {
    if (url !== undefined) this.#server.resolve(url); // For those that wait.
    this.#server = Promise.withResolvers();
    if (url !== undefined) this.#server.resolve(url);
  }

  /**
   * From the next connection on, opens what passes. Pairing must pass unopened: it is bound to its
   * link, and one between two links fails.
   */
  seeThrough(keys: GlassKeys): void {
    this.#keys = keys;
  }

  /** From the next message of this type on, all of this direction waits. */
  hold(direction: Direction, type: number): void {
    this.#holds[direction].at(type);
  }

  /** Puts another payload into the next message of this type. What was seen is the original. */
  alterNext(direction: Direction, type: number, change: (payload: Uint8Array) => Uint8Array): void {
    this.#alteration = (seen) => {
      if (seen.direction !== direction || seen.envelope.type !== type) return undefined;
      this.#alteration = undefined;
      return encodeEnvelope({ ...seen.envelope, payload: change(seen.envelope.payload) });
    };
  }

  /** Lets everything go on that waits, and what comes. */
  release(): void {
    this.#holds.up.release();
    this.#holds.down.release();
  }

  /** Drops every connection at once; what was held never arrives. */
  cut(): void {
    for (const passage of [...this.#passages]) passage.end();
  }

  /** The next message of this type from the call on, even if it is held. */
  async nextOf(direction: Direction, type: number): Promise<Envelope> {
    const [envelope] = await this.next(direction, type, 1);
    if (!envelope) throw new Error("A wait for one message ended with none");
    return envelope;
  }

  /** The next `count` messages of this type from the call on, even if they are held. */
  next(direction: Direction, type: number, count: number): Promise<Envelope[]> {
    const found: Envelope[] = [];
    const done = Promise.withResolvers<Envelope[]>();
    const watcher = (seen: Seen) => {
      if (seen.direction !== direction || seen.envelope.type !== type) return;
      if (found.push(seen.envelope) === count) done.resolve(found);
    };
    this.#watchers.add(watcher);
    const waited = within(
      this.#deadline,
      done.promise,
      () => `message 0x0${type.toString(16)} (${direction}); ${this.#summary()}`,
    ).finally(() => this.#watchers.delete(watcher));
    waited.catch(() => {}); // The test may fail before it waits for this.
    return waited;
  }

  /** Every message of this type so far. */
  all(direction: Direction, type: number): Envelope[] {
    return this.seen
      .filter((seen) => seen.direction === direction && seen.envelope.type === type)
      .map(({ envelope }) => envelope);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    await this.#listener.close();
  }

  #carry(downstream: FrameSocket): void {
    const passage = new Passage(downstream, {
      server: this.#server.promise,
      keys: this.#keys,
      pass: (direction, envelope, forward) => {
        const seen = { direction, envelope };
        this.seen.push(seen);
        for (const watcher of [...this.#watchers]) watcher(seen);
        const altered = this.#alteration?.(seen);
        this.#holds[direction].pass(envelope.type, () => forward(altered));
      },
      ended: (error) => {
        this.#passages.delete(passage);
        this.#lastFailure = error ?? this.#lastFailure;
      },
    });
    this.#passages.add(passage);
  }

  #summary(): string {
    const last = this.seen.slice(-30)
      .map(({ direction, envelope }) => `${direction} 0x0${envelope.type.toString(16)}`);
    const failure = this.#lastFailure === undefined ? "" : `; last failure: ${this.#lastFailure}`;
    return `${this.seen.length} messages were seen, at last ${last.join(", ")}${failure}`;
  }
}

/** Holds back everything of one direction from a message of a certain type on. */
class Hold {
  #type: number | undefined;
  #waiting: (() => void)[] | undefined;

  at(type: number): void {
    this.#type = type;
  }

  pass(type: number, forward: () => void): void {
    if (type === this.#type) this.#waiting ??= [];
    if (this.#waiting) this.#waiting.push(forward);
    else forward();
  }

  release(): void {
    const waiting = this.#waiting ?? [];
    this.#type = undefined;
    this.#waiting = undefined;
    for (const forward of waiting) forward();
  }
}
