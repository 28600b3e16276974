import { deepEqual, equal, notDeepEqual, throws } from "node:assert/strict";
import { toHex, utf8 } from "../../../src/base/bytes.ts";
import { ProtocolError } from "../../../src/base/errors.ts";
import { PeerId } from "../../../src/protocol/crypto/peer_id.ts";
import {
  ApprovedInitiator,
  confirmApproved,
  derivePairingKeys,
  PairingAcceptor,
  PairingInitiator,
} from "../../../src/protocol/pairing/pairing.ts";
import { judgePsk } from "../../../src/protocol/pairing/psk.ts";
import { AttemptLimit } from "../../../src/protocol/pairing/attempt_limit.ts";

const JOINER = PeerId.ofPublicKey(new Uint8Array(32).fill(1));
const SERVER = PeerId.ofPublicKey(new Uint8Array(32).fill(2));
const STRANGER = PeerId.ofPublicKey(new Uint8Array(32).fill(3));
const HASH = new Uint8Array(32).fill(4);
const PSK = utf8("my-secret-pairing-key");

const joinerEnd = { self: JOINER, remote: SERVER, handshakeHash: HASH };
const serverEnd = { self: SERVER, remote: JOINER, handshakeHash: HASH };
const chance = (fill: number) => ({
  nonce: new Uint8Array(16).fill(fill),
  scalar: new Uint8Array(64).fill(fill),
});

function begin(options: { joinerKey?: Uint8Array; serverHash?: Uint8Array } = {}) {
  const initiator = new PairingInitiator(joinerEnd, {
    kind: "psk",
    secret: options.joinerKey ?? PSK,
  }, chance(5));
  const channel = { ...serverEnd, handshakeHash: options.serverHash ?? HASH };
  const acceptor = new PairingAcceptor(channel, PSK, initiator.request, chance(6));
  return { initiator, acceptor };
}

Deno.test("K_pair is the reference's known answer", () => {
  const keys = derivePairingKeys(
    new Uint8Array(32).fill(0xaa),
    Uint8Array.from({ length: 16 }, (_, index) => index),
    Uint8Array.from({ length: 16 }, (_, index) => index + 16),
    HASH,
  );
  equal(
    toHex(keys.pairingSecret),
    "fd421a77f0fd631628ba5a76e26d905b479af16c495b9857f15c867abc362b6d",
  );
});

Deno.test("Two ends that know the PSK end with the same secret", () => {
  const { initiator, acceptor } = begin();
  const verified = acceptor.verify(initiator.answer(acceptor.challenge));
  const outcome = initiator.finish(verified!.confirm);
  deepEqual(outcome.pairingSecret, verified!.pairingSecret);
});

Deno.test("A joiner with another PSK is refused, and learns nothing to confirm", () => {
  const { initiator, acceptor } = begin({ joinerKey: utf8("another-secret-key") });
  equal(acceptor.verify(initiator.answer(acceptor.challenge)), undefined);
});

Deno.test("An acceptor that does not know the PSK is refused by the joiner", () => {
  const { initiator, acceptor } = begin();
  initiator.answer(acceptor.challenge);
  const forged = { keyConfirmation: new Uint8Array(32) };
  throws(() => initiator.finish(forged), isProtocolError("handshake-failed"));
});

Deno.test("A man in the middle between two links is refused: the handshake hashes differ", () => {
  const { initiator, acceptor } = begin({ serverHash: new Uint8Array(32).fill(9) });
  equal(acceptor.verify(initiator.answer(acceptor.challenge)), undefined);
});

Deno.test("A response played back as a confirmation is refused", () => {
  const { initiator, acceptor } = begin();
  const response = initiator.answer(acceptor.challenge);
  throws(() => initiator.finish(response), isProtocolError("handshake-failed"));
});

Deno.test("Messages that name another peer than the link's are refused", () => {
  const { initiator, acceptor } = begin();
  throws(
    () =>
      new PairingAcceptor({ ...serverEnd, remote: STRANGER }, PSK, initiator.request, chance(6)),
    isProtocolError("wrong-peer"),
  );
  throws(
    () => initiator.answer({ ...acceptor.challenge, peerId: STRANGER }),
    isProtocolError("wrong-peer"),
  );
});

Deno.test("An approved peer gets its secret, bound to the link", () => {
  const initiator = new ApprovedInitiator(joinerEnd, new Uint8Array(16));
  const secret = new Uint8Array(32).fill(8);
  deepEqual(initiator.finish(confirmApproved(serverEnd, secret)).pairingSecret, secret);
  const elsewhere = confirmApproved({ ...serverEnd, handshakeHash: new Uint8Array(32) }, secret);
  notDeepEqual(elsewhere, confirmApproved(serverEnd, secret));
  throws(() => initiator.finish(elsewhere), isProtocolError("handshake-failed"));
});

Deno.test("judgePsk() refuses under 12 bytes, warns under 16, counting UTF-8", () => {
  equal(judgePsk("12345678901"), "refused");
  equal(judgePsk("my-shared-key"), "short");
  equal(judgePsk("0123456789abcdef"), "good");
  equal(judgePsk("ééééééé"), "short");
});

Deno.test("AttemptLimit lets each failure of a source cost 2 s more, up to 10 s", () => {
  const limit = new AttemptLimit();
  equal(limit.delay("a", 0), 0);
  for (let failure = 1; failure <= 8; failure++) {
    limit.failed("a", 0);
    equal(limit.delay("a", 0), Math.min(2_000 * failure, 10_000));
  }
  equal(limit.delay("b", 0), 0, "others wait for nothing");
  equal(limit.delay("a", 10_000), 0);
  limit.succeeded("a", 10_000, true);
  limit.failed("a", 10_000);
  equal(limit.delay("a", 10_000), 2_000);
});

Deno.test("AttemptLimit caps the new peers of an hour, not those that pair again", () => {
  const limit = new AttemptLimit(2);
  limit.succeeded("a", 0, true);
  limit.succeeded("a", 1, false);
  limit.succeeded("b", 2, true);
  equal(limit.delay("c", 10), 3_600_000 - 10);
  equal(limit.delay("c", 3_600_001), 0);
});

function isProtocolError(code: string) {
  return (error: unknown) => error instanceof ProtocolError && error.code === code;
}
