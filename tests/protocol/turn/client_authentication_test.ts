import assert from "node:assert/strict";
import { utf8 } from "../../../src/base/bytes.ts";
import {
  AttributeType,
  encodeErrorCode,
  encodeLifetime,
  encodePasswordAlgorithms,
  encodeXorAddress,
} from "../../../src/protocol/stun/attributes.ts";
import { type Integrity, longTermKey } from "../../../src/protocol/stun/integrity.ts";
import {
  type Attribute,
  decodeStunMessage,
  encodeStunMessage,
  MessageClass,
  type StunMessage,
} from "../../../src/protocol/stun/message.ts";
import type { TurnClient } from "../../../src/protocol/turn/turn_client.ts";
import { PEER, turnClient } from "./client_world.ts";

const REALM: Attribute = [AttributeType.Realm, utf8("realm")];
const MD5: Integrity = { kind: "sha1", key: longTermKey("md5", "user", "realm", "pass") };
const SHA256: Integrity = {
  kind: "sha256",
  key: longTermKey("sha-256", "user", "realm", "pass"),
};

Deno.test("TurnClient signs with MD5 and SHA-1 where the server offers no choice", () => {
  const server = new ScriptedServer();
  server.answers(401, [REALM, nonce("n1")]);
  const request = server.lastRequest;
  assert.equal(request.integrityKind, "sha1");
  assert.ok(request.verify(MD5));
  assert.equal(request.has(AttributeType.PasswordAlgorithm), false);
  server.grants(MD5);
  assert.deepEqual(server.outcome(), ["allocated"]);
});

/** The offer, as numbers of RFC 8489 section 18.5, and what is made of it. */
const OFFERS: [offered: Uint8Array, integrity: Integrity | undefined][] = [
  [encodePasswordAlgorithms(["sha-256", "md5"]), SHA256],
  [encodePasswordAlgorithms(["md5", "sha-256"]), SHA256],
  [encodePasswordAlgorithms(["md5"]), { kind: "sha256", key: MD5.key }],
  [Uint8Array.of(0, 9, 0, 0), undefined],
  [Uint8Array.of(0, 2, 0), undefined],
];

for (const [offered, integrity] of OFFERS) {
  Deno.test(`TurnClient, offered the algorithms ${offered.toHex()}, ${integrity ? "signs" : "gives up"}`, () => {
    const server = new ScriptedServer();
    server.answers(401, [REALM, nonce("obMatJos2wAADx"), algorithms(offered)]);
    if (integrity === undefined) {
      assert.deepEqual(server.outcome(), ["refused: unusable-challenge", "ended"]);
      return;
    }
    assert.ok(server.lastRequest.verify(integrity));
    assert.deepEqual(server.lastRequest.get(AttributeType.PasswordAlgorithms), offered);
  });
}

Deno.test("2-AU-50 TurnClient gives up when somebody took the better algorithms away", () => {
  for (const features of ["gAAA", "AAAB", "wAAD"]) {
    const server = new ScriptedServer();
    server.answers(401, [REALM, nonce(`obMatJos2${features}x`)]);
    assert.deepEqual(server.outcome(), ["refused: unusable-challenge", "ended"], features);
  }
  for (const innocent of ["obMatJos2AAAAx", "obMatJos2", "obMatJos2.,-x", "wAADobMatJos2"]) {
    const server = new ScriptedServer();
    server.answers(401, [REALM, nonce(innocent)]);
    assert.equal(server.lastRequest.integrityKind, "sha1", innocent);
  }
});

Deno.test("TurnClient gives up on a challenge without realm or nonce", () => {
  for (const attributes of [[], [REALM], [nonce("n1")]]) {
    const server = new ScriptedServer();
    server.answers(401, attributes);
    assert.deepEqual(server.outcome(), ["refused: unusable-challenge", "ended"]);
  }
});

Deno.test("TurnClient repeats a request with the new nonce of a 438, but not for ever", () => {
  const server = new ScriptedServer();
  server.answers(401, [REALM, nonce("n0")]);
  for (let i = 1; i <= 3; i++) {
    server.answers(438, [REALM, nonce(`n${i}`)]);
    assert.deepEqual(server.lastRequest.get(AttributeType.Nonce), utf8(`n${i}`));
    assert.ok(server.lastRequest.verify(MD5));
  }
  server.answers(438, [REALM, nonce("n4")]);
  assert.deepEqual(server.outcome(), ["refused: 438", "ended"]);
});

Deno.test("TurnClient ignores what the server has not signed, and hears it afterwards", () => {
  const server = new ScriptedServer();
  server.answers(401, [REALM, nonce("n1")]);
  const wrong = { ...MD5, key: new Uint8Array(16) };
  for (const integrity of [undefined, wrong]) {
    server.grants(integrity);
    server.answers(437, [], integrity);
    server.answers(300, [], integrity);
  }
  assert.deepEqual(server.outcome(), []);
  server.grants(MD5);
  assert.deepEqual(server.outcome(), ["allocated"]);
});

Deno.test("TurnClient takes no SHA-1 signature for a SHA-256 one", () => {
  const server = new ScriptedServer();
  const offer = algorithms(encodePasswordAlgorithms(["sha-256", "md5"]));
  server.answers(401, [REALM, nonce("obMatJos2wAADx"), offer]);
  server.grants({ ...MD5, key: SHA256.key });
  assert.deepEqual(server.outcome(), []);
  server.grants(SHA256);
  assert.deepEqual(server.outcome(), ["allocated"]);
});

Deno.test("TurnClient reports the error of a server, signed or not as it must be", () => {
  const refusals: [code: number, integrity: Integrity | undefined][] = [
    ...[437, 440, 441, 442, 486, 508, 300].map((code) => [code, MD5] as [number, Integrity]),
    [400, undefined],
  ];
  for (const [code, integrity] of refusals) {
    const server = new ScriptedServer();
    server.answers(401, [REALM, nonce("n1")]);
    server.answers(code, [], integrity);
    assert.deepEqual(server.outcome(), [`refused: ${code}`, "ended"]);
  }
  const closed = new ScriptedServer();
  closed.answers(403, []);
  assert.deepEqual(closed.outcome(), ["refused: 403", "ended"], "before anything was signed");
});

Deno.test("TurnClient takes a success without an address or lifetime for what it is", () => {
  for (const attributes of [[], [[AttributeType.Lifetime, encodeLifetime(600)] as const]]) {
    const server = new ScriptedServer();
    server.answers(401, [REALM, nonce("n1")]);
    server.succeeds(attributes, MD5);
    assert.deepEqual(server.outcome(), ["refused: malformed", "ended"]);
  }
});

Deno.test("TurnClient ignores responses to other requests, methods and transactions", () => {
  const server = new ScriptedServer();
  const { method, transactionId } = server.lastRequest;
  const other = transactionId.map((byte) => byte ^ 1);
  const error = [[AttributeType.ErrorCode, encodeErrorCode({ code: 486, reason: "" })]] as const;
  for (const [as, id] of [[method, other], [method + 1, transactionId]] as const) {
    server.says(encodeStunMessage({
      method: as,
      messageClass: MessageClass.Error,
      transactionId: id,
      attributes: error,
    }));
  }
  assert.deepEqual(server.outcome(), []);
});

Deno.test("TurnClient sends a request seven times over datagrams (RFC 8489 section 6.2.1)", () => {
  const client = turnClient();
  client.allocate(1_000);
  assert.deepEqual(timeline(client, 1_000), [
    ...[0, 500, 1_500, 3_500, 7_500, 15_500, 31_500].map((at) => `${at} send`),
    "39500 refused",
    "39500 ended",
  ]);
});

Deno.test("TurnClient sends a request once over a stream (RFC 8489 section 6.2.2)", () => {
  const client = turnClient({ transport: "stream" });
  client.allocate(0);
  assert.deepEqual(timeline(client, 0), ["0 send", "39500 refused", "39500 ended"]);
});

/** The far side of a client that asks for an allocation, saying what the test wants. */
class ScriptedServer {
  readonly #client: TurnClient = turnClient();
  readonly #outcome: string[] = [];
  #lastRequest: StunMessage | undefined;

  constructor() {
    this.#client.allocate(0);
    this.#hear();
  }

  get lastRequest(): StunMessage {
    return this.#lastRequest ?? assert.fail("nothing was asked");
  }

  /** What the client has said since. */
  outcome(): string[] {
    return this.#outcome.splice(0);
  }

  answers(code: number, attributes: readonly Attribute[], integrity?: Integrity): void {
    const error: Attribute = [AttributeType.ErrorCode, encodeErrorCode({ code, reason: "no" })];
    this.#respond(MessageClass.Error, [error, ...attributes], integrity);
  }

  succeeds(attributes: readonly Attribute[], integrity: Integrity | undefined): void {
    this.#respond(MessageClass.Success, attributes, integrity);
  }

  grants(integrity: Integrity | undefined): void {
    const address = encodeXorAddress(PEER, this.lastRequest.transactionId);
    this.succeeds([
      [AttributeType.XorRelayedAddress, address],
      [AttributeType.Lifetime, encodeLifetime(600)],
    ], integrity);
  }

  says(bytes: Uint8Array): void {
    this.#client.receive(bytes, 0, bytes.length, 0);
    this.#hear();
  }

  #respond(
    messageClass: MessageClass,
    attributes: readonly Attribute[],
    integrity: Integrity | undefined,
  ): void {
    const { method, transactionId } = this.lastRequest;
    this.says(encodeStunMessage({ method, messageClass, transactionId, attributes, integrity }));
  }

  #hear(): void {
    for (const effect of this.#client.takeEffects()) {
      if (effect.kind === "send") this.#lastRequest = decodeStunMessage(effect.bytes);
      else if (effect.kind === "refused") this.#outcome.push(`refused: ${effect.refusal.code}`);
      else this.#outcome.push(effect.kind);
    }
  }
}

/** What a client that nobody answers does, in milliseconds from its start. */
function timeline(client: TurnClient, start: number): string[] {
  const events = client.takeEffects().map(({ kind }) => `0 ${kind}`);
  for (let at = client.nextDeadline(); at < Infinity; at = client.nextDeadline()) {
    client.advance(at);
    events.push(...client.takeEffects().map(({ kind }) => `${at - start} ${kind}`));
  }
  return events;
}

function nonce(text: string): Attribute {
  return [AttributeType.Nonce, utf8(text)];
}

function algorithms(value: Uint8Array): Attribute {
  return [AttributeType.PasswordAlgorithms, value];
}
