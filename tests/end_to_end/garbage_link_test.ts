/** Garbage inside the link's protocol, from a stranger and from a paired peer. */

import { ok } from "node:assert/strict";
import { concatBytes, utf8 } from "../../src/base/bytes.ts";
import { encodeCbor } from "../../src/protocol/cbor.ts";
import type { CborValue } from "../../src/protocol/cbor_value.ts";
import { Identity } from "../../src/protocol/crypto/identity.ts";
import { PeerId } from "../../src/protocol/crypto/peer_id.ts";
import { x25519KeyPair } from "../../src/protocol/crypto/primitives.ts";
import { encodeEnvelope } from "../../src/protocol/envelope.ts";
import {
  encodeForwardAck,
  encodeForwardDeliver,
  encodeForwardPurge,
  encodeForwardRequest,
  encodeMailboxStatus,
  encodeReceiptAck,
  encodeSequenceQuery,
  encodeSequenceReport,
} from "../../src/protocol/forward_messages.ts";
import { MessageType } from "../../src/protocol/message_types.ts";
import {
  encodePairChallenge,
  encodePairConfirm,
  encodePairReject,
  encodePairRequest,
  encodePairResponse,
  encodePairRevoke,
} from "../../src/protocol/pairing_messages.ts";
import {
  encodePrekeyBundle,
  encodePrekeyFetch,
  encodePrekeyPublish,
} from "../../src/protocol/prekey_messages.ts";
import { encodeSessionClose, encodeVersionNegotiate } from "../../src/protocol/session_messages.ts";
import { bytesFor } from "../support/identities.ts";
import { readIdentity } from "../support/crash_scene.ts";
import { brokenCbor, Garbage } from "../support/garbage.ts";
import { eventually } from "./bad_input_scene.ts";
import { type Siege, siegeTest } from "./besieged_home.ts";
import { type Forgery, HostileLink } from "./hostile_link.ts";

const TYPES = Object.values(MessageType);
const MEBIBYTE = 1_048_576;
const isPairing = (type: number) =>
  type >= MessageType.PairRequest && type <= MessageType.PairReject;
const isHeartbeat = (type: number) =>
  type === MessageType.Heartbeat || type === MessageType.HeartbeatAck;
/** What is said on a link. */
type Saying = (link: HostileLink) => void;

/** Points of the curve Ed25519 whose order is 1 and 2. */
const ONE = Uint8Array.fromHex("01".padEnd(64, "0"));
const MINUS_ONE = Uint8Array.fromHex(`ec${"f".repeat(60)}7f`);

siegeTest("Garbage in a handshake ends that handshake and disturbs nobody", async (siege) => {
  const { garbage, server: { linkUrl }, deadline } = siege;
  const identity = Identity.fromSeed(garbage.bytes(32));
  const firsts = [
    ...[0, 1, 31, 33, 96, 65_535].map((length) => garbage.bytes(length)),
    new Uint8Array(32), // a key of small order
    new Uint8Array(32).fill(0xff),
    concatBytes(garbage.bytes(32), utf8("a payload where none may be")),
  ];
  const thirds = Array.from({ length: 20 }, () => garbage.bytes(garbage.below(200)));
  const edited = (key: number, value: CborValue): Forgery => (proof) =>
    encodeCbor(new Map(proof).set(key, value));
  const mangling = Array.from({ length: 20 }, (_, n) => new Garbage(`${garbage.seed} ${n}`));
  const forgeries: Forgery[] = [
    ...brokenCbor(garbage).map((bytes): Forgery => () => bytes),
    ...mangling.map((each): Forgery => (proof) => each.mangled(encodeCbor(proof))),
    () => garbage.bytes(60_000),
    edited(0, new Uint8Array(32)), // an identity of small order
    edited(0, Identity.fromSeed(garbage.bytes(32)).publicKey),
    edited(1, garbage.bytes(64)),
    edited(2, []),
    edited(2, [99]),
    edited(2, Array.from({ length: 1_000 }, (_, version) => version)),
    edited(3, Array.from({ length: 1_000 }, () => "receive")),
    edited(4, 0),
    edited(4, Number.MAX_SAFE_INTEGER),
  ];
  await severalAtATime(firsts, async (first) => {
    const link = await HostileLink.connect(linkUrl, deadline);
    link.sendFrame(first);
    link.sendFrame(first);
    await link.closed();
  });
  await severalAtATime(forgeries, async (forge) => {
    const link = await HostileLink.open(linkUrl, identity, deadline, forge);
    // Some flipped bits do no harm to a proof: then this ends the link.
    link.send(MessageType.DataMessage, new Uint8Array(1));
    await link.closed();
  });
  await severalAtATime(thirds, async (third) => {
    const link = await HostileLink.connect(linkUrl, deadline);
    link.sendFrame(x25519KeyPair(bytesFor("an ephemeral key")).publicKey);
    await link.nextFrame();
    link.sendFrame(third);
    await link.closed();
  });
});

siegeTest("A stranger may say nothing but what belongs to a pairing, and little", async (siege) => {
  const { garbage, server: { linkUrl }, deadline } = siege;
  const stranger = Identity.fromSeed(garbage.bytes(32));
  const { peerId } = stranger;
  const samples = samplesFor(garbage, peerId);
  const pairings: Saying[] = [];
  const breaches: Saying[] = [];

  // Points that are none, or of small order, in place of SPAKE2's; first, while requests are free.
  for (const point of [new Uint8Array(32), new Uint8Array(32).fill(0xff), ONE, MINUS_ONE]) {
    const pakeMsg = concatBytes(Uint8Array.of(0x41), point);
    const nonce = garbage.bytes(16);
    const request = encodePairRequest({ peerId, nonce, pakeMsg, flowType: "Initiation" });
    pairings.push((link) => {
      link.send(MessageType.PairRequest, request);
      link.send(MessageType.PairResponse, encodePairResponse({ keyConfirmation: point }));
    });
  }
  for (const type of TYPES.filter(isPairing)) {
    const sample = samples.get(type) ?? new Uint8Array(0);
    const mangled = Array.from({ length: 6 }, () => garbage.mangled(sample));
    for (const payload of [...mangled, garbage.one(brokenCbor(garbage))]) {
      pairings.push((link) => link.send(type, payload));
    }
  }

  for (const type of [...TYPES, 0, 0x0999, 0xffff]) {
    if (isPairing(type) || isHeartbeat(type)) continue;
    const payload = garbage.bytes(garbage.below(200));
    breaches.push((link) => link.send(type, payload));
  }
  breaches.push((link) => {
    for (let n = 0; n < 17; n++) link.send(MessageType.PairConfirm, confirmation(garbage));
  });
  for (const bytes of [...brokenCbor(garbage), garbage.bytes(5_000)]) {
    breaches.push((link) => link.sendInsteadOfEnvelope(bytes));
  }
  const large = encodeEnvelope({
    type: MessageType.PairReject,
    id: garbage.bytes(16),
    payload: garbage.bytes(4_096),
  });
  const untilItIsTooLarge = new Uint8Array(2_000).fill(1);
  breaches.push(
    (link) => link.sendInsteadOfEnvelope(large, 100),
    (link) => [1, 2, 3].forEach(() => link.sendSealed(untilItIsTooLarge)),
    (link) => link.sendSealed(new Uint8Array(0)),
    (link) => link.sendSealed(Uint8Array.of(1)), // a part with nothing in it
    (link) => link.sendSealed(Uint8Array.of(2, 0)), // neither the last part nor another one
    (link) => link.sendFrame(large),
  );

  // A pairing that fails may be tried again, so its link is ended by what follows.
  const ending: Saying = (link) => link.send(MessageType.DataMessage, new Uint8Array(1));
  const ended = pairings.map((say): Saying => (link) =>
    [say, ending].forEach((each) => each(link))
  );
  await severalAtATime([...ended, ...breaches], async (say) => {
    const link = await HostileLink.open(linkUrl, stranger, deadline);
    say(link);
    await link.closed();
  });
});

siegeTest(
  "A paired peer that sends malformed payloads of every kind harms but itself",
  async (siege) => {
    const mallory = await Mallory.join(siege);
    const { garbage, bob } = siege;
    const samples = samplesFor(garbage, PeerId.from(await bob.id()));
    for (const [type, sample] of samples) {
      const payloads = brokenCbor(garbage);
      for (let n = 0; n < 5; n++) {
        await mallory.isHeard((link) => link.send(type, garbage.one(payloads)));
        await mallory.isHeard((link) => link.send(type, garbage.mangled(sample)));
      }
    }
    for (let n = 0; n < 50; n++) {
      await mallory.isHeard((link) => link.send(garbage.below(65_536), garbage.bytes(50)));
    }
    for (const bytes of brokenCbor(garbage)) {
      await mallory.isHeard((link) => link.sendInsteadOfEnvelope(bytes));
    }
    ok(mallory.links > 40, `${mallory.links} links were ended`);
    mallory.close();
  },
);

siegeTest("A paired peer that asks for more than it may harms but itself", async (siege) => {
  const mallory = await Mallory.join(siege);
  const { garbage, bob, alice, server, deadline } = siege;
  const [bobId, aliceId] = [PeerId.from(await bob.id()), PeerId.from(await alice.id())];

  // Envelopes that are too large, in few parts, in many, and one that never ends.
  for (const partLength of [65_000, 1_000]) {
    await mallory.endedBy((link) => {
      link.sendInsteadOfEnvelope(new Uint8Array(MEBIBYTE + 1), partLength);
    });
  }
  await mallory.endedBy((link) => {
    for (let n = 0; n < 40; n++) link.sendSealed(new Uint8Array(60_000).fill(1));
  });

  await mallory.endedBy((link) => {
    link.send(MessageType.PairRevoke, encodePairRevoke({ peerId: aliceId }));
  });
  for (let n = 0; n < 300; n++) {
    await mallory.send(MessageType.PrekeyFetch, encodePrekeyFetch({ peerId: bobId }));
    const recipient = PeerId.ofPublicKey(garbage.bytes(32));
    await mallory.send(MessageType.SequenceQuery, encodeSequenceQuery({ recipient }));
  }
  const ids = Array.from({ length: 1_000 }, () => garbage.bytes(16));
  for (let n = 0; n < 20; n++) {
    await mallory.send(
      MessageType.ForwardPurge,
      encodeForwardPurge({ msgIds: ids, failed: ids }),
    );
    await mallory.send(MessageType.ReceiptAck, encodeReceiptAck({ msgIds: ids }));
    await mallory.send(MessageType.Heartbeat, garbage.bytes(1_000));
  }
  // Requests by the thousand, none of which waits for its answer, under all sorts of numbers.
  for (let n = 0; n < 2_000; n++) {
    await mallory.send(
      MessageType.ForwardRequest,
      encodeForwardRequest({
        msgId: garbage.one(ids),
        recipient: garbage.one([bobId, aliceId, PeerId.ofPublicKey(garbage.bytes(32))]),
        encryptedPayload: garbage.bytes(garbage.one([0, 1, 50, 1_000])),
        sequenceNumber: garbage.one([0, n, 1_000, 2 ** 40]),
      }),
    );
  }
  mallory.close();
  const others = ({ length }: string[]) => length === 2;
  await eventually(deadline, () => server.connected(), others);
});

/** Does it with each, a few of them at the same time. */
async function severalAtATime<T>(
  all: readonly T[],
  attempt: (one: T) => Promise<void>,
): Promise<void> {
  const rest = [...all];
  await Promise.all(Array.from({ length: 8 }, async () => {
    for (let next = rest.shift(); next !== undefined; next = rest.shift()) await attempt(next);
  }));
}

/** A peer that is paired, and has gone mad since. */
class Mallory {
  links = 0;
  #link: HostileLink | undefined;

  private constructor(private readonly siege: Siege, private readonly identity: Identity) {}

  static async join(siege: Siege): Promise<Mallory> {
    const peer = siege.scene.peer("mallory", siege.server);
    await peer.pair();
    return new Mallory(siege, await readIdentity(peer.folder));
  }

  /** Says something, on a new link if the last one was ended. */
  async say(say: Saying): Promise<void> {
    if (!this.#link?.isOpen) {
      const { server, deadline } = this.siege;
      this.#link = await HostileLink.open(server.linkUrl, this.identity, deadline);
      this.links++;
    }
    say(this.#link);
    // Lets what has come from the server be noticed.
    await new Promise((resolve) => setTimeout(resolve, 0));
  }

  /** Says something, and waits until the server has dealt with it: it answers, or hangs up. */
  async isHeard(say: Saying): Promise<void> {
    await this.say(say);
    await this.#link?.answered();
  }

  send(type: number, payload: Uint8Array): Promise<void> {
    return this.say((link) => link.send(type, payload));
  }

  /** Says something by which the link must end. */
  async endedBy(say: Saying): Promise<void> {
    await this.say(say);
    await this.#link?.closed();
  }

  close(): void {
    this.#link?.close();
  }
}

/** A sound payload of each message type, as far as its content goes. */
function samplesFor(garbage: Garbage, peerId: PeerId): Map<number, Uint8Array> {
  const [msgId, key, body] = [garbage.bytes(16), garbage.bytes(32), garbage.bytes(100)];
  const oneTimePrekey = { id: 7, publicKey: key };
  const sound: [number, Uint8Array][] = [
    [MessageType.VersionNegotiate, encodeVersionNegotiate({ versions: [1] })],
    [
      MessageType.PairRequest,
      encodePairRequest({
        ...{ peerId, nonce: msgId, flowType: "Initiation", mechanism: "psk" },
        pakeMsg: concatBytes(Uint8Array.of(0x41), key),
      }),
    ],
    [
      MessageType.PairChallenge,
      encodePairChallenge({
        ...{ peerId, nonce: msgId },
        pakeMsg: concatBytes(Uint8Array.of(0x42), key),
      }),
    ],
    [MessageType.PairResponse, encodePairResponse({ keyConfirmation: key })],
    [MessageType.PairConfirm, confirmation(garbage)],
    [MessageType.PairReject, encodePairReject({ reason: "Timeout", retryAfter: 1 })],
    [MessageType.PairRevoke, encodePairRevoke({ peerId })],
    [MessageType.SessionClose, encodeSessionClose({ reason: "going-away" })],
    [
      MessageType.ForwardRequest,
      encodeForwardRequest({
        ...{ msgId, recipient: peerId, encryptedPayload: body, sequenceNumber: 1 },
      }),
    ],
    [
      MessageType.ForwardAck,
      encodeForwardAck({ msgId, accepted: true, rejectionReason: null, delivered: true }),
    ],
    [
      MessageType.ForwardDeliver,
      encodeForwardDeliver({
        ...{ msgId, sender: peerId, encryptedPayload: body, sequenceNumber: 1 },
      }),
    ],
    [MessageType.ForwardPurge, encodeForwardPurge({ msgIds: [msgId], failed: [msgId] })],
    [
      MessageType.PrekeyPublish,
      encodePrekeyPublish({
        ...{ signedPart: body, signature: garbage.bytes(64), replaceAll: true },
        oneTimePrekeys: [oneTimePrekey],
      }),
    ],
    [MessageType.PrekeyFetch, encodePrekeyFetch({ peerId })],
    [
      MessageType.PrekeyBundle,
      encodePrekeyBundle({
        ...{ peerId, signedPart: body, signature: garbage.bytes(64), oneTimePrekey, reason: null },
      }),
    ],
    [
      MessageType.MailboxStatus,
      encodeMailboxStatus({
        ...{ storeId: msgId, oneTimePrekeysLeft: 0, signedPrekeyId: null },
        ...{ largestBody: 1, retentionSeconds: 1 },
      }),
    ],
    [MessageType.SequenceQuery, encodeSequenceQuery({ recipient: peerId })],
    [MessageType.SequenceReport, encodeSequenceReport({ recipient: peerId, lastSequence: 9 })],
    [MessageType.ReceiptAck, encodeReceiptAck({ msgIds: [msgId] })],
  ];
  const anything = TYPES.map((type): [number, Uint8Array] => [type, body]);
  return new Map([...anything, ...sound]);
}

function confirmation(garbage: Garbage): Uint8Array {
  return encodePairConfirm({ keyConfirmation: garbage.bytes(32) });
}
