/** An initiator that speaks the link's protocol well enough to break it at any point. */

import { concatBytes, utf8 } from "../../src/base/bytes.ts";
import { systemHost } from "../../src/base/host.ts";
import { encodeCbor } from "../../src/protocol/cbor.ts";
import type { CborValue } from "../../src/protocol/cbor_value.ts";
import type { Identity } from "../../src/protocol/crypto/identity.ts";
import { x25519KeyPair } from "../../src/protocol/crypto/primitives.ts";
import { decodeEnvelope, encodeEnvelope } from "../../src/protocol/envelope.ts";
import { NoiseXxHandshake, type NoiseXxResult } from "../../src/protocol/link/noise_xx.ts";
import { MessageType } from "../../src/protocol/message_types.ts";
import { LinkKeys } from "../../src/roles/link_keys.ts";
import { connectWebSocket, type FrameSocket } from "../../src/roles/web_socket.ts";
import { within } from "../support/deadline.ts";

const NOTHING = new Uint8Array(0);

/** Puts what it likes in place of the proof of its identity. */
export type Forgery = (proof: Map<number, CborValue>) => Uint8Array;

export class HostileLink {
  #open = true;
  #noise: NoiseXxResult | undefined;
  readonly #socket: FrameSocket;
  readonly #deadline: AbortSignal;
  readonly #frames: Uint8Array[] = [];
  readonly #closed = Promise.withResolvers<void>();
  #grown = Promise.withResolvers<void>();

  private constructor(socket: FrameSocket, deadline: AbortSignal) {
    this.#socket = socket;
    this.#deadline = deadline;
    socket.onFrame = (frame) => {
      this.#frames.push(frame);
      this.#grown.resolve();
    };
    socket.onClose = () => {
      this.#open = false;
      this.#grown.resolve();
      this.#closed.resolve();
    };
  }

  /** Connects and says nothing. */
  static async connect(url: string, deadline: AbortSignal): Promise<HostileLink> {
    const protocols = ["cairn.link.v1"];
    return new HostileLink(await connectWebSocket(url, { protocols, signal: deadline }), deadline);
  }

  /** Connects and completes the handshake as `identity`, or as far as a forgery comes. */
  static async open(
    url: string,
    identity: Identity,
    deadline: AbortSignal,
    forge: Forgery = encodeCbor,
  ): Promise<HostileLink> {
    const link = await HostileLink.connect(url, deadline);
    await link.#shakeHands(identity, forge);
    return link;
  }

  /** False once the other side has hung up. */
  get isOpen(): boolean {
    return this.#open;
  }

  /** Waits until the other side hangs up. */
  closed(): Promise<void> {
    return within(this.#deadline, this.#closed.promise, () => "the end of a hostile link");
  }

  /** Sends a carrier message as it is. */
  sendFrame(frame: Uint8Array): void {
    this.#socket.send(frame);
  }

  /** Encrypts and sends a plaintext that need not be a part of an envelope. */
  sendSealed(plaintext: Uint8Array): void {
    const frame = this.#noise?.send.encrypt(NOTHING, plaintext);
    if (frame) this.#socket.send(frame);
  }

  /** Sends something in place of an envelope, in as many parts as it takes. */
  sendInsteadOfEnvelope(bytes: Uint8Array, partLength = 65_000): void {
    let offset = 0;
    do {
      const part = bytes.subarray(offset, offset + partLength);
      offset += part.length;
      const marker = offset < bytes.length ? 1 : 0;
      this.sendSealed(concatBytes(Uint8Array.of(marker), part));
    } while (offset < bytes.length);
  }

  /** Sends an envelope with this payload. */
  send(type: number, payload: Uint8Array): void {
    this.sendInsteadOfEnvelope(encodeEnvelope({ type, id: systemHost.random(16), payload }));
  }

  /** The next frame of the other side; `undefined` when it has hung up. */
  async nextFrame(): Promise<Uint8Array | undefined> {
    while (this.#frames.length === 0 && this.#open) {
      await within(this.#deadline, this.#grown.promise, () => "a frame of the other side");
      this.#grown = Promise.withResolvers();
    }
    return this.#frames.shift();
  }

  /** Asks for a sign of life; resolves when it has come, or the other side has hung up. */
  async answered(): Promise<void> {
    this.send(MessageType.Heartbeat, NOTHING);
    let isInMiddle = false;
    for (let frame = await this.nextFrame(); frame; frame = await this.nextFrame()) {
      const part = this.#noise?.receive.decrypt(NOTHING, frame);
      if (!part) return;
      const isWhole = !isInMiddle && part[0] === 0;
      isInMiddle = part[0] === 1;
      if (isWhole && decodeEnvelope(part.subarray(1)).type === MessageType.HeartbeatAck) return;
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  async #shakeHands(identity: Identity, forge: Forgery): Promise<void> {
    const { pair, certificate } = new LinkKeys(identity, systemHost).current();
    const handshake = new NoiseXxHandshake({
      initiator: true,
      staticPair: pair,
      ephemeralPair: x25519KeyPair(systemHost.random(32)),
      prologue: utf8("cairn-link/1"),
    });
    this.sendFrame(handshake.writeMessage(NOTHING));
    const answer = await this.nextFrame();
    if (!answer) return;
    handshake.readMessage(answer);
    const proof = new Map<number, CborValue>([
      [0, certificate.identityKey],
      [1, certificate.signature],
      [2, [1]],
      [3, ["receive"]],
      [4, certificate.expiry],
    ]);
    this.sendFrame(handshake.writeMessage(forge(proof)));
    this.#noise = handshake.finish();
  }
}
