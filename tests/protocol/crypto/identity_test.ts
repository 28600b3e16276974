import { deepEqual, equal, throws } from "node:assert/strict";
import { inspect } from "node:util";
import { fromHex, toHex, utf8 } from "../../../src/base/bytes.ts";
import { ProtocolError } from "../../../src/base/errors.ts";
import {
  certifyLinkKey,
  certifyX3dhKey,
  Identity,
  type LinkCertificate,
  verifyLinkKey,
  verifyX3dhKey,
} from "../../../src/protocol/crypto/identity.ts";
import { PeerId } from "../../../src/protocol/crypto/peer_id.ts";
import { x25519KeyPair } from "../../../src/protocol/crypto/primitives.ts";

const A = Identity.fromSeed(new Uint8Array(32).fill(0x11));
const B = Identity.fromSeed(new Uint8Array(32).fill(0x22));
const STATIC = x25519KeyPair(new Uint8Array(32).fill(0x36)).publicKey;
const EXPIRY = 1_700_000_000;
const DAY = 24 * 3600;
/** An Ed25519 point of order 4 and the point of the base plus one of order 2. */
const WEAK_KEYS = [fromHex("00".repeat(32)), fromHex("95" + "99".repeat(31))];

Deno.test("Identity has the known Peer IDs of the seeds 11 and 22", () => {
  equal(toHex(A.publicKey), "d04ab232742bb4ab3a1368bd4615e4e6d0224ab71a016baf8520a332c9778737");
  equal(
    toHex(A.peerId.bytes),
    "122010ba682c8ad13513971e8b56881aab8bd702bb807796eca81932c735a94d6e6d",
  );
  equal(A.peerId.toString(), "QmPTx6HXP1DguakepMWHDeqavaPgUre8VJvfBhD2doqU3E");
  equal(toHex(B.publicKey), "a09aa5f47a6759802ff955f8dc2d2a14a5c99d23be97f864127ff9383455a4f0");
  equal(B.peerId.toString(), "QmPdPpFj4gsZMztXvVKxDUM1uy5eWCJywk2jm3JNHF1xM3");
});

Deno.test("Identity keeps its own copy of the seed and does not print it", () => {
  const seed = new Uint8Array(32).fill(0x11);
  const identity = Identity.fromSeed(seed);
  seed.fill(0);
  deepEqual(identity.sign(utf8("x")), A.sign(utf8("x")));
  for (const text of [JSON.stringify(identity), inspect(identity), Deno.inspect(identity)]) {
    equal(/17,17|"0":17|1111/.test(text.replaceAll(/\s/g, "")), false, text);
  }
});

Deno.test("certifyLinkKey signs the documented statement", () => {
  // Computed with pyca/cryptography from docs/wire_format.md section 2.1.
  const certificate = certifyLinkKey(A, STATIC, EXPIRY);
  deepEqual(certificate.identityKey, A.publicKey);
  equal(certificate.expiry, EXPIRY);
  equal(
    toHex(certificate.signature),
    "5d1aef4c6297da86aa724df9d0662a9629f478d2d3ed7b815c5a7fd872933c9cc6b43a07b145b05c3671920a05" +
      "086090530e662168149e4d0c3ae22d71b9150c",
  );
  equal(verifyLinkKey(certificate, STATIC, EXPIRY * 1000).equals(A.peerId), true);
});

Deno.test("verifyLinkKey accepts from 30 days and 5 minutes before the expiry up to it", () => {
  const certificate = certifyLinkKey(A, STATIC, EXPIRY);
  const at = (seconds: number) => verifyLinkKey(certificate, STATIC, seconds * 1000);
  const earliest = EXPIRY - 30 * DAY - 300;
  for (const seconds of [earliest, EXPIRY - DAY, EXPIRY]) equal(at(seconds).equals(A.peerId), true);
  refuses("expired", () => at(EXPIRY + 1));
  refuses("expired", () => at(earliest - 1));
});

Deno.test("verifyLinkKey refuses another key, another identity, another expiry, a weak identity", () => {
  const certificate = certifyLinkKey(A, STATIC, EXPIRY);
  const verify = (changes: Partial<LinkCertificate>, key = STATIC) =>
    verifyLinkKey({ ...certificate, ...changes }, key, EXPIRY * 1000);
  refuses("handshake-failed", () => verify({}, STATIC.toReversed()));
  refuses("handshake-failed", () => verify({ identityKey: B.publicKey }));
  refuses("handshake-failed", () => verify({ expiry: EXPIRY + 1 }));
  refuses("handshake-failed", () => verify({ signature: new Uint8Array(64) }));
  refuses("handshake-failed", () => verify({ signature: new Uint8Array(63) }));
  for (const identityKey of [...WEAK_KEYS, new Uint8Array(31)]) {
    refuses("weak-key", () => verify({ identityKey }));
  }
  for (const expiry of [-1, 0.5, NaN, Infinity, 2 ** 60]) {
    refuses("malformed", () => verify({ expiry }));
  }
});

Deno.test("verifyX3dhKey accepts the documented certificate and no other", () => {
  const key = x25519KeyPair(new Uint8Array(32).fill(0x31)).publicKey;
  const certificate = certifyX3dhKey(A, key);
  // Computed with pyca/cryptography from docs/wire_format.md section 6.1.
  equal(
    toHex(certificate),
    "610e923492c3b059fb68cb43decb5b411d4f78c15151e8f2bb1677216026f99754204742e3b42fd76c05259bff" +
      "d003e884d6bc62a8875ad3bc9a99e3ac899f03",
  );
  const peerId = verifyX3dhKey(A.publicKey, key, certificate);
  equal(peerId.equals(PeerId.ofPublicKey(A.publicKey)), true);
  refuses("handshake-failed", () => verifyX3dhKey(B.publicKey, key, certificate));
  refuses("handshake-failed", () => verifyX3dhKey(A.publicKey, STATIC, certificate));
  refuses("handshake-failed", () => verifyX3dhKey(A.publicKey, key, certificate.subarray(1)));
  for (const weak of WEAK_KEYS) refuses("weak-key", () => verifyX3dhKey(weak, key, certificate));
});

Deno.test("a certificate of one kind does not pass for the other", () => {
  const link = certifyLinkKey(A, STATIC, EXPIRY);
  refuses("handshake-failed", () => verifyX3dhKey(A.publicKey, STATIC, link.signature));
  refuses(
    "handshake-failed",
    () => verifyLinkKey({ ...link, signature: certifyX3dhKey(A, STATIC) }, STATIC, EXPIRY * 1000),
  );
});

function refuses(code: string, action: () => unknown): void {
  throws(action, (error) => error instanceof ProtocolError && error.code === code);
}
