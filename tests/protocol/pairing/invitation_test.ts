import { deepEqual, equal, ok, throws } from "node:assert/strict";
import fc from "fast-check";
import { fromHex, toHex } from "../../../src/base/bytes.ts";
import { ProtocolError } from "../../../src/base/errors.ts";
import { PeerId } from "../../../src/protocol/crypto/peer_id.ts";
import {
  decodeInvitation,
  encodeInvitation,
  fitHints,
  formatPairingLink,
  type Invitation,
  isExpired,
  parsePairingLink,
} from "../../../src/protocol/pairing/invitation.ts";
import { invitationTopic } from "../../../src/protocol/rendezvous/topics.ts";

const COUNTED = Uint8Array.from({ length: 16 }, (_, index) => index);

/** The reference's sample. */
const SAMPLE: Invitation = {
  peerId: PeerId.from("QmPTx6HXP1DguakepMWHDeqavaPgUre8VJvfBhD2doqU3E"),
  nonce: COUNTED,
  credential: COUNTED,
  hints: [{ type: "multiaddr", value: "/ip4/1.2.3.4/tcp/9000" }],
  createdAt: 1_700_000_000,
  expiresAt: 1_700_000_300,
};
const SAMPLE_BYTES =
  "a6005822122010ba682c8ad13513971e8b56881aab8bd702bb807796eca81932c735a94d6e6d0150000102030405" +
  "060708090a0b0c0d0e0f0250000102030405060708090a0b0c0d0e0f038182696d756c746961646472752f697034" +
  "2f312e322e332e342f7463702f39303030041a6553f100051a6553f22c";
const SAMPLE_LINK =
  "cairn://pair?pid=QmPTx6HXP1DguakepMWHDeqavaPgUre8VJvfBhD2doqU3E&nonce=000102030405060708090a0b" +
  "0c0d0e0f&pake=000102030405060708090a0b0c0d0e0f&hints=gYJpbXVsdGlhZGRydS9pcDQvMS4yLjMuNC90Y3A" +
  "vOTAwMA&t=1700000000&x=1700000300";

Deno.test("An invitation has the reference's bytes and its link", () => {
  equal(toHex(encodeInvitation(SAMPLE)), SAMPLE_BYTES);
  equal(formatPairingLink(SAMPLE), SAMPLE_LINK);
  for (const read of [decodeInvitation(fromHex(SAMPLE_BYTES)), parsePairingLink(SAMPLE_LINK)]) {
    deepEqual({ ...read, peerId: `${read.peerId}` }, { ...SAMPLE, peerId: `${SAMPLE.peerId}` });
  }
});

Deno.test("invitationTopic() is the reference's known answer", () => {
  equal(
    invitationTopic(new Uint8Array(32).fill(0xaa), COUNTED),
    "72160abd3d7a15bdb4692d94f8943d5fd0c986ebdb169ca3486460ce0719116a",
  );
});

Deno.test("parsePairingLink() takes what comes with line breaks and in capitals", () => {
  equal(parsePairingLink(`  ${SAMPLE_LINK}\n`).expiresAt, SAMPLE.expiresAt);
  equal(parsePairingLink(SAMPLE_LINK.replace("cairn://pair?", "CAIRN://pair/?")).createdAt, 1.7e9);
  const bare = parsePairingLink(SAMPLE_LINK.replace(/&hints=[^&]*|&t=.*/g, ""));
  deepEqual([bare.hints, bare.createdAt, bare.expiresAt], [[], 0, 0]);
  ok(isExpired(bare, 1_700_000_000), "without a time it has expired");
});

Deno.test("parsePairingLink() refuses what is not a whole link", () => {
  const wrong = [
    "",
    "https://example.com/?pid=x",
    SAMPLE_LINK.replace("pid=Qm", "pid=Qx"),
    SAMPLE_LINK.replace("nonce=00", "nonce=0"),
    SAMPLE_LINK.replace("nonce=00", "nonce="),
    SAMPLE_LINK.replace("pake=", "pake=zz"),
    SAMPLE_LINK.replace(/pake=\w+/, "pake=0011"),
    SAMPLE_LINK.replace(/pake=\w+/, `pake=${"00".repeat(65)}`),
    SAMPLE_LINK.replace(/&pake=\w+/, ""),
    SAMPLE_LINK.replace("hints=g", "hints=!"),
    SAMPLE_LINK.replace(/hints=\w+/, "hints=AA"),
    SAMPLE_LINK.replace("t=1700000000", "t=-1"),
    SAMPLE_LINK.replace("cairn://pair", "cairn://other"),
    `${SAMPLE_LINK}${"&y=".repeat(1_000)}`,
  ];
  for (const link of wrong) throws(() => parsePairingLink(link), ProtocolError, link);
});

Deno.test("decodeInvitation() and parsePairingLink() survive anything", () => {
  const bytes = fromHex(SAMPLE_BYTES);
  fc.assert(fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, value) => {
    const changed = bytes.slice();
    changed[at] = value;
    onlyProtocolErrors(() => decodeInvitation(changed));
  }));
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (garbage) => {
    onlyProtocolErrors(() => decodeInvitation(garbage));
  }));
  fc.assert(fc.property(fc.nat(SAMPLE_LINK.length), fc.string(), (at, text) => {
    onlyProtocolErrors(() => parsePairingLink(SAMPLE_LINK.slice(0, at) + text));
  }));
});

Deno.test("fitHints() takes as many as a QR code of 256 bytes has room for", () => {
  const { hints: _, ...rest } = { ...SAMPLE, credential: new Uint8Array(32) };
  const hints = Array.from({ length: 12 }, (_, n) => ({
    type: "ws",
    value: `ws://192.168.178.${n}:9091`,
  }));
  const fitting = fitHints(rest, hints);
  deepEqual(fitting, hints.slice(0, 5));
  ok(encodeInvitation({ ...rest, hints: fitting }).length <= 256);
  throws(() => encodeInvitation({ ...rest, hints }), RangeError);
  const long = { type: "signal", value: `wss://${"x".repeat(190)}.example` };
  deepEqual(fitHints(rest, [long, ...hints]), fitting, "one that does not fit is left out");
});

Deno.test("isExpired() allows for clocks that differ by five minutes", () => {
  equal(isExpired(SAMPLE, 1_700_000_600), false);
  equal(isExpired(SAMPLE, 1_700_000_601), true);
});

function onlyProtocolErrors(read: () => unknown): void {
  try {
    read();
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
  }
}
