import assert from "node:assert/strict";
import type { IpAddress } from "../../src/base/address.ts";
import { concatBytes, utf8 } from "../../src/base/bytes.ts";
import { systemHost } from "../../src/base/host.ts";
import {
  AttributeType,
  decodeXorAddress,
  encodeChannelNumber,
  encodeXorAddress,
  UDP_PROTOCOL,
} from "../../src/protocol/stun/attributes.ts";
import { type Integrity, longTermKey } from "../../src/protocol/stun/integrity.ts";
import {
  type Attribute,
  decodeStunMessage,
  encodeStunMessage,
  MessageClass,
  Method,
  type StunMessage,
} from "../../src/protocol/stun/message.ts";
import { MAX_FRAME_LENGTH, StreamFramer } from "../../src/protocol/stun/stream_framer.ts";
import { within } from "./deadline.ts";

const WITHIN_MS = 120_000;
const CHANNEL = 0x4000;
const REALM = "cairn";

/** A TCP or TLS connection on which a test writes bytes of its choice and reads only when asked. */
export class FrameReader implements Disposable {
  readonly #connection: Deno.Conn;
  readonly #framer = new StreamFramer({
    headroom: 0,
    maxFrameLength: MAX_FRAME_LENGTH,
    lastChannel: 0x4fff,
  });
  readonly #deadline = new AbortController();
  readonly #timer = setTimeout(() => this.#deadline.abort(), WITHIN_MS);
  #nonce: Uint8Array | undefined;

  constructor(connection: Deno.Conn) {
    this.#connection = connection;
  }

  static async open(port: number): Promise<FrameReader> {
    return new FrameReader(await Deno.connect({ hostname: "127.0.0.1", port }));
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let sent = 0; sent < bytes.length;) {
      sent += await this.#connection.write(bytes.subarray(sent));
    }
  }

  closeWrite(): Promise<void> {
    return this.#connection.closeWrite();
  }

  /** The next frame, which must be a STUN message. */
  async message(): Promise<StunMessage> {
    const buffer = new Uint8Array(4_096);
    while (!this.#framer.next()) {
      const count = await this.#wait(this.#connection.read(buffer), "a message");
      assert.ok(count !== null, "the connection is open");
      this.#framer.push(buffer.subarray(0, count));
    }
    const { offset, length } = this.#framer;
    const message = decodeStunMessage(this.#framer.buffer.slice(offset, offset + length));
    assert.ok(message);
    return message;
  }

  /** Reads until the relay has closed the connection, in whatever way. */
  async isClosed(): Promise<void> {
    const buffer = new Uint8Array(4_096);
    const read = () => this.#connection.read(buffer).catch(() => null);
    while (await this.#wait(read(), "the end of the connection") !== null);
  }

  /** Allocates as the user of the tests; the relayed port. */
  async allocate(): Promise<number> {
    const transport: Attribute = [
      AttributeType.RequestedTransport,
      Uint8Array.of(UDP_PROTOCOL, 0, 0, 0),
    ];
    const challenge = await this.#ask(Method.Allocate, [transport]);
    this.#nonce = challenge.get(AttributeType.Nonce);
    const answer = await this.#ask(Method.Allocate, [transport]);
    const relayed = answer.get(AttributeType.XorRelayedAddress);
    assert.ok(relayed, "the allocation is granted");
    return decodeXorAddress(relayed, answer.transactionId)?.port ?? NaN;
  }

  async bind(address: IpAddress, port: number): Promise<void> {
    const transactionId = systemHost.random(12);
    const answer = await this.#ask(Method.ChannelBind, [
      [AttributeType.ChannelNumber, encodeChannelNumber(CHANNEL)],
      [AttributeType.XorPeerAddress, encodeXorAddress({ address, port }, transactionId)],
    ], transactionId);
    assert.equal(answer.messageClass, MessageClass.Success);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#connection.close();
  }

  async #ask(
    method: number,
    attributes: readonly Attribute[],
    transactionId = systemHost.random(12),
  ): Promise<StunMessage> {
    const nonce = this.#nonce;
    const integrity: Integrity | undefined = nonce && {
      kind: "sha1",
      key: longTermKey("md5", "user", REALM, "pass"),
    };
    const signed: Attribute[] = nonce === undefined ? [] : [
      [AttributeType.Username, utf8("user")],
      [AttributeType.Realm, utf8(REALM)],
      [AttributeType.Nonce, concatBytes(nonce)],
    ];
    await this.write(encodeStunMessage({
      method,
      messageClass: MessageClass.Request,
      transactionId,
      attributes: [...attributes, ...signed],
      integrity,
    }));
    return await this.message();
  }

  #wait<T>(promise: Promise<T>, what: string): Promise<T> {
    return within(this.#deadline.signal, promise, () => what);
  }
}
