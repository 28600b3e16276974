import { deepEqual, equal, notDeepEqual, throws } from "node:assert/strict";
import { fromUtf8, utf8 } from "../../../src/base/bytes.ts";
import { ProtocolError, type ProtocolErrorCode } from "../../../src/base/errors.ts";
import { x25519KeyPair } from "../../../src/protocol/crypto/primitives.ts";
import {
  decodeBody,
  decodeMessage,
  encodeMessage,
} from "../../../src/protocol/session/message_body.ts";
import {
  acceptSession,
  chooseSession,
  decodeSession,
  encodeSession,
  MAX_UNANSWERED,
  openInSession,
  sealInSession,
  type Session,
  startSession,
} from "../../../src/protocol/session/session.ts";
import { bytesFor, identityFor, prekeysFor, sessionIdentityFor } from "../../support/identities.ts";

const NOW = 1_700_000_000_000;
const ALICE = identityFor("alice").peerId;
const BOB = identityFor("bob").peerId;
let pairs = 0;
const freshPair = () => x25519KeyPair(bytesFor(`pair ${pairs++}`));

Deno.test("A peer writes to one that was never online with it, and is answered in that session", () => {
  let alice = opened();
  let body: Uint8Array;
  ({ session: alice, body } = sealInSession(alice, utf8("hello"), NOW));
  let { session: bob, plaintext } = arrive(body);
  equal(fromUtf8(plaintext), "hello");

  ({ session: bob, body } = sealInSession(bob, utf8("hello yourself"), NOW));
  equal(decodeBody(body).x3dh, undefined);
  ({ session: alice, plaintext } = openInSession(alice, decodeBody(body), freshPair(), NOW));
  equal(fromUtf8(plaintext), "hello yourself");

  ({ body } = sealInSession(alice, utf8("again"), NOW));
  equal(decodeBody(body).x3dh, undefined, "once answered, the opening is not repeated");
  equal(fromUtf8(openInSession(bob, decodeBody(body), freshPair(), NOW).plaintext), "again");
});

Deno.test("The opening is repeated until it was answered: any of the first messages opens it", () => {
  let alice = opened();
  const bodies = ["one", "two", "three"].map((text) => {
    const sealed = sealInSession(alice, utf8(text), NOW);
    alice = sealed.session;
    return sealed.body;
  });
  const { session, plaintext } = arrive(bodies[1]!);
  equal(fromUtf8(plaintext), "two");
  const late = openInSession(session, decodeBody(bodies[0]!), freshPair(), NOW);
  equal(fromUtf8(late.plaintext), "one");
});

Deno.test("A one-time prekey changes the session's secret", () => {
  const { session: withKey } = sealInSession(opened(), utf8("x"), NOW);
  const { session: without } = sealInSession(opened({ oneTime: false }), utf8("x"), NOW);
  notDeepEqual(encodeSession(withKey), encodeSession(without));
  const { body } = sealInSession(opened({ oneTime: false }), utf8("no one-time key left"), NOW);
  equal(fromUtf8(arrive(body).plaintext), "no one-time key left");
});

Deno.test("A session opened in another's name is refused", () => {
  const { body } = sealInSession(opened(), utf8("hello"), NOW);
  throws(() => arrive(body, { from: identityFor("mallory").peerId }), refusal("wrong-peer"));
});

Deno.test("A session id that does not follow from its opening is refused", () => {
  const { body } = sealInSession(opened(), utf8("hello"), NOW);
  throws(() => arrive(body.with(5, body[5]! ^ 1)), refusal("malformed"));
});

Deno.test("A body that was altered changes nothing", () => {
  const { body } = sealInSession(opened(), utf8("hello"), NOW);
  for (let at = 0; at < body.length; at++) {
    throws(() => arrive(body.with(at, body[at]! ^ 1)), ProtocolError, `byte ${at}`);
  }
  equal(fromUtf8(arrive(body).plaintext), "hello");
});

Deno.test("A new session is due after 500 messages without an answer", () => {
  const session = { ...opened(), unanswered: MAX_UNANSWERED - 1 };
  equal(chooseSession([session])?.unanswered, MAX_UNANSWERED - 1);
  equal(chooseSession([sealInSession(session, utf8("x"), NOW).session]), undefined);
});

Deno.test("Of sessions that cross, both sides send on the one with the lower id", () => {
  const low: Session = { ...opened(), id: new Uint8Array(16).fill(1) };
  const high: Session = { ...opened(), id: new Uint8Array(16).fill(2) };
  deepEqual(chooseSession([high, low])?.id, low.id);
  deepEqual(chooseSession([high, { ...low, retired: true }])?.id, high.id);
});

Deno.test("A retired session never encrypts again", () => {
  throws(() => sealInSession({ ...opened(), retired: true }, utf8("x"), NOW), TypeError);
});

Deno.test("A stored session goes on where it was", () => {
  const sealed = sealInSession(opened(), utf8("first"), NOW);
  const restored = decodeSession(encodeSession(sealed.session));
  deepEqual(encodeSession(restored), encodeSession(sealed.session));
  const next = sealInSession(restored, utf8("second"), NOW);
  const { session } = arrive(sealed.body);
  equal(
    fromUtf8(openInSession(session, decodeBody(next.body), freshPair(), NOW).plaintext),
    "second",
  );
});

Deno.test("A message keeps its authentic values", () => {
  const message = {
    id: new Uint8Array(16).fill(3),
    sequence: 12,
    channel: "chat",
    sentAt: NOW,
    data: utf8("text"),
  };
  deepEqual(decodeMessage(encodeMessage(message)), message);
});

function opened(options: { oneTime?: boolean } = {}): Session {
  const { bundle, oneTimePrekey } = prekeysFor("bob", NOW);
  return startSession({
    self: sessionIdentityFor("alice"),
    remote: BOB,
    bundle,
    oneTimePrekey: options.oneTime === false
      ? undefined
      : { id: oneTimePrekey.id, publicKey: oneTimePrekey.pair.publicKey },
    ephemeral: x25519KeyPair(bytesFor("alice ephemeral")),
    ratchetPair: x25519KeyPair(bytesFor("alice ratchet")),
    now: NOW,
  });
}

function arrive(bytes: Uint8Array, options: { from?: typeof ALICE } = {}) {
  const body = decodeBody(bytes);
  if (!body.x3dh) throw new ProtocolError("malformed", "Not a first body");
  const { signedPrekey, oneTimePrekey } = prekeysFor("bob", NOW);
  const { signedPrekeyId, oneTimePrekeyId } = body.x3dh;
  if (signedPrekeyId !== signedPrekey.id || (oneTimePrekeyId ?? 8) !== oneTimePrekey.id) {
    throw new ProtocolError("decryption-failed", "No such prekey");
  }
  const session = acceptSession({
    self: sessionIdentityFor("bob"),
    remote: options.from ?? ALICE,
    sessionId: body.sessionId,
    x3dh: body.x3dh,
    signedPrekey,
    oneTimePrekey: oneTimePrekeyId === undefined ? undefined : oneTimePrekey,
    now: NOW,
  });
  return openInSession(session, body, freshPair(), NOW);
}

function refusal(code: ProtocolErrorCode) {
  return (error: unknown) => error instanceof ProtocolError && error.code === code;
}
