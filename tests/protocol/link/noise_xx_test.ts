import { deepEqual, equal, notDeepEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { fromHex, toHex, utf8 } from "../../../src/base/bytes.ts";
import { ProtocolError } from "../../../src/base/errors.ts";
import { chacha20Poly1305, x25519KeyPair } from "../../../src/protocol/crypto/primitives.ts";
import {
  CipherState,
  MAX_NOISE_MESSAGE,
  NoiseXxHandshake,
} from "../../../src/protocol/link/noise_xx.ts";
import published from "../../vectors/noise_xx_25519_chachapoly_sha256.json" with { type: "json" };

const NONE = new Uint8Array(0);
const PROLOGUE = utf8("cairn-link/1");

for (const [index, vector] of published.vectors.entries()) {
  const both = () => {
    const prologue = fromHex(vector.prologue);
    return {
      initiator: new NoiseXxHandshake({
        initiator: true,
        staticPair: x25519KeyPair(fromHex(vector.initiatorStatic)),
        ephemeralPair: x25519KeyPair(fromHex(vector.initiatorEphemeral)),
        prologue,
      }),
      responder: new NoiseXxHandshake({
        initiator: false,
        staticPair: x25519KeyPair(fromHex(vector.responderStatic)),
        ephemeralPair: x25519KeyPair(fromHex(vector.responderEphemeral)),
        prologue,
      }),
    };
  };

  Deno.test(`NoiseXxHandshake writes and reads the published vector ${index}`, () => {
    const { initiator, responder } = both();
    const messages = vector.messages;
    for (const [i, { payload, ciphertext }] of messages.slice(0, 3).entries()) {
      const [writer, reader] = i % 2 === 0 ? [initiator, responder] : [responder, initiator];
      equal(toHex(writer.writeMessage(fromHex(payload))), ciphertext);
      equal(toHex(reader.readMessage(fromHex(ciphertext))), payload);
    }
    deepEqual(initiator.remoteStatic, x25519KeyPair(fromHex(vector.responderStatic)).publicKey);
    deepEqual(responder.remoteStatic, x25519KeyPair(fromHex(vector.initiatorStatic)).publicKey);
    const a = initiator.finish();
    const b = responder.finish();
    deepEqual(a.handshakeHash, b.handshakeHash);
    const [third, fourth] = messages.slice(3);
    equal(toHex(a.send.encrypt(NONE, fromHex(third!.payload))), third!.ciphertext);
    equal(toHex(b.receive.decrypt(NONE, fromHex(third!.ciphertext))), third!.payload);
    equal(toHex(b.send.encrypt(NONE, fromHex(fourth!.payload))), fourth!.ciphertext);
    equal(toHex(a.receive.decrypt(NONE, fromHex(fourth!.ciphertext))), fourth!.payload);
  });
}

Deno.test("NoiseXxHandshake fails when the prologues differ", () => {
  const { initiator } = pair();
  const { responder } = pair(utf8("cairn-link/2"));
  responder.readMessage(initiator.writeMessage(NONE));
  refuses(() => initiator.readMessage(responder.writeMessage(NONE)));
});

Deno.test("NoiseXxHandshake refuses any changed byte of messages 2 and 3, and is dead then", () => {
  const lengths = { 1: 96 + 5, 2: 64 + 5 };
  for (const target of [1, 2] as const) {
    for (let position = 0; position < lengths[target]; position += 3) {
      const { initiator, responder } = pair();
      const sides = [initiator, responder] as const;
      for (let i = 0; i <= target; i++) {
        const [writer, reader] = [sides[i % 2]!, sides[(i + 1) % 2]!];
        const message = writer.writeMessage(i === 0 ? NONE : utf8("hello"));
        if (i < target) {
          reader.readMessage(message);
          continue;
        }
        equal(message.length, lengths[target]);
        message[position]! ^= 0x40;
        refuses(() => reader.readMessage(message));
        throws(() => reader.writeMessage(NONE), TypeError);
        throws(() => reader.readMessage(message), TypeError);
        throws(() => reader.finish(), TypeError);
        throws(() => reader.remoteStatic, TypeError);
      }
    }
  }
});

Deno.test("NoiseXxHandshake notices a changed first message at the second", () => {
  const { initiator, responder } = pair();
  const first = initiator.writeMessage(utf8("in clear"));
  first[35]! ^= 1;
  responder.readMessage(first);
  refuses(() => initiator.readMessage(responder.writeMessage(NONE)));
});

Deno.test("NoiseXxHandshake refuses an all-zero shared secret in both roles", () => {
  const { responder } = pair();
  responder.readMessage(new Uint8Array(32));
  refuses(() => responder.writeMessage(NONE));
  const { initiator } = pair();
  initiator.writeMessage(NONE);
  refuses(() => initiator.readMessage(new Uint8Array(96)));
});

Deno.test("NoiseXxHandshake refuses truncated and oversized messages", () => {
  for (const length of [0, 31, MAX_NOISE_MESSAGE + 1]) {
    refuses(() => pair().responder.readMessage(new Uint8Array(length)));
  }
  const { initiator } = pair();
  throws(() => initiator.writeMessage(new Uint8Array(MAX_NOISE_MESSAGE - 31)), RangeError);
});

Deno.test("NoiseXxHandshake answers a call out of turn with a TypeError and goes on", () => {
  const { initiator, responder } = pair();
  throws(() => initiator.readMessage(NONE), TypeError);
  throws(() => responder.writeMessage(NONE), TypeError);
  throws(() => initiator.finish(), TypeError);
  throws(() => initiator.remoteStatic, TypeError);
  responder.readMessage(initiator.writeMessage(NONE));
  throws(() => initiator.writeMessage(NONE), TypeError);
  initiator.readMessage(responder.writeMessage(NONE));
  equal(initiator.complete, false);
  responder.readMessage(initiator.writeMessage(NONE));
  equal(initiator.complete && responder.complete, true);
  throws(() => responder.writeMessage(NONE), TypeError);
  initiator.finish();
  throws(() => initiator.finish(), TypeError);
});

Deno.test("NoiseXxHandshake throws nothing but ProtocolError for whatever a remote sends", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const { initiator, responder } = pair();
      onlyProtocolErrors(() => {
        responder.readMessage(bytes);
        responder.writeMessage(NONE);
      });
      initiator.writeMessage(NONE);
      refuses(() => initiator.readMessage(bytes));
    }),
    { numRuns: 60 },
  );
});

Deno.test("CipherState refuses replay, reordering and other associated data", () => {
  const key = new Uint8Array(32).fill(7);
  const sender = new CipherState(key);
  const [zero, one] = [sender.encrypt(NONE, utf8("a")), sender.encrypt(NONE, utf8("a"))];
  notDeepEqual(zero, one);
  const receiver = new CipherState(key);
  undecryptable(() => receiver.decrypt(NONE, one));
  undecryptable(() => receiver.decrypt(utf8("x"), zero));
  deepEqual(receiver.decrypt(NONE, zero), utf8("a"));
  undecryptable(() => receiver.decrypt(NONE, zero));
  deepEqual(receiver.decrypt(NONE, one), utf8("a"));
  undecryptable(() => receiver.decrypt(NONE, NONE));
  undecryptable(() => receiver.decrypt(NONE, new Uint8Array(MAX_NOISE_MESSAGE + 1)));
});

Deno.test("CipherState counts in 64 bits little-endian and stops before the counter is inexact", () => {
  const key = new Uint8Array(32).fill(7);
  const nonce = fromHex("000000000200000001000000");
  deepEqual(
    new CipherState(key, 2 ** 32 + 2).encrypt(utf8("aad"), utf8("a")),
    chacha20Poly1305.seal(key, nonce, utf8("aad"), utf8("a")),
  );
  const last = new CipherState(key, Number.MAX_SAFE_INTEGER - 1);
  last.encrypt(NONE, NONE);
  throws(() => last.encrypt(NONE, NONE), RangeError);
  throws(() => last.decrypt(NONE, new Uint8Array(16)), RangeError);
});

Deno.test("CipherState fills a Noise message to 65,535 bytes and no further", () => {
  const cipher = new CipherState(new Uint8Array(32));
  equal(cipher.encrypt(NONE, new Uint8Array(MAX_NOISE_MESSAGE - 16)).length, MAX_NOISE_MESSAGE);
  throws(() => cipher.encrypt(NONE, new Uint8Array(MAX_NOISE_MESSAGE - 15)), RangeError);
});

function pair(prologue: Uint8Array = PROLOGUE) {
  const side = (initiator: boolean, fill: number) =>
    new NoiseXxHandshake({
      initiator,
      staticPair: x25519KeyPair(new Uint8Array(32).fill(fill)),
      ephemeralPair: x25519KeyPair(new Uint8Array(32).fill(fill + 1)),
      prologue,
    });
  return { initiator: side(true, 0x11), responder: side(false, 0x21) };
}

function refuses(action: () => unknown): void {
  throws(action, (error) => error instanceof ProtocolError && error.code === "handshake-failed");
}

function undecryptable(action: () => unknown): void {
  throws(action, (error) => error instanceof ProtocolError && error.code === "decryption-failed");
}

function onlyProtocolErrors(action: () => unknown): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
  }
}
