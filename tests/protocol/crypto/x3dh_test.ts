import { deepEqual, equal, notDeepEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { concatBytes, fromHex, toHex } from "../../../src/base/bytes.ts";
import { ProtocolError } from "../../../src/base/errors.ts";
import { certifyX3dhKey, Identity } from "../../../src/protocol/crypto/identity.ts";
import { x25519KeyPair } from "../../../src/protocol/crypto/primitives.ts";
import {
  decodeSignedPart,
  encodeSignedPart,
  initiateX3dh,
  respondX3dh,
  signBundle,
  type SignedPart,
  verifyBundle,
} from "../../../src/protocol/crypto/x3dh.ts";

const A = Identity.fromSeed(new Uint8Array(32).fill(0x11));
const B = Identity.fromSeed(new Uint8Array(32).fill(0x22));
const [IK_A, IK_B, EK, SPK, OPK] = [0x31, 0x32, 0x33, 0x34, 0x35].map(pairOf) as [
  ReturnType<typeof pairOf>,
  ReturnType<typeof pairOf>,
  ReturnType<typeof pairOf>,
  ReturnType<typeof pairOf>,
  ReturnType<typeof pairOf>,
];
const EXPIRY = 1_700_000_000;
const NOW = EXPIRY * 1000;

const PART: SignedPart = {
  versions: [1],
  identityKey: B.publicKey,
  x3dhKey: IK_B.publicKey,
  x3dhCertificate: certifyX3dhKey(B, IK_B.publicKey),
  signedPrekeyId: 7,
  signedPrekey: SPK.publicKey,
  expiry: EXPIRY,
};

/** These answers were computed with pyca/cryptography from docs/wire_format.md sections 6.1, 6.2. */
const KNOWN = {
  signedPart: "a7008101015820a09aa5f47a6759802ff955f8dc2d2a14a5c99d23be97f864127ff9383455a4f00258" +
    "2059d9225473451efffe6b36dbcaefdbf7b1895de62084509a7f5b58bf01d06418035840ca3a1429a493cb52b86c" +
    "25791c462435afcb572ca8f7b75374a047aa5d9b908c1b957bdf0370403ddf1d3cf04dc00b2bbef5f4844c9ac4d7" +
    "8b46aa0cf07b9a0b0407055820ffc951aa6f2fa03096d1d1b579735b2f6f84019fe2f617aa65ff3d68705f252706" +
    "1a6553f100",
  signature: "ac3648b58494ddd375a999cbfcfe5faca201c60473e80b91d5c3c17278d4a5fa8f41f1c8d39ea79623" +
    "fd5dcdf7fac01cc7327886031985ace926be65a77fb908",
  secret: "1a32cd1f1f2ea7c57fbeda7d1b6a6c553f15a8f77a540bbc9a539a92b9af565b",
  secretWithOneTimePrekey: "80b359ce6e18af004347470af43adf469fe6f6a6425ed5345695123ae3aea7cb",
  sessionId: "84b5cbf4910a3ac2755f634dae510064",
};

Deno.test("encodeSignedPart and signBundle give the known bytes", () => {
  equal(toHex(encodeSignedPart(PART)), KNOWN.signedPart);
  equal(toHex(signBundle(B, fromHex(KNOWN.signedPart))), KNOWN.signature);
  deepEqual(decodeSignedPart(fromHex(KNOWN.signedPart)), PART);
});

Deno.test("X3DH gives the known secret and session id on both sides, with a one-time prekey or not", () => {
  const cases = [[undefined, KNOWN.secret], [9, KNOWN.secretWithOneTimePrekey]] as const;
  for (const [oneTimeId, secret] of cases) {
    const initiated = initiate(oneTimeId);
    const responded = respond(oneTimeId);
    equal(toHex(initiated.secret), secret);
    equal(toHex(initiated.sessionId), KNOWN.sessionId);
    deepEqual(responded, initiated);
  }
});

Deno.test("X3DH secrets differ when the prekey ids or the peers do", () => {
  const { secret } = initiate(9);
  notDeepEqual(initiate(10).secret, secret);
  const options = { identityPair: IK_A, ephemeral: EK, bundle: PART };
  const plain = initiate(undefined);
  notDeepEqual(
    initiateX3dh({ ...options, self: B.peerId, remote: A.peerId }).secret,
    plain.secret,
  );
  notDeepEqual(
    initiateX3dh({
      ...options,
      self: A.peerId,
      remote: B.peerId,
      bundle: { ...PART, signedPrekeyId: 8 },
    }).secret,
    plain.secret,
  );
});

Deno.test("verifyBundle returns what the owner signed, up to the expiry", () => {
  deepEqual(verify(PART), PART);
  refuses("expired", () => verify(PART, { nowMs: NOW + 1000 }));
});

Deno.test("verifyBundle refuses another peer's bundle, bad signatures and unknown versions", () => {
  refuses("wrong-peer", () => verify(PART, { peerId: A.peerId }));
  refuses("handshake-failed", () => verify(PART, { signer: A }));
  refuses("handshake-failed", () => verify({ ...PART, x3dhKey: IK_A.publicKey }));
  refuses(
    "handshake-failed",
    () => verify({ ...PART, x3dhCertificate: certifyX3dhKey(A, IK_B.publicKey) }),
  );
  refuses("unsupported-version", () => verify({ ...PART, versions: [2] }));
  refuses("unsupported-version", () => verify({ ...PART, versions: [] }));
  deepEqual(verify({ ...PART, versions: [2, 1] }).versions, [2, 1]);
});

Deno.test("verifyBundle refuses weak and non-canonical keys even when they are signed", () => {
  const zero = new Uint8Array(32);
  const topBit = SPK.publicKey.slice();
  topBit[31]! |= 0x80;
  for (const key of [zero, topBit]) {
    refuses("weak-key", () => verify({ ...PART, signedPrekey: key }));
    refuses(
      "weak-key",
      () => verify({ ...PART, x3dhKey: key, x3dhCertificate: certifyX3dhKey(B, key) }),
    );
  }
  refuses("weak-key", () => verify({ ...PART, identityKey: zero }));
});

Deno.test("verifyBundle refuses every changed byte of the signed part", () => {
  const encoded = encodeSignedPart(PART);
  for (let position = 0; position < encoded.length; position += 5) {
    const changed = encoded.slice();
    changed[position]! ^= 1;
    throws(
      () =>
        verifyBundle({
          peerId: B.peerId,
          signedPart: changed,
          signature: fromHex(KNOWN.signature),
          nowMs: NOW,
        }),
      ProtocolError,
    );
  }
});

Deno.test("X3DH refuses weak and non-canonical keys of the other side", () => {
  const highBit = EK.publicKey.slice();
  highBit[31]! |= 0x80;
  for (const key of [new Uint8Array(32), highBit, new Uint8Array(31)]) {
    refuses("weak-key", () => respond(undefined, { ephemeralKey: key }));
    refuses("weak-key", () => respond(undefined, { remoteIdentityKey: key }));
    refuses("weak-key", () => initiate(9, key));
  }
});

Deno.test("decodeSignedPart throws nothing but ProtocolError for whatever a server sends", () => {
  const encoded = encodeSignedPart(PART);
  const damaged = fc.tuple(fc.nat(encoded.length - 1), fc.nat(255)).map(([position, byte]) => {
    const copy = encoded.slice();
    copy[position] = byte;
    return copy;
  });
  const cut = fc.nat(encoded.length - 1).map((length) => encoded.slice(0, length));
  const junk = fc.oneof(damaged, cut, fc.uint8Array(), fc.constant(concatBytes(encoded, encoded)));
  fc.assert(fc.property(junk, (bytes) => {
    try {
      decodeSignedPart(bytes);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
    }
  }));
});

function initiate(oneTimeId: number | undefined, oneTimeKey = OPK.publicKey) {
  return initiateX3dh({
    self: A.peerId,
    remote: B.peerId,
    identityPair: IK_A,
    ephemeral: EK,
    bundle: PART,
    oneTimePrekey: oneTimeId === undefined ? undefined : { id: oneTimeId, publicKey: oneTimeKey },
  });
}

function respond(
  oneTimeId: number | undefined,
  changes: { ephemeralKey?: Uint8Array; remoteIdentityKey?: Uint8Array } = {},
) {
  return respondX3dh({
    self: B.peerId,
    remote: A.peerId,
    identityPair: IK_B,
    signedPrekey: { id: 7, pair: SPK },
    oneTimePrekey: oneTimeId === undefined ? undefined : { id: oneTimeId, pair: OPK },
    remoteIdentityKey: IK_A.publicKey,
    ephemeralKey: EK.publicKey,
    ...changes,
  });
}

function verify(
  part: SignedPart,
  { peerId = B.peerId, signer = B, nowMs = NOW } = {},
): SignedPart {
  const signedPart = encodeSignedPart(part);
  const context = concatBytes(new TextEncoder().encode("cairn-x3dh-prekey-v1"), B.peerId.bytes);
  const signature = signer.sign(concatBytes(context, signedPart));
  return verifyBundle({ peerId, signedPart, signature, nowMs });
}

function pairOf(fill: number) {
  return x25519KeyPair(new Uint8Array(32).fill(fill));
}

function refuses(code: string, action: () => unknown): void {
  throws(action, (error) => error instanceof ProtocolError && error.code === code);
}
