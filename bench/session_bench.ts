/** One message of 1 KiB from end to end: what encrypting and decrypting cost without the disk. */

import { certifyX3dhKey, Identity } from "../src/protocol/crypto/identity.ts";
import { aes256Gcm, x25519KeyPair } from "../src/protocol/crypto/primitives.ts";
import {
  encodeSignedPart,
  initiateX3dh,
  respondX3dh,
  signBundle,
  verifyBundle,
} from "../src/protocol/crypto/x3dh.ts";
import {
  initiateRatchet,
  ratchetDecrypt,
  ratchetEncrypt,
  respondRatchet,
} from "../src/protocol/session/double_ratchet.ts";
import {
  decodeBody,
  decodeMessage,
  encodeMessage,
  type Message,
} from "../src/protocol/session/message_body.ts";
import {
  acceptSession,
  encodeSession,
  openInSession,
  sealInSession,
  type Session,
  startSession,
} from "../src/protocol/session/session.ts";
import { benchBoth } from "./both_primitives.ts";

const NOW = Date.UTC(2026, 0, 1);
const EMPTY = new Uint8Array(0);
const key = new Uint8Array(32).fill(1);
const nonce = new Uint8Array(12);
const plaintext = new Uint8Array(1_024).fill(2);
const message: Message = {
  id: new Uint8Array(16),
  sequence: 1,
  channel: "chat",
  sentAt: NOW,
  data: plaintext,
};

const alice = keysOf(3);
const bob = keysOf(4);
const signedPrekey = { id: 7, pair: x25519KeyPair(bytes(5)) };
const oneTimePrekey = { id: 8, pair: x25519KeyPair(bytes(6)) };
const signedPart = encodeSignedPart({
  versions: [1],
  identityKey: bob.identity.publicKey,
  x3dhKey: bob.x3dhPair.publicKey,
  x3dhCertificate: bob.x3dhCertificate,
  signedPrekeyId: signedPrekey.id,
  signedPrekey: signedPrekey.pair.publicKey,
  expiry: NOW / 1000 + 86_400,
});
const signature = signBundle(bob.identity, signedPart);
const bundle = verifyBundle({ peerId: bob.peerId, signedPart, signature, nowMs: NOW });

const sealing = "encrypt 1 KiB";
let sender = startRatchet();
benchBoth(sealing, "AES-256-GCM alone", () => {
  aes256Gcm.seal(key, nonce, EMPTY, plaintext);
}, { baseline: true });
benchBoth(sealing, "ratchetEncrypt", () => {
  sender = ratchetEncrypt(sender, plaintext).state;
});
let session = openedSession();
benchBoth(sealing, "message, session step, both encoded", () => {
  session = sealInSession(session, encodeMessage(message), NOW).session;
  encodeSession(session);
});

const opening = "decrypt 1 KiB";
const sealed = aes256Gcm.seal(key, nonce, EMPTY, plaintext);
// Receiving works on copies of a state, so that the same message opens again and again.
const inChain = receivedOnce();
const firstOfChain = ratchetEncrypt(startRatchet(), plaintext).message;
const responder = respondRatchet(key, signedPrekey.pair);
const freshPair = x25519KeyPair(bytes(9));
benchBoth(opening, "AES-256-GCM alone", () => {
  aes256Gcm.open(key, nonce, EMPTY, sealed);
}, { baseline: true });
benchBoth(opening, "ratchetDecrypt, same chain", () => {
  ratchetDecrypt(inChain.state, inChain.message, freshPair);
});
benchBoth(opening, "ratchetDecrypt, new chain", () => {
  ratchetDecrypt(responder, firstOfChain, freshPair);
});
const reader = readerSession();
benchBoth(opening, "fresh pair, session step, both decoded and encoded", () => {
  const pair = x25519KeyPair(bytes(9));
  const opened = openInSession(reader.session, decodeBody(reader.body), pair, NOW);
  decodeMessage(opened.plaintext);
  encodeSession(opened.session);
});

const opens = "open a session";
const ephemeral = x25519KeyPair(bytes(7));
const shared = { remote: bob.peerId, self: alice.peerId, identityPair: alice.x3dhPair, ephemeral };
benchBoth(opens, "initiateX3dh", () => {
  initiateX3dh({ ...shared, bundle });
}, { baseline: true });
benchBoth(opens, "respondX3dh", () => {
  respondX3dh({
    self: bob.peerId,
    remote: alice.peerId,
    identityPair: bob.x3dhPair,
    signedPrekey,
    oneTimePrekey,
    remoteIdentityKey: alice.x3dhPair.publicKey,
    ephemeralKey: ephemeral.publicKey,
  });
});
benchBoth(opens, "verifyBundle", () => {
  verifyBundle({ peerId: bob.peerId, signedPart, signature, nowMs: NOW });
});
benchBoth(opens, "sender: keys, bundle, X3DH, first message", () => {
  sealInSession(openedSession(), plaintext, NOW);
});
const first = sealInSession(openedSession(), plaintext, NOW).body;
benchBoth(opens, "reader: certificate, X3DH, first message", () => {
  accept(first);
});

function bytes(fill: number): Uint8Array {
  return new Uint8Array(32).fill(fill);
}

function keysOf(fill: number) {
  const identity = Identity.fromSeed(bytes(fill));
  const x3dhPair = x25519KeyPair(bytes(fill + 10));
  return {
    identity,
    peerId: identity.peerId,
    identityKey: identity.publicKey,
    x3dhPair,
    x3dhCertificate: certifyX3dhKey(identity, x3dhPair.publicKey),
  };
}

function startRatchet() {
  return initiateRatchet(key, signedPrekey.pair.publicKey, x25519KeyPair(bytes(8)));
}

/** A responder that has received one message of a chain, and the next of that chain. */
function receivedOnce() {
  const one = ratchetEncrypt(startRatchet(), plaintext);
  const two = ratchetEncrypt(one.state, plaintext);
  const pair = x25519KeyPair(bytes(9));
  const { state } = ratchetDecrypt(respondRatchet(key, signedPrekey.pair), one.message, pair);
  return { state, message: two.message };
}

/** As a sender does it: from a fetched bundle, with fresh keys. */
function openedSession(): Session {
  return startSession({
    self: alice,
    remote: bob.peerId,
    bundle: verifyBundle({ peerId: bob.peerId, signedPart, signature, nowMs: NOW }),
    oneTimePrekey: { id: oneTimePrekey.id, publicKey: oneTimePrekey.pair.publicKey },
    ephemeral: x25519KeyPair(bytes(7)),
    ratchetPair: x25519KeyPair(bytes(8)),
    now: NOW,
  });
}

function accept(firstBody: Uint8Array): Session {
  const body = decodeBody(firstBody);
  if (!body.x3dh) throw new TypeError("The first body opens the session");
  const accepted = acceptSession({
    self: bob,
    remote: alice.peerId,
    sessionId: body.sessionId,
    x3dh: body.x3dh,
    signedPrekey,
    oneTimePrekey,
    now: NOW,
  });
  return openInSession(accepted, body, x25519KeyPair(bytes(9)), NOW).session;
}

function readerSession(): { session: Session; body: Uint8Array } {
  const one = sealInSession(openedSession(), encodeMessage(message), NOW);
  const two = sealInSession(one.session, encodeMessage(message), NOW);
  return { session: accept(one.body), body: two.body };
}
