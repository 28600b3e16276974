import assert from "node:assert/strict";
import { type AddressPort, parseAddressPort } from "../../../src/base/address.ts";
import { systemHost } from "../../../src/base/host.ts";
import {
  AttributeType,
  encodeErrorCode,
  encodeLifetime,
  encodeXorAddress,
} from "../../../src/protocol/stun/attributes.ts";
import {
  type Attribute,
  decodeStunMessage,
  encodeStunMessage,
  MessageClass,
  Method,
} from "../../../src/protocol/stun/message.ts";
import { RelayAllocation } from "../../../src/roles/path/relay_allocation.ts";
import type { DatagramHandler } from "../../../src/roles/path/wire_socket.ts";
import type { TurnCarrier } from "../../../src/roles/turn_carrier.ts";
import { within } from "../../support/deadline.ts";

const PATIENT = 180_000;

for (const code of [400, 437]) {
  Deno.test(`RelayAllocation asks for its end when a peer is refused with ${code}`, async () => {
    const relay = new ForgetfulRelay(code);
    const allocated = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<string>();
    const allocation = new RelayAllocation({
      carrier: relay,
      transport: "datagram",
      username: "user",
      password: "pass",
      host: systemHost,
      events: {
        onMapped() {},
        onAllocated: () => allocated.resolve(),
        onDatagram() {},
        onEnd: ended.resolve,
      },
    });
    const deadline = AbortSignal.timeout(PATIENT);
    await within(deadline, allocated.promise, () => "an allocation");
    await allocation.toward(address("198.51.100.7:9"))(new Uint8Array(8), 4, 4);
    assert.match(await within(deadline, ended.promise, () => "its end"), /ended the allocation/);
    assert.deepEqual(relay.asked, [Method.Allocate, Method.CreatePermission, Method.Refresh]);
    await allocation.close();
  });
}

/** Grants an allocation and forgets it at once; what is asked for after that it refuses. */
class ForgetfulRelay implements TurnCarrier {
  readonly asked: number[] = [];
  readonly #code: number;
  readonly #closed = Promise.withResolvers<void>();
  #receive: DatagramHandler = () => {};

  constructor(code: number) {
    this.#code = code;
  }

  forward(): void {}

  send(bytes: Uint8Array): Promise<void> {
    const request = decodeStunMessage(bytes);
    if (request?.messageClass !== MessageClass.Request) return Promise.resolve();
    const { method, transactionId } = request;
    if (method === Method.Binding) return Promise.resolve();
    this.asked.push(method);
    const granted: readonly Attribute[] = [
      [AttributeType.XorRelayedAddress, encodeXorAddress(address("5.5.5.5:5"), transactionId)],
      [AttributeType.Lifetime, encodeLifetime(600)],
    ];
    const answer = encodeStunMessage({
      method,
      messageClass: method === Method.Allocate ? MessageClass.Success : MessageClass.Error,
      transactionId,
      attributes: method === Method.Allocate
        ? granted
        : [[AttributeType.ErrorCode, encodeErrorCode({ code: this.#code, reason: "" })]],
    });
    queueMicrotask(() => void this.#receive(answer, 0, answer.length));
    return Promise.resolve();
  }

  async read(receive: DatagramHandler): Promise<void> {
    this.#receive = receive;
    await this.#closed.promise;
  }

  close(): void {
    this.#closed.resolve();
  }
}

function address(text: string): AddressPort {
  const parsed = parseAddressPort(text);
  assert.ok(parsed);
  return parsed;
}
