import { systemHost } from "../../src/base/host.ts";
import type { Identity } from "../../src/protocol/crypto/identity.ts";
import { x25519KeyPair } from "../../src/protocol/crypto/primitives.ts";
import { decodeEnvelope, type Envelope } from "../../src/protocol/envelope.ts";
import { type Link, LinkHandshake, MAX_ENVELOPE_LENGTH } from "../../src/protocol/link/link.ts";
import { LinkKeys } from "../../src/roles/link_keys.ts";
import { connectWebSocket, type FrameSocket } from "../../src/roles/web_socket.ts";

export const PROTOCOL = "cairn.link.v1";
const SERVER_CAPABILITIES = ["mailbox"];

/** `up` is from the peer to the server. */
export type Direction = "up" | "down";

/** Identities by whose keys a proxy poses as the server to the peer and as the peer to the server. */
export interface GlassKeys {
  readonly server: Identity;
  readonly peer: Identity;
}

/** Where a passage leads, and who decides about what passes. */
export interface PassageOptions {
  readonly server: Promise<string>;
  readonly keys: GlassKeys | undefined;
  /** Decides when `forward` is called, with other bytes than those that came if it wants. */
  readonly pass: (
    direction: Direction,
    envelope: Envelope,
    forward: (altered?: Uint8Array) => void,
  ) => void;
  /** Called once; with the error if that was the end of it. */
  readonly ended: (error?: unknown) => void;
}

/** One connection of the peer and the one to the server that belongs to it. */
export class Passage {
  readonly #options: PassageOptions;
  readonly #downstream: FrameSocket;
  readonly #givenUp = new AbortController();
  #upstream: FrameSocket | undefined;

  constructor(downstream: FrameSocket, options: PassageOptions) {
    this.#options = options;
    this.#downstream = downstream;
    downstream.onClose = () => this.end();
    this.#run().catch((error) => this.end(error));
  }

  /** Drops both connections. */
  end(error?: unknown): void {
    if (this.#givenUp.signal.aborted) return;
    this.#givenUp.abort();
    this.#downstream.destroy();
    this.#upstream?.destroy();
    this.#options.ended(error);
  }

  async #run(): Promise<void> {
    const { keys } = this.#options;
    const { signal } = this.#givenUp;
    const upstream = await connectWebSocket(await this.#options.server, {
      protocols: [PROTOCOL],
      signal,
    });
    this.#upstream = upstream;
    upstream.onClose = () => this.end();
    if (!keys) {
      this.#downstream.onFrame = (frame) => upstream.send(frame);
      upstream.onFrame = (frame) => this.#downstream.send(frame);
      return;
    }
    const down = new Hop(this.#downstream, "acceptor", keys.server, SERVER_CAPABILITIES);
    const peer = (await down.link).remote;
    const up = new Hop(upstream, "initiator", keys.peer, [...peer.capabilities]);
    const server = (await up.link).remote;
    if (!SERVER_CAPABILITIES.every((name) => server.capabilities.has(name))) {
      throw new Error(`The server has other capabilities: ${[...server.capabilities]}`);
    }
    down.receive((envelope, bytes) => this.#pass("up", envelope, bytes, up));
    up.receive((envelope, bytes) => this.#pass("down", envelope, bytes, down));
  }

  #pass(direction: Direction, envelope: Envelope, bytes: Uint8Array, to: Hop): void {
    this.#options.pass(direction, envelope, (altered = bytes) => {
      if (!this.#givenUp.signal.aborted) to.send(altered);
    });
  }
}

/** One end of a link, at the peer's or at the server's side of the proxy. */
class Hop {
  readonly link: Promise<Link>;
  readonly #socket: FrameSocket;
  readonly #early: Uint8Array[] = [];
  #established: Link | undefined;

  constructor(
    socket: FrameSocket,
    role: "acceptor" | "initiator",
    identity: Identity,
    capabilities: readonly string[],
  ) {
    this.#socket = socket;
    const handshake = new LinkHandshake(role, {
      identity,
      linkKey: new LinkKeys(identity, systemHost).current(),
      ephemeralPair: x25519KeyPair(systemHost.random(32)),
      capabilities,
    });
    this.link = new Promise((resolve, reject) => {
      socket.onFrame = (frame) => {
        try {
          const { reply, link } = handshake.receive(frame, systemHost.now());
          if (reply) socket.send(reply);
          if (!link) return;
          link.maxEnvelopeLength = MAX_ENVELOPE_LENGTH;
          this.#established = link;
          socket.onFrame = (frame) => this.#early.push(frame);
          resolve(link);
        } catch (error) {
          reject(error);
        }
      };
    });
    if (role === "initiator") socket.send(handshake.start());
  }

  /** Takes what has come since the handshake, and what comes. */
  receive(handler: (envelope: Envelope, bytes: Uint8Array) => void): void {
    const open = (frame: Uint8Array) => {
      const bytes = this.#established?.open(frame)?.slice();
      if (bytes) handler(decodeEnvelope(bytes), bytes);
    };
    for (const frame of this.#early.splice(0)) open(frame);
    this.#socket.onFrame = open;
  }

  send(bytes: Uint8Array): void {
    for (const frame of this.#established?.seal(bytes) ?? []) this.#socket.send(frame);
  }
}
