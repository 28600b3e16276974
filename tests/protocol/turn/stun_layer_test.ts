/** The STUN layer of the server: statements 1 to 27 of docs/relay_checklist.md. */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { concatBytes, fromHex, readU16, utf8 } from "../../../src/base/bytes.ts";
import { AttributeType, decodeText } from "../../../src/protocol/stun/attributes.ts";
import {
  type Attribute,
  encodeStunMessage,
  MessageClass,
  Method,
} from "../../../src/protocol/stun/message.ts";
import {
  type ActingClient,
  addressesOf,
  errorOf,
  isSuccess,
  PEER,
  peerAddress,
  TurnScene,
  UDP,
} from "./turn_scene.ts";

const REQUIRED: Attribute = [0x7fff, new Uint8Array(3)];
const OPTIONAL: Attribute = [0xffff, new Uint8Array(3)];

const message = (
  method: number,
  messageClass: MessageClass,
  attributes: readonly Attribute[] = [],
  fingerprint = false,
) =>
  encodeStunMessage({
    method,
    messageClass,
    transactionId: new Uint8Array(12),
    attributes,
    fingerprint,
  });

/** Whether anything at all comes back. */
function isAnswered(client: ActingClient, bytes: Uint8Array): boolean {
  return client.receive(bytes) !== undefined || client.answers.splice(0).length > 0;
}

Deno.test("2-ST-1 2-ST-2 What is no STUN message is dropped and counted", () => {
  const scene = new TurnScene();
  const client = scene.client();
  const binding = message(Method.Binding, MessageClass.Request);
  const datagrams = [
    new Uint8Array(),
    binding.subarray(0, 19),
    binding.with(0, 0x80),
    binding.with(4, 0),
    binding.with(3, 4),
    concatBytes(binding, new Uint8Array(1)),
    concatBytes(fromHex("00010008"), new Uint8Array(24)),
    Uint8Array.of(22, 254, 253, 0, 0),
  ];
  for (const datagram of datagrams) ok(!isAnswered(client, datagram));
  strictEqual(scene.server.counters.droppedMalformed, datagrams.length);
  strictEqual(client.allocation, undefined);
});

Deno.test("2-ST-3 2-ST-4 2-ST-5 Nothing but a request of a known method is answered", () => {
  const scene = new TurnScene({
    settings: {
      challengeRate: { burst: 1e6, perSecond: 1 },
      bindingRate: { burst: 1e6, perSecond: 1 },
    },
  });
  const client = scene.allocated();
  const known: number[] = [
    Method.Binding,
    Method.Allocate,
    Method.Refresh,
    Method.CreatePermission,
    Method.ChannelBind,
  ];
  for (let method = 0; method <= 0xfff; method++) {
    for (const messageClass of Object.values(MessageClass)) {
      const expected = messageClass === MessageClass.Request && known.includes(method);
      strictEqual(
        isAnswered(client, message(method, messageClass)),
        expected,
        `method ${method}, class ${messageClass}`,
      );
    }
  }
});

Deno.test("2-ST-6 An attribute that runs past the message is no request", () => {
  const client = new TurnScene().client();
  const bytes = message(Method.Binding, MessageClass.Request, [[
    AttributeType.Software,
    new Uint8Array(4),
  ]]);
  ok(!isAnswered(client, bytes.with(23, 5)));
  ok(isAnswered(client, bytes));
});

Deno.test("2-ST-7 An attribute that need not be understood is passed over", () => {
  const scene = new TurnScene();
  ok(isSuccess(scene.client().ask(Method.Binding, OPTIONAL)));
  ok(isSuccess(scene.client().allocate(OPTIONAL)));
});

Deno.test("2-ST-8 Attributes that must be understood are named in a signed 420", () => {
  const scene = new TurnScene();
  const client = scene.client();
  const another: Attribute = [0x0002, new Uint8Array()];
  const answer = client.allocate(REQUIRED, another, REQUIRED);
  strictEqual(errorOf(answer), 420);
  ok(client.trusts(answer));
  const named = answer!.get(AttributeType.UnknownAttributes)!;
  deepStrictEqual([readU16(named, 0), readU16(named, 2), named.length], [0x7fff, 2, 4]);
});

Deno.test("2-ST-9 Without credentials the same request is told to authenticate", () => {
  strictEqual(errorOf(new TurnScene().client().ask(Method.Allocate, UDP, REQUIRED)), 401);
});

Deno.test("2-ST-10 A Binding request with such an attribute gets 420", () => {
  const answer = new TurnScene().client().ask(Method.Binding, REQUIRED);
  strictEqual(errorOf(answer), 420);
  deepStrictEqual([...answer!.get(AttributeType.UnknownAttributes)!], [0x7f, 0xff]);
});

Deno.test("2-ST-11 A Send indication with such an attribute is dropped", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  client.permit(PEER);
  ok(client.sendTo(PEER, utf8("x"), OPTIONAL));
  strictEqual(client.sendTo(PEER, utf8("x"), REQUIRED), undefined);
});

Deno.test("2-ST-12 A second XOR-PEER-ADDRESS in a Send indication is not used", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  client.permit(PEER);
  const transactionId = scene.nextTransaction();
  const data: Attribute = [AttributeType.Data, utf8("x")];
  const [good, bad] = [PEER, "10.0.0.1:80"].map((peer) => peerAddress(peer, transactionId));
  const sent = client.indicate(transactionId, [good!, bad!, data]);
  strictEqual(sent?.to === "peer" && sent.peer, PEER);
  strictEqual(client.indicate(transactionId, [bad!, good!, data]), undefined);
  const another: Attribute = [AttributeType.Data, utf8("another")];
  const first = client.indicate(transactionId, [good!, data, another]);
  deepStrictEqual(first?.to === "peer" && [...first.bytes], [...utf8("x")]);
});

Deno.test("2-ST-14 A wrong FINGERPRINT silences requests and indications", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  client.permit(PEER);
  const right = message(Method.Binding, MessageClass.Request, [], true);
  ok(isAnswered(client, right));
  ok(!isAnswered(client, right.with(8, 1)));

  const transactionId = scene.nextTransaction();
  const attributes = [peerAddress(PEER, transactionId), [AttributeType.Data, utf8("x")] as const];
  ok(client.indicate(transactionId, attributes, true));
  const indication = encodeStunMessage({
    method: Method.Send,
    messageClass: MessageClass.Indication,
    transactionId,
    attributes,
    fingerprint: true,
  });
  strictEqual(client.receive(indication.with(indication.length - 1, 0)), undefined);
});

Deno.test("2-ST-16 An answer has a FINGERPRINT when its request had", () => {
  const scene = new TurnScene();
  const client = scene.client();
  client.receive(message(Method.Binding, MessageClass.Request, [], true));
  ok(client.answer()?.hasFingerprint);
  client.receive(message(Method.Binding, MessageClass.Request));
  strictEqual(client.answer()?.hasFingerprint, false);
  const answer = client.request(Method.Allocate, [UDP], { fingerprint: true });
  ok(isSuccess(answer) && answer?.hasFingerprint && client.trusts(answer));
});

Deno.test("2-ST-20 An answer has its request's method and transaction", () => {
  const scene = new TurnScene();
  const client = scene.client();
  const transactionId = scene.nextTransaction();
  const answer = client.request(Method.Allocate, [UDP], { transactionId });
  strictEqual(answer?.method, Method.Allocate);
  deepStrictEqual([...answer.transactionId], [...transactionId]);
});

Deno.test("2-ST-21 Binding tells a client of either family its address", () => {
  const scene = new TurnScene();
  for (const address of ["203.0.113.7:40000", "[2a00:99::1]:1"]) {
    const answer = scene.client(address).ask(Method.Binding);
    ok(isSuccess(answer));
    deepStrictEqual(addressesOf(answer, AttributeType.XorMappedAddress), [address]);
  }
});

Deno.test("2-ST-21 Without credentials the server is a STUN server and nothing else", () => {
  const scene = new TurnScene({ withoutCredentials: true });
  const client = scene.client();
  ok(isSuccess(client.ask(Method.Binding)));
  strictEqual(client.ask(Method.Allocate, UDP), undefined);
});

Deno.test("2-ST-22 A Binding indication is a sign of life and no more", () => {
  const scene = new TurnScene();
  ok(!isAnswered(scene.client(), message(Method.Binding, MessageClass.Indication)));
  strictEqual(scene.server.counters.droppedUnexpected, 0);
});

Deno.test("2-ST-23 SOFTWARE stands in what the authenticated get, and nowhere else", () => {
  const scene = new TurnScene({ settings: { software: "cairn test" } });
  const client = scene.client();
  const software = (answer: ReturnType<ActingClient["answer"]>) => {
    const value = answer?.get(AttributeType.Software);
    return value && decodeText(value);
  };
  strictEqual(software(client.ask(Method.Allocate)), undefined);
  strictEqual(software(client.ask(Method.Binding)), undefined);
  strictEqual(software(client.allocate()), "cairn test");
  strictEqual(software(client.refresh(600)), "cairn test");
  const silent = new TurnScene({ settings: { software: "" } });
  strictEqual(software(silent.client().allocate()), undefined);
});

Deno.test("2-ST-27 Names and nonces have the lengths that the RFC gives them", () => {
  const scene = new TurnScene();
  const codeWith = (type: number, length: number) => {
    const client = scene.client();
    const answer = client.request(Method.Allocate, [UDP], {
      credentials: (own) =>
        own.map(([t, v]) => [t, t === type ? new Uint8Array(length).fill(97) : v]),
    });
    return errorOf(answer);
  };
  strictEqual(codeWith(AttributeType.Username, 508), 401);
  strictEqual(codeWith(AttributeType.Username, 509), 400);
  strictEqual(codeWith(AttributeType.Realm, 763), 401);
  strictEqual(codeWith(AttributeType.Realm, 764), 400);
  strictEqual(codeWith(AttributeType.Nonce, 763), 438);
  strictEqual(codeWith(AttributeType.Nonce, 764), 400);
});
