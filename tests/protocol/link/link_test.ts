import { deepEqual, equal, throws } from "node:assert/strict";
import { ProtocolError, type ProtocolErrorCode } from "../../../src/base/errors.ts";
import { x25519KeyPair } from "../../../src/protocol/crypto/primitives.ts";
import {
  type Link,
  LinkHandshake,
  type LinkOptions,
  MAX_ENVELOPE_LENGTH,
  MAX_FRAME_LENGTH,
} from "../../../src/protocol/link/link.ts";
import { bytesFor, identityFor, linkKeyFor } from "../../support/identities.ts";

const NOW = 1_700_000_000_000;
const EXPIRY = NOW / 1000 + 30 * 86_400;

Deno.test("A link proves both identities and carries envelopes both ways", () => {
  const { alice, bob } = linked();
  equal(alice.remote.peerId.toString(), identityFor("bob").peerId.toString());
  equal(bob.remote.peerId.toString(), identityFor("alice").peerId.toString());
  deepEqual(alice.handshakeHash, bob.handshakeHash);
  deepEqual([...bob.remote.capabilities], ["receive"]);
  deepEqual(carry(alice, bob, Uint8Array.of(1, 2, 3)), Uint8Array.of(1, 2, 3));
  deepEqual(carry(bob, alice, Uint8Array.of(4)), Uint8Array.of(4));
  deepEqual(carry(alice, bob, new Uint8Array(0)), new Uint8Array(0));
});

Deno.test("A large envelope goes in parts that no Noise message exceeds", () => {
  const { alice, bob } = linked();
  bob.maxEnvelopeLength = MAX_ENVELOPE_LENGTH;
  const envelope = new Uint8Array(MAX_ENVELOPE_LENGTH).fill(7);
  const frames = alice.seal(envelope);
  equal(frames.length, 17);
  equal(frames.every((frame) => frame.length <= MAX_FRAME_LENGTH), true);
  deepEqual(frames.map((frame) => bob.open(frame)).at(-1), envelope);
  throws(() => alice.seal(new Uint8Array(MAX_ENVELOPE_LENGTH + 1)), RangeError);
});

Deno.test("An unpaired remote may send 4,096 bytes and not one more", () => {
  const { alice, bob } = linked();
  equal(carry(alice, bob, new Uint8Array(4_096))?.length, 4_096);
  throws(() => carry(alice, bob, new Uint8Array(4_097)), refusal("too-large"));
});

Deno.test("Frames that are repeated, reordered or altered end the link", () => {
  for (
    const disturb of [
      (frames: Uint8Array[]) => [frames[0]!, frames[0]!],
      (frames: Uint8Array[]) => [frames[1]!, frames[0]!],
      (frames: Uint8Array[]) => [frames[0]!.with(3, frames[0]![3]! ^ 1)],
    ]
  ) {
    const { alice, bob } = linked();
    const frames = [...alice.seal(Uint8Array.of(1)), ...alice.seal(Uint8Array.of(2))];
    throws(() => disturb(frames).forEach((frame) => bob.open(frame)), refusal("decryption-failed"));
  }
});

Deno.test("The initiator refuses any peer but the expected one", () => {
  throws(() => linked({ expectedPeer: identityFor("carol").peerId }), refusal("wrong-peer"));
});

Deno.test("A peer does not link with its own identity", () => {
  throws(
    () => linked({}, { identity: identityFor("alice"), linkKey: linkKeyFor("alice", EXPIRY) }),
    refusal("wrong-peer"),
  );
});

Deno.test("A certificate for another static key, an expired one, and one too long are refused", () => {
  const bob = linkKeyFor("bob", EXPIRY);
  const stolen = { pair: x25519KeyPair(bytesFor("other static")), certificate: bob.certificate };
  throws(() => linked({}, { linkKey: stolen }), refusal("handshake-failed"));
  throws(() => linked({}, { linkKey: linkKeyFor("bob", NOW / 1000 - 1) }), refusal("expired"));
  const long = linkKeyFor("bob", EXPIRY + 86_400);
  throws(() => linked({}, { linkKey: long }), ProtocolError);
});

Deno.test("A handshake fed with anything else throws a ProtocolError and nothing more", () => {
  for (let length = 0; length < 200; length += 3) {
    const acceptor = new LinkHandshake("acceptor", optionsFor("bob"));
    const junk = bytesFor(`junk ${length}`);
    const message = Uint8Array.from({ length }, (_, index) => junk[index % 32]!);
    try {
      acceptor.receive(message, NOW);
      acceptor.receive(message, NOW);
    } catch (error) {
      equal(error instanceof ProtocolError, true, String(error));
    }
  }
});

function optionsFor(label: string, change: Partial<LinkOptions> = {}): LinkOptions {
  return {
    identity: identityFor(label),
    linkKey: linkKeyFor(label, EXPIRY),
    ephemeralPair: x25519KeyPair(bytesFor(`${label} ephemeral`)),
    capabilities: label === "alice" ? ["receive"] : ["mailbox"],
    ...change,
  };
}

function linked(
  aliceChange: Partial<LinkOptions> = {},
  bobChange: Partial<LinkOptions> = {},
): { alice: Link; bob: Link } {
  const initiator = new LinkHandshake("initiator", optionsFor("alice", aliceChange));
  const acceptor = new LinkHandshake("acceptor", optionsFor("bob", bobChange));
  const second = acceptor.receive(initiator.start(), NOW);
  const third = initiator.receive(second.reply!, NOW);
  const last = acceptor.receive(third.reply!, NOW);
  return { alice: third.link!, bob: last.link! };
}

function carry(from: Link, to: Link, envelope: Uint8Array): Uint8Array | undefined {
  return from.seal(envelope).map((frame) => to.open(frame)).at(-1);
}

function refusal(code: ProtocolErrorCode) {
  return (error: unknown) => error instanceof ProtocolError && error.code === code;
}
