import assert from "node:assert/strict";
import { fromHex, toHex, utf8 } from "../../src/base/bytes.ts";
import { ProtocolError } from "../../src/base/errors.ts";
import { decodeCbor, encodeCbor } from "../../src/protocol/cbor.ts";
import type { CborValue } from "../../src/protocol/cbor_value.ts";
import { PeerId } from "../../src/protocol/crypto/peer_id.ts";
import * as forward from "../../src/protocol/forward_messages.ts";
import * as pairing from "../../src/protocol/pairing_messages.ts";
import * as prekey from "../../src/protocol/prekey_messages.ts";
import * as session from "../../src/protocol/session_messages.ts";

const PEER_A = "122010ba682c8ad13513971e8b56881aab8bd702bb807796eca81932c735a94d6e6d";
const ID = "0193a54d000070008000000000000001";
const peerId = PeerId.fromBytes(fromHex(PEER_A));
const id = fromHex(ID);
const bytes = (length: number, value: number) => new Uint8Array(length).fill(value);

/** A message with its bytes: the reference's samples where `source` says so, else by hand. */
interface Sample<Message> {
  readonly name: string;
  readonly encode: (message: Message) => Uint8Array;
  readonly decode: (payload: Uint8Array) => Message;
  readonly message: Message;
  readonly hex: string;
}

/** Ties a message to its codec, so that samples of different types share one list. */
function sample<Message>(
  name: string,
  codec: [(message: Message) => Uint8Array, (payload: Uint8Array) => Message],
  message: Message,
  ...hex: string[]
) {
  const [encode, decode] = codec;
  const entry: Sample<Message> = { name, encode, decode, message, hex: hex.join("") };
  return {
    name,
    hex: entry.hex,
    encoded: () => toHex(entry.encode(entry.message)),
    decode: entry.decode,
    message: entry.message,
  };
}

const text = (value: string) => {
  const length = utf8(value).length;
  return (length < 24 ? (0x60 + length).toString(16) : "78" + length.toString(16)) +
    toHex(utf8(value));
};

const pairRequest = [pairing.encodePairRequest, pairing.decodePairRequest] as const;
const SAMPLES = [
  sample(
    "VersionNegotiate of the reference",
    [session.encodeVersionNegotiate, session.decodeVersionNegotiate],
    { versions: [1] },
    "a16876657273696f6e738101",
  ),
  sample(
    "SessionClose",
    [session.encodeSessionClose, session.decodeSessionClose],
    { reason: "replaced" },
    "a10068",
    toHex(utf8("replaced")),
  ),
  sample(
    "PairRequest with a credential",
    [...pairRequest],
    {
      peerId,
      nonce: bytes(16, 1),
      pakeMsg: bytes(33, 0x41),
      flowType: "Initiation",
      mechanism: "psk",
    },
    "a5" + text("peer_id") + "5822" + PEER_A,
    text("nonce") + "50" + "01".repeat(16),
    text("pake_msg") + "5821" + "41".repeat(33),
    text("flow_type") + text("Initiation"),
    text("mechanism") + text("psk"),
  ),
  sample(
    "PairRequest of the reference's flow Standard",
    [...pairRequest],
    { peerId, nonce: bytes(16, 1), pakeMsg: null, flowType: "Standard" },
    "a4" + text("peer_id") + "5822" + PEER_A,
    text("nonce") + "50" + "01".repeat(16),
    text("pake_msg") + "f6",
    text("flow_type") + text("Standard"),
  ),
  sample(
    "PairChallenge",
    [pairing.encodePairChallenge, pairing.decodePairChallenge],
    { peerId, nonce: bytes(16, 2), pakeMsg: bytes(33, 0x42) },
    "a3" + text("peer_id") + "5822" + PEER_A,
    text("nonce") + "50" + "02".repeat(16),
    text("pake_msg") + "5821" + "42".repeat(33),
  ),
  sample(
    "PairChallenge without SPAKE2",
    [pairing.encodePairChallenge, pairing.decodePairChallenge],
    { peerId, nonce: bytes(16, 2), pakeMsg: bytes(0, 0) },
    "a3" + text("peer_id") + "5822" + PEER_A,
    text("nonce") + "50" + "02".repeat(16),
    text("pake_msg") + "40",
  ),
  sample(
    "PairResponse",
    [pairing.encodePairResponse, pairing.decodePairResponse],
    { keyConfirmation: bytes(32, 3) },
    "a1" + text("key_confirmation") + "5820" + "03".repeat(32),
  ),
  sample(
    "PairConfirm of the reference",
    [pairing.encodePairConfirm, pairing.decodePairConfirm],
    { keyConfirmation: bytes(32, 4) },
    "a1" + text("key_confirmation") + "5820" + "04".repeat(32),
  ),
  sample(
    "PairConfirm for an approved peer",
    [pairing.encodePairConfirm, pairing.decodePairConfirm],
    { keyConfirmation: bytes(32, 4), pairingSecret: bytes(32, 5) },
    "a2" + text("key_confirmation") + "5820" + "04".repeat(32),
    text("pairing_secret") + "5820" + "05".repeat(32),
  ),
  sample(
    "PairReject of the reference",
    [pairing.encodePairReject, pairing.decodePairReject],
    { reason: "AuthenticationFailed" },
    "a1" + text("reason") + text("AuthenticationFailed"),
  ),
  sample(
    "PairReject with a detail and a delay",
    [pairing.encodePairReject, pairing.decodePairReject],
    { reason: "RateLimited", detail: "Wait", retryAfter: 300 },
    "a3" + text("reason") + text("RateLimited"),
    text("detail") + text("Wait") + text("retry_after") + "19012c",
  ),
  sample(
    "PairRevoke",
    [pairing.encodePairRevoke, pairing.decodePairRevoke],
    { peerId },
    "a1" + text("peer_id") + "5822" + PEER_A,
  ),
  sample(
    "ForwardRequest of the reference",
    [forward.encodeForwardRequest, forward.decodeForwardRequest],
    { msgId: id, recipient: peerId, encryptedPayload: fromHex("dead"), sequenceNumber: 7 },
    "a4666d73675f6964500193a54d00007000800000000000000169726563697069656e74582212",
    "2010ba682c8ad13513971e8b56881aab8bd702bb807796eca81932c735a94d6e6d71656e6372",
    "79707465645f7061796c6f616442dead6f73657175656e63655f6e756d62657207",
  ),
  sample(
    "ForwardAck of the reference",
    [forward.encodeForwardAck, forward.decodeForwardAck],
    { msgId: id, accepted: true, rejectionReason: null },
    "a3666d73675f6964500193a54d000070008000000000000001686163636570746564f5",
    "7072656a656374696f6e5f726561736f6ef6",
  ),
  sample(
    "ForwardAck that refuses",
    [forward.encodeForwardAck, forward.decodeForwardAck],
    { msgId: id, accepted: false, rejectionReason: "quota exceeded", lastSequence: 0 },
    "a4" + text("msg_id") + "50" + ID + text("accepted") + "f4",
    text("rejection_reason") + text("quota exceeded") + text("last_sequence") + "00",
  ),
  sample(
    "ForwardAck as receipt",
    [forward.encodeForwardAck, forward.decodeForwardAck],
    { msgId: id, accepted: true, rejectionReason: null, delivered: false },
    "a4" + text("msg_id") + "50" + ID + text("accepted") + "f5",
    text("rejection_reason") + "f6" + text("delivered") + "f4",
  ),
  sample(
    "ForwardDeliver",
    [forward.encodeForwardDeliver, forward.decodeForwardDeliver],
    { msgId: id, sender: peerId, encryptedPayload: fromHex("beef"), sequenceNumber: 256 },
    "a4" + text("msg_id") + "50" + ID + text("sender") + "5822" + PEER_A,
    text("encrypted_payload") + "42beef" + text("sequence_number") + "190100",
  ),
  sample(
    "ForwardPurge of the reference",
    [forward.encodeForwardPurge, forward.decodeForwardPurge],
    { msgIds: [id, bytes(16, 2)], failed: [] },
    "a1" + text("msg_ids") + "8250" + ID + "50" + "02".repeat(16),
  ),
  sample(
    "ForwardPurge with failures",
    [forward.encodeForwardPurge, forward.decodeForwardPurge],
    { msgIds: [], failed: [id] },
    "a2" + text("msg_ids") + "80" + text("failed") + "8150" + ID,
  ),
  sample(
    "PrekeyPublish",
    [prekey.encodePrekeyPublish, prekey.decodePrekeyPublish],
    {
      signedPart: fromHex("a0"),
      signature: bytes(64, 6),
      oneTimePrekeys: [{ id: 1, publicKey: bytes(32, 7) }, {
        id: 0xffff_ffff,
        publicKey: bytes(32, 8),
      }],
      replaceAll: true,
    },
    "a4" + "0041a0" + "015840" + "06".repeat(64),
    "0282" + "82015820" + "07".repeat(32) + "821affffffff5820" + "08".repeat(32) + "03f5",
  ),
  sample(
    "PrekeyFetch",
    [prekey.encodePrekeyFetch, prekey.decodePrekeyFetch],
    { peerId },
    "a1005822" + PEER_A,
  ),
  sample(
    "PrekeyBundle",
    [prekey.encodePrekeyBundle, prekey.decodePrekeyBundle],
    {
      peerId,
      signedPart: fromHex("a0"),
      signature: bytes(64, 6),
      oneTimePrekey: { id: 9, publicKey: bytes(32, 7) },
      reason: null,
    },
    "a5005822" + PEER_A + "0141a0" + "025840" + "06".repeat(64),
    "0382095820" + "07".repeat(32) + "04f6",
  ),
  sample(
    "PrekeyBundle that there is not",
    [prekey.encodePrekeyBundle, prekey.decodePrekeyBundle],
    { peerId, signedPart: null, signature: null, oneTimePrekey: null, reason: "none" },
    "a5005822" + PEER_A + "01f6" + "02f6" + "03f6" + "04" + text("none"),
  ),
  sample(
    "MailboxStatus",
    [forward.encodeMailboxStatus, forward.decodeMailboxStatus],
    {
      storeId: bytes(16, 9),
      oneTimePrekeysLeft: 100,
      signedPrekeyId: null,
      largestBody: 1_000_000,
      retentionSeconds: 604_800,
    },
    "a50050" + "09".repeat(16) + "011864" + "02f6" + "031a000f4240" + "041a00093a80",
  ),
  sample(
    "SequenceQuery",
    [forward.encodeSequenceQuery, forward.decodeSequenceQuery],
    { recipient: peerId },
    "a1005822" + PEER_A,
  ),
  sample(
    "SequenceReport",
    [forward.encodeSequenceReport, forward.decodeSequenceReport],
    { recipient: peerId, lastSequence: 0 },
    "a2005822" + PEER_A + "0100",
  ),
  sample(
    "ReceiptAck",
    [forward.encodeReceiptAck, forward.decodeReceiptAck],
    { msgIds: [id] },
    "a1008150" + ID,
  ),
];

for (const { name, hex, encoded, decode, message } of SAMPLES) {
  Deno.test(`${name}: bytes and fields are the wire format's`, () => {
    assert.equal(encoded(), hex);
    assert.deepEqual(decode(fromHex(hex)), message);
  });

  Deno.test(`${name}: a field that is cut or of another type is malformed`, () => {
    const fields = decodeCbor(fromHex(hex));
    assert.ok(fields instanceof Map);
    for (const [key, value] of fields) {
      if (value === null) continue;
      for (const wrong of damaged(value)) {
        const payload = encodeCbor(new Map(fields).set(key, wrong));
        assert.throws(() => decode(payload), { code: "malformed" }, `${key}: ${String(wrong)}`);
      }
    }
    assert.throws(() => decode(fromHex("80")), { name: "ProtocolError", code: "malformed" });
  });

  Deno.test(`${name}: a mandatory field that is missing is malformed`, () => {
    const fields = decodeCbor(fromHex(hex));
    assert.ok(fields instanceof Map);
    for (const [key, value] of fields) {
      const rest = new Map(fields);
      rest.delete(key);
      if (value === null || OPTIONAL.has(`${name.split(" ")[0]} ${key}`)) {
        assert.doesNotThrow(() => decode(encodeCbor(rest)), `${key}`);
      } else {
        assert.throws(() => decode(encodeCbor(rest)), { code: "malformed" }, `${key}`);
      }
    }
  });

  Deno.test(`${name}: an unknown field is skipped`, () => {
    const fields = decodeCbor(fromHex(hex));
    assert.ok(fields instanceof Map);
    const payload = encodeCbor(new Map(fields).set("later", [1]).set(99, null));
    assert.deepEqual(decode(payload), message);
  });
}

Deno.test("lists longer than their bound are malformed", () => {
  const ids = Array.from({ length: 1_025 }, () => id);
  const keys = Array.from({ length: 201 }, (_, index) => ({ id: index, publicKey: bytes(32, 1) }));
  const publish = { signedPart: bytes(1, 0), signature: bytes(64, 0), replaceAll: false };
  malformed(() =>
    forward.decodeForwardPurge(forward.encodeForwardPurge({ msgIds: ids, failed: [] }))
  );
  malformed(() =>
    forward.decodeForwardPurge(forward.encodeForwardPurge({ msgIds: [], failed: ids }))
  );
  malformed(() => forward.decodeReceiptAck(forward.encodeReceiptAck({ msgIds: ids })));
  malformed(() =>
    prekey.decodePrekeyPublish(prekey.encodePrekeyPublish({ ...publish, oneTimePrekeys: keys }))
  );
  assert.equal(
    forward.decodeReceiptAck(forward.encodeReceiptAck({ msgIds: ids.slice(1) })).msgIds.length,
    1_024,
  );
  assert.equal(
    prekey.decodePrekeyPublish(
      prekey.encodePrekeyPublish({ ...publish, oneTimePrekeys: keys.slice(1) }),
    ).oneTimePrekeys.length,
    200,
  );
});

Deno.test("texts longer than 256 bytes of UTF-8 are malformed", () => {
  const long = "ü".repeat(129);
  malformed(() => session.decodeSessionClose(session.encodeSessionClose({ reason: long })));
  malformed(() =>
    forward.decodeForwardAck(
      forward.encodeForwardAck({ msgId: id, accepted: false, rejectionReason: long }),
    )
  );
  malformed(() =>
    pairing.decodePairReject(pairing.encodePairReject({ reason: "Timeout", detail: long }))
  );
});

Deno.test("a prekey bundle with half of its signed part is malformed", () => {
  const bundle = { peerId, oneTimePrekey: null, reason: null };
  malformed(() =>
    prekey.decodePrekeyBundle(
      prekey.encodePrekeyBundle({ ...bundle, signedPart: bytes(1, 0), signature: null }),
    )
  );
  malformed(() =>
    prekey.decodePrekeyBundle(
      prekey.encodePrekeyBundle({
        ...bundle,
        signedPart: null,
        signature: null,
        oneTimePrekey: { id: 1, publicKey: bytes(32, 1) },
      }),
    )
  );
});

Deno.test("decodeSessionClose() accepts the reference's empty payload", () => {
  assert.deepEqual(session.decodeSessionClose(new Uint8Array(0)), { reason: "" });
});

Deno.test("selectVersion() refuses two peers without a version in common", () => {
  assert.equal(session.selectVersion([3, 2, 1], [1, 2]), 2);
  assert.throws(() => session.selectVersion([2], [1]), {
    name: "ProtocolError",
    code: "unsupported-version",
  });
});

/** Fields that may be missing; null says the same. */
const OPTIONAL = new Set([
  "PairRequest pake_msg",
  "PairRequest mechanism",
  "PairConfirm pairing_secret",
  "PairReject detail",
  "PairReject retry_after",
  "ForwardAck rejection_reason",
  "ForwardAck delivered",
  "ForwardAck last_sequence",
  "ForwardPurge failed",
  "PrekeyBundle 3",
  "PrekeyBundle 4",
  "MailboxStatus 2",
]);

/** Values that no field of `value`'s type and length may have. */
function damaged(value: CborValue): CborValue[] {
  if (value instanceof Uint8Array) {
    const isFixed = [16, 32, 33, 34, 64].includes(value.length);
    return [7, "text", ...(isFixed ? [value.subarray(1), new Uint8Array(value.length + 1)] : [])];
  }
  if (Array.isArray(value)) {
    const items = value.flatMap((item) => damaged(item).map((wrong) => [wrong]));
    return [7, new Map(), ...items];
  }
  if (typeof value === "number") return ["7", -1, id];
  if (typeof value === "boolean") return [1, "true"];
  return [7, id, "x".repeat(257)];
}

function malformed(read: () => unknown): void {
  assert.throws(read, (error) => error instanceof ProtocolError && error.code === "malformed");
}
