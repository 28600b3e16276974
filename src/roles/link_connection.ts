import { getLogger } from "@logtape/logtape";
import { CairnError, ProtocolError } from "../base/errors.ts";
import type { Host } from "../base/host.ts";
import type { Identity } from "../protocol/crypto/identity.ts";
import type { PeerId } from "../protocol/crypto/peer_id.ts";
import { x25519KeyPair } from "../protocol/crypto/primitives.ts";
import { decodeEnvelope, encodeEnvelope, type Envelope } from "../protocol/envelope.ts";
import { type Link, LinkHandshake, MAX_ENVELOPE_LENGTH } from "../protocol/link/link.ts";
import { MessageType } from "../protocol/message_types.ts";
import { decodeSessionClose, encodeSessionClose } from "../protocol/session_messages.ts";
import { messageId } from "../protocol/uuid.ts";
import type { LinkKeys } from "./link_keys.ts";
import type { FrameSocket } from "./web_socket.ts";

const log = getLogger(["cairn", "link"]);

const HANDSHAKE_TIMEOUT = 10_000;
const SILENT_INTERVALS = 3;
const MAX_EARLY_ENVELOPES = 64;
/** Bytes waiting in a carrier above which no more deliveries are added. */
const CONGESTED_BYTES = 2 * 1_048_576;

/** Bytes in a millisecond: the largest envelope takes no longer than a remote's heartbeat. */
const SLOWEST_WAY = 35;

/** What all links of one process share. */
export interface LinkContext {
  readonly identity: Identity;
  readonly keys: LinkKeys;
  readonly capabilities: readonly string[];
  readonly host: Host;
  /** Milliseconds without anything sent after which a heartbeat goes out. */
  readonly heartbeat: number;
}

/** How an initiator goes about a handshake. */
export interface InitiateOptions {
  /** Who must answer. Without it whoever does: what they then prove must tell who they are. */
  readonly expectedPeer?: PeerId | undefined;
  readonly signal?: AbortSignal;
  /**
   * Asked before the message that completes the handshake on the other side: of several attempts at
   * once only the first that is nominated becomes a link.
   */
  readonly nominate?: () => boolean;
}

/** Runs the handshake as initiator. @throws {ProtocolError | CairnError} when it fails. */
export function initiateLink(
  socket: FrameSocket,
  context: LinkContext,
  options: InitiateOptions,
): Promise<LinkConnection> {
  return openLink("initiator", socket, context, options);
}

/** Runs the handshake as acceptor. @throws {ProtocolError | CairnError} when it fails. */
export function acceptLink(
  socket: FrameSocket,
  context: LinkContext,
  options: { signal?: AbortSignal } = {},
): Promise<LinkConnection> {
  return openLink("acceptor", socket, context, options);
}

function openLink(
  role: "initiator" | "acceptor",
  socket: FrameSocket,
  context: LinkContext,
  options: InitiateOptions,
): Promise<LinkConnection> {
  const handshake = new LinkHandshake(role, {
    identity: context.identity,
    linkKey: context.keys.current(),
    ephemeralPair: x25519KeyPair(context.host.random(32)),
    capabilities: context.capabilities,
    ...(options.expectedPeer && { expectedPeer: options.expectedPeer }),
  });
  return new Promise((resolve, reject) => {
    const abort = () => fail(new CairnError("closed", "The link was given up"));
    const settle = () => {
      clearTimeout(timer);
      options.signal?.removeEventListener("abort", abort);
    };
    const fail = (error: unknown) => {
      settle();
      socket.onFrame = () => {};
      socket.onClose = () => {};
      socket.destroy();
      reject(error);
    };
    const timer = setTimeout(
      () => fail(new ProtocolError("timeout", "The handshake took too long")),
      HANDSHAKE_TIMEOUT,
    );
    if (options.signal?.aborted) return abort();
    options.signal?.addEventListener("abort", abort);
    socket.onClose = () =>
      fail(new CairnError("unreachable", "The other side closed the connection in the handshake"));
    socket.onFrame = (frame) => {
      try {
        const { reply, link } = handshake.receive(frame, context.host.now());
        if (link && options.nominate?.() === false) return abort();
        if (reply) socket.send(reply);
        if (!link) return;
        settle();
        resolve(new LinkConnection(socket, link, context));
      } catch (error) {
        fail(error);
      }
    };
    if (role === "initiator") socket.send(handshake.start());
  });
}

/** An established link on its carrier: envelopes out and in, heartbeat, and one orderly end. */
export class LinkConnection {
  readonly remote: PeerId;
  readonly capabilities: ReadonlySet<string>;
  readonly handshakeHash: Uint8Array;
  readonly identityKey: Uint8Array;
  readonly #socket: FrameSocket;
  readonly #link: Link;
  readonly #host: Host;
  readonly #heartbeat: number;
  #early: Envelope[] = [];
  #onClose: (reason: string) => void = () => {};
  #onEnvelope: ((envelope: Envelope) => void) | undefined;
  #lastHeard: number;
  #lastSent: number;
  /** When the first message went out that nothing has come after. */
  #unansweredSince: number | undefined;
  #unansweredBytes = 0;
  readonly #listeners = new Set<(isThere: boolean) => void>();
  #closed: string | undefined;
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(socket: FrameSocket, link: Link, context: LinkContext) {
    this.#socket = socket;
    this.#link = link;
    this.#host = context.host;
    this.#heartbeat = context.heartbeat;
    this.remote = link.remote.peerId;
    this.identityKey = link.remote.identityKey;
    this.capabilities = link.remote.capabilities;
    this.handshakeHash = link.handshakeHash;
    this.#lastHeard = this.#lastSent = context.host.monotonic();
    socket.onFrame = (frame) => this.#receive(frame);
    socket.onClose = ({ reason }) => this.#ended(reason || "connection lost");
    this.#timer = setInterval(() => this.#beat(), context.heartbeat);
  }

  get closed(): boolean {
    return this.#closed !== undefined;
  }

  /**
   * Milliseconds for which something has gone out and nothing has come in, without the time that a
   * slow way takes for so much.
   */
  get unansweredFor(): number {
    if (this.#unansweredSince === undefined) return 0;
    const waited = this.#host.monotonic() - this.#unansweredSince;
    return Math.max(0, waited - this.#unansweredBytes / SLOWEST_WAY);
  }

  /** Milliseconds since the remote was heard. */
  get silentFor(): number {
    return this.#host.monotonic() - this.#lastHeard;
  }

  /** Whether the remote says anything within so many milliseconds; it is asked to. */
  answers(within: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    if (this.#closed !== undefined) return Promise.resolve(false);
    const timer = setTimeout(() => resolve(false), within);
    this.#listeners.add(resolve);
    this.send(MessageType.Heartbeat, new Uint8Array(0));
    return promise.finally(() => {
      clearTimeout(timer);
      this.#listeners.delete(resolve);
    });
  }

  /** True while so much waits in the carrier that deliveries should pause. */
  get congested(): boolean {
    return this.#socket.bufferedBytes > CONGESTED_BYTES;
  }

  /** Called with the reason when the link has ended from either side, or if it already had. */
  set onClose(handler: (reason: string) => void) {
    this.#onClose = handler;
    const reason = this.#closed;
    if (reason !== undefined) queueMicrotask(() => handler(reason));
  }

  /** Receives every envelope but heartbeats; what came earlier is handed over at once. */
  set onEnvelope(handler: (envelope: Envelope) => void) {
    this.#onEnvelope = handler;
    const early = this.#early;
    this.#early = [];
    for (const envelope of early) this.#dispatch(envelope);
  }

  /** Allows the remote the envelopes of a paired peer. */
  trustRemote(): void {
    this.#link.maxEnvelopeLength = MAX_ENVELOPE_LENGTH;
  }

  /** Sends one message; silently nothing once the link has ended. */
  send(type: number, payload: Uint8Array): void {
    if (this.#closed !== undefined) return;
    const id = messageId(this.#host.now(), this.#host.random(10));
    for (const frame of this.#link.seal(encodeEnvelope({ type, id, payload }))) {
      this.#socket.send(frame);
      this.#unansweredBytes += frame.length;
    }
    this.#lastSent = this.#host.monotonic();
    this.#unansweredSince ??= this.#lastSent;
  }

  /** Ends the link, telling the remote why. */
  close(reason: string): void {
    if (this.#closed !== undefined) return;
    this.send(MessageType.SessionClose, encodeSessionClose({ reason }));
    this.#socket.close(1000, reason);
    this.#ended(reason);
  }

  #receive(frame: Uint8Array): void {
    if (this.#closed !== undefined) return;
    try {
      const bytes = this.#link.open(frame);
      this.#lastHeard = this.#host.monotonic();
      this.#unansweredSince = undefined;
      this.#unansweredBytes = 0;
      for (const heard of this.#listeners) heard(true);
      if (bytes) this.#dispatch(decodeEnvelope(bytes));
    } catch (error) {
      if (error instanceof ProtocolError) {
        return this.close(error.code === "too-large" ? "too-large" : "protocol-error");
      }
      // Whatever else a remote's bytes set off must end with its link.
      log.error("A link had to be closed: {error}", { error });
      this.close("going-away");
    }
  }

  #dispatch(envelope: Envelope): void {
    switch (envelope.type) {
      case MessageType.Heartbeat:
        return this.send(MessageType.HeartbeatAck, new Uint8Array(0));
      case MessageType.HeartbeatAck:
        return;
      case MessageType.SessionClose: {
        const { reason } = decodeSessionClose(envelope.payload);
        this.#socket.close(1000, "");
        return this.#ended(reason);
      }
    }
    if (this.#onEnvelope) return this.#onEnvelope(envelope);
    if (this.#early.length >= MAX_EARLY_ENVELOPES) return this.close("protocol-error");
    this.#early.push(envelope);
  }

  #beat(): void {
    const now = this.#host.monotonic();
    if (now - this.#lastHeard > SILENT_INTERVALS * this.#heartbeat) {
      this.#ended("timeout");
      return this.#socket.destroy();
    }
    if (now - this.#lastSent >= this.#heartbeat) {
      this.send(MessageType.Heartbeat, new Uint8Array(0));
    }
  }

  #ended(reason: string): void {
    if (this.#closed !== undefined) return;
    this.#closed = reason;
    clearInterval(this.#timer);
    for (const heard of this.#listeners) heard(false);
    this.#onClose(reason);
  }
}
