/** One envelope over an established link, and what opening a link costs. */

import { chacha20Poly1305, x25519KeyPair } from "../src/protocol/crypto/primitives.ts";
import { Identity } from "../src/protocol/crypto/identity.ts";
import { certifyLinkKey } from "../src/protocol/crypto/identity.ts";
import { Link, LinkHandshake, type RemoteProof } from "../src/protocol/link/link.ts";
import { CipherState, NoiseXxHandshake } from "../src/protocol/link/noise_xx.ts";
import { benchBoth } from "./both_primitives.ts";

const NOW = Date.UTC(2026, 0, 1);
const EMPTY = new Uint8Array(0);
const key = new Uint8Array(32).fill(1);
const nonce = new Uint8Array(12);
const alice = keysOf(2);
const bob = keysOf(3);
const remote: RemoteProof = {
  peerId: bob.identity.peerId,
  identityKey: bob.identity.publicKey,
  version: 1,
  capabilities: new Set(),
};

for (const [size, length] of [["1 KiB", 1_024], ["1 MiB", 1_048_576]] as const) {
  const envelope = new Uint8Array(length).fill(4);
  const sealing = `seal, ${size}`;
  const sender = linkFrom(0);
  // The longest Noise message bounds the AEAD too, so that both do the same work.
  const pieces = piecesOf(envelope);
  benchBoth(sealing, "ChaCha20-Poly1305 alone", () => {
    for (const piece of pieces) chacha20Poly1305.seal(key, nonce, EMPTY, piece);
  }, { baseline: true });
  benchBoth(sealing, "Link.seal", () => {
    sender.seal(envelope);
  });

  const opening = `open, ${size}`;
  const sealed = pieces.map((piece) => chacha20Poly1305.seal(key, nonce, EMPTY, piece));
  const frames = linkFrom(0).seal(envelope);
  benchBoth(opening, "ChaCha20-Poly1305 alone", () => {
    for (const piece of sealed) chacha20Poly1305.open(key, nonce, EMPTY, piece);
  }, { baseline: true });
  benchBoth(opening, "Link.open", () => {
    const receiver = linkFrom(0);
    receiver.maxEnvelopeLength = length;
    for (const frame of frames) receiver.open(frame);
  });
}

const handshakes = "handshake, both sides";
benchBoth(handshakes, "Noise XX", () => {
  const initiator = noise(true);
  const responder = noise(false);
  responder.readMessage(initiator.writeMessage(EMPTY));
  initiator.readMessage(responder.writeMessage(EMPTY));
  responder.readMessage(initiator.writeMessage(EMPTY));
  initiator.finish();
  responder.finish();
}, { baseline: true });
benchBoth(handshakes, "Noise XX with certified keys, fresh ephemeral ones", () => {
  const initiator = new LinkHandshake("initiator", options(alice, 5));
  const acceptor = new LinkHandshake("acceptor", options(bob, 6));
  const second = acceptor.receive(initiator.start(), NOW).reply ?? EMPTY;
  const third = initiator.receive(second, NOW).reply ?? EMPTY;
  acceptor.receive(third, NOW);
});

function keysOf(fill: number) {
  const identity = Identity.fromSeed(new Uint8Array(32).fill(fill));
  const pair = x25519KeyPair(new Uint8Array(32).fill(fill + 10));
  const expiry = NOW / 1000 + 86_400;
  return {
    identity,
    linkKey: { pair, certificate: certifyLinkKey(identity, pair.publicKey, expiry) },
  };
}

function options(keys: ReturnType<typeof keysOf>, ephemeral: number) {
  const ephemeralPair = x25519KeyPair(new Uint8Array(32).fill(ephemeral));
  return { ...keys, ephemeralPair, capabilities: ["receive"] };
}

function noise(initiator: boolean): NoiseXxHandshake {
  const { linkKey: { pair } } = initiator ? alice : bob;
  // Its own pair a second time: making ephemeral keys is measured with the certified handshake.
  return new NoiseXxHandshake({
    initiator,
    staticPair: pair,
    ephemeralPair: pair,
    prologue: EMPTY,
  });
}

function linkFrom(start: number): Link {
  return new Link(remote, key, new CipherState(key, start), new CipherState(key, start));
}

function piecesOf(bytes: Uint8Array): Uint8Array[] {
  const longest = 65_535 - 16;
  const count = Math.ceil(bytes.length / longest);
  return Array.from(
    { length: count },
    (_, index) => bytes.subarray(index * longest, (index + 1) * longest),
  );
}
