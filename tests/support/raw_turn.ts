import assert from "node:assert/strict";
import { utf8 } from "../../src/base/bytes.ts";
import { systemHost } from "../../src/base/host.ts";
import { AttributeType } from "../../src/protocol/stun/attributes.ts";
import { type Integrity, longTermKey } from "../../src/protocol/stun/integrity.ts";
import {
  type Attribute,
  decodeStunMessage,
  encodeStunMessage,
  MessageClass,
  Method,
  type StunMessage,
  TRANSACTION_ID_LENGTH,
} from "../../src/protocol/stun/message.ts";
import { within } from "./deadline.ts";

const WITHIN_MS = 120_000;
const REALM = "cairn";
const ROOM = 2_048;

/** A client on 127.0.0.1 that says what a test wants it to say, with credentials. */
export class RawTurn implements Disposable {
  readonly #send: (bytes: Uint8Array) => Promise<unknown>;
  readonly #receive: () => Promise<Uint8Array>;
  readonly #close: () => void;
  #nonce: Uint8Array | undefined;

  private constructor(
    send: (bytes: Uint8Array) => Promise<unknown>,
    receive: () => Promise<Uint8Array>,
    close: () => void,
  ) {
    this.#send = send;
    this.#receive = receive;
    this.#close = close;
  }

  /** Over UDP it speaks from the address `from`. */
  static async open(
    transport: "udp" | "tcp",
    port: number,
    from = "127.0.0.1",
  ): Promise<RawTurn> {
    const hostname = "127.0.0.1";
    if (transport === "udp") {
      const socket = Deno.listenDatagram({ transport, hostname: from, port: 0 });
      return new RawTurn(
        (bytes) => socket.send(bytes, { transport, hostname, port }),
        async () => (await socket.receive(new Uint8Array(ROOM)))[0],
        () => socket.close(),
      );
    }
    const connection = await Deno.connect({ hostname, port });
    // Answers to one request at a time come in one piece.
    return new RawTurn(
      (bytes) => connection.write(bytes),
      async () => {
        const buffer = new Uint8Array(ROOM);
        return buffer.subarray(0, await connection.read(buffer) ?? 0);
      },
      () => connection.close(),
    );
  }

  /** An Allocate request over UDP with these attributes; its answer. */
  allocate(...attributes: readonly Attribute[]): Promise<StunMessage> {
    const udp: Attribute = [AttributeType.RequestedTransport, Uint8Array.of(17, 0, 0, 0)];
    return this.request(Method.Allocate, udp, ...attributes);
  }

  async request(
    method: StunMessage["method"],
    ...attributes: readonly Attribute[]
  ): Promise<StunMessage> {
    if (this.#nonce === undefined) {
      const challenge = await this.#ask(method, []);
      this.#nonce = challenge.get(AttributeType.Nonce)?.slice();
      assert.ok(this.#nonce, "the relay wants credentials");
    }
    return await this.#ask(method, [
      ...attributes,
      [AttributeType.Username, utf8("user")],
      [AttributeType.Realm, utf8(REALM)],
      [AttributeType.Nonce, this.#nonce],
    ], {
      kind: "sha1",
      key: longTermKey("md5", "user", REALM, "pass"),
    });
  }

  [Symbol.dispose](): void {
    this.#close();
  }

  async #ask(
    method: StunMessage["method"],
    attributes: readonly Attribute[],
    integrity?: Integrity,
  ): Promise<StunMessage> {
    await this.#send(encodeStunMessage({
      method,
      messageClass: MessageClass.Request,
      transactionId: systemHost.random(TRANSACTION_ID_LENGTH),
      attributes,
      ...(integrity && { integrity }),
    }));
    const bytes = await within(
      AbortSignal.timeout(WITHIN_MS),
      this.#receive(),
      () => "the relay's answer",
    );
    const answer = decodeStunMessage(bytes);
    assert.ok(answer, "the answer is a STUN message");
    return answer;
  }
}
