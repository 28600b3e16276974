import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { concatBytes, utf8 } from "../../src/base/bytes.ts";
import { CairnError, ProtocolError } from "../../src/base/errors.ts";
import { encodeCbor } from "../../src/protocol/cbor.ts";
import type { CborValue } from "../../src/protocol/cbor_value.ts";
import { x25519KeyPair } from "../../src/protocol/crypto/primitives.ts";
import { decodeEnvelope, encodeEnvelope, type Envelope } from "../../src/protocol/envelope.ts";
import { type CipherState, NoiseXxHandshake } from "../../src/protocol/link/noise_xx.ts";
import { MessageType } from "../../src/protocol/message_types.ts";
import { decodeSessionClose, encodeSessionClose } from "../../src/protocol/session_messages.ts";
import {
  acceptLink,
  initiateLink,
  LinkConnection,
  type LinkContext,
} from "../../src/roles/link_connection.ts";
import { FakeTime, turns } from "../support/fake_time.ts";
import { bytesFor, identityFor } from "../support/identities.ts";
import { contextFor, linkPair, LinkRecorder } from "../support/link_pair.ts";
import { SocketPair } from "../support/socket_pair.ts";

const SECOND = 1_000;
/** 65,535 less the tag and the marker. */
const LONGEST_PART = 65_518;
const NOTHING = new Uint8Array(0);
const bob = identityFor("bob").peerId;

interface Scene {
  readonly time: FakeTime;
  readonly alice: LinkContext;
  readonly bob: LinkContext;
}

function linkTest(name: string, story: (scene: Scene) => Promise<void>): void {
  Deno.test(`Link ${name}`, async () => {
    using time = new FakeTime();
    await story({
      time,
      alice: contextFor("alice", time, { capabilities: ["receive"] }),
      bob: contextFor("bob", time, { capabilities: ["mailbox"] }),
    });
  });
}

linkTest("tells each end who the other is and what it can do", async (scene) => {
  const { near, far } = await linkPair(scene.alice, scene.bob);
  equal(near.remote.toString(), bob.toString());
  equal(far.remote.toString(), identityFor("alice").peerId.toString());
  deepEqual([...near.capabilities], ["mailbox"]);
  deepEqual([...far.capabilities], ["receive"]);
  deepEqual(near.handshakeHash, far.handshakeHash);
  near.close("going-away");
});

linkTest("says whether the other end answers, and for how long it has not", async (scene) => {
  const { time } = scene;
  const { near, cable } = await linkPair(scene.alice, scene.bob);
  const heard = near.answers(5 * SECOND);
  await turns();
  equal(await heard, true);
  equal(near.unansweredFor, 0);
  cable.hold("far");
  near.send(0x0700, new Uint8Array(35_000));
  time.pass(4 * SECOND);
  await turns();
  // Of that a second is what a slow way takes for so many bytes.
  ok(Math.abs(near.unansweredFor - 3 * SECOND) < 100);
  equal(near.silentFor, 4 * SECOND);
  const silent = near.answers(5 * SECOND);
  time.pass(5 * SECOND);
  equal(await silent, false);
  cable.release("far");
  await turns();
  equal(near.unansweredFor, 0);
  near.close("going-away");
  equal(await near.answers(5 * SECOND), false);
});

linkTest("gives up when the handshake takes ten seconds", async ({ time, alice, bob: other }) => {
  const cable = new SocketPair();
  cable.hold("far");
  const attempts = Promise.allSettled([
    initiateLink(cable.near, alice, { expectedPeer: bob }),
    acceptLink(cable.far, other),
  ]);
  let settled = false;
  void attempts.then(() => settled = true);
  time.pass(9.999 * SECOND);
  await turns();
  equal(settled, false);
  time.pass(0.001 * SECOND);
  for (const attempt of await attempts) {
    ok(attempt.status === "rejected" && attempt.reason instanceof ProtocolError);
    equal(attempt.reason.code, "timeout");
  }
  equal(await endOf(cable), 1006);
});

linkTest("can be given up during the handshake, and before it", async ({ alice }) => {
  const cable = new SocketPair();
  const giveUp = new AbortController();
  const attempt = initiateLink(cable.near, alice, { expectedPeer: bob, signal: giveUp.signal });
  giveUp.abort();
  await rejects(attempt, isError(CairnError, "closed"));
  equal(await endOf(cable), 1006);

  const late = new SocketPair();
  const second = acceptLink(late.near, alice, { signal: giveUp.signal });
  await rejects(second, isError(CairnError, "closed"));
  equal(await endOf(late), 1006);
});

linkTest("is refused to another peer than the expected one", async ({ time, alice }) => {
  const cable = new SocketPair();
  const [initiated, accepted] = await Promise.allSettled([
    initiateLink(cable.near, alice, { expectedPeer: bob }),
    acceptLink(cable.far, contextFor("mallory", time)),
  ]);
  ok(initiated.status === "rejected" && accepted.status === "rejected");
  ok(isError(ProtocolError, "wrong-peer")(initiated.reason));
  ok(isError(CairnError, "unreachable")(accepted.reason));
  equal(cable.sent.near.length, 1, "the initiator has not shown who it is");
});

linkTest("does not come about when the connection is lost in the handshake", async (scene) => {
  const cable = new SocketPair();
  const attempt = initiateLink(cable.near, scene.alice, { expectedPeer: bob });
  cable.cut();
  await rejects(attempt, isError(CairnError, "unreachable"));
});

linkTest("does not come about from a damaged handshake message", async ({ alice, bob: other }) => {
  for (const [side, index] of [["near", 0], ["far", 0], ["near", 1]] as const) {
    const cable = new SocketPair();
    cable.pass = (frame, from) =>
      from === side && cable.sent[side].length === index + 1 ? flipped(frame) : frame;
    const results = await Promise.allSettled([
      initiateLink(cable.near, alice, { expectedPeer: bob }),
      acceptLink(cable.far, other),
    ]);
    const [initiated, accepted] = results;
    // The initiator is done when it has sent the last message; the acceptor must not be.
    if (initiated.status === "fulfilled") initiated.value.close("going-away");
    equal(accepted.status, "rejected", `message ${index + 1} of the ${side} end`);
  }
});

linkTest("that is not nominated never completes at the other end", async (scene) => {
  const cable = new SocketPair();
  const accepted = acceptLink(cable.far, scene.bob);
  const initiated = initiateLink(cable.near, scene.alice, {
    expectedPeer: bob,
    nominate: () => false,
  });
  await rejects(initiated, isError(CairnError, "closed"));
  await rejects(accepted, isError(CairnError, "unreachable"));
  equal(cable.sent.near.length, 1);
});

linkTest("sends a heartbeat after a silent interval, and answers one", async ({ time, alice }) => {
  const foreign = await ForeignEnd.linkedTo(alice);
  time.pass(29 * SECOND);
  await turns();
  deepEqual(foreign.types(), []);
  time.pass(SECOND);
  await turns();
  deepEqual(foreign.types(), [MessageType.Heartbeat]);
  foreign.send(MessageType.Heartbeat, NOTHING);
  await turns();
  deepEqual(foreign.types(), [MessageType.Heartbeat, MessageType.HeartbeatAck]);
  deepEqual(foreign.envelopes.map(({ payload }) => payload.length), [0, 0]);
  foreign.link.close("going-away");
});

linkTest("ends after three silent intervals", async ({ time, alice }) => {
  const foreign = await ForeignEnd.linkedTo(alice);
  const recorder = new LinkRecorder(foreign.link);
  time.pass(90 * SECOND);
  await turns();
  equal(recorder.ended, undefined);
  time.pass(30 * SECOND);
  equal(await recorder.end(), "timeout");
  equal(await endOf(foreign.cable), 1006, "a carrier that nobody answers on is not kept");
});

linkTest("takes anything that it hears for life", async ({ time, alice }) => {
  const foreign = await ForeignEnd.linkedTo(alice);
  const recorder = new LinkRecorder(foreign.link);
  const signs = [MessageType.HeartbeatAck, MessageType.ForwardAck, 0x7777];
  for (const type of signs) {
    time.pass(89 * SECOND);
    foreign.send(type, NOTHING);
    await turns();
    equal(recorder.ended, undefined);
  }
  time.pass(130 * SECOND);
  equal(await recorder.end(), "timeout");
});

linkTest("sends no heartbeat while it has other things to say", async ({ time, alice }) => {
  const foreign = await ForeignEnd.linkedTo(alice);
  for (let i = 0; i < 4; i++) {
    time.pass(20 * SECOND);
    foreign.link.send(0x7777, NOTHING);
  }
  await turns();
  deepEqual(foreign.types(), [0x7777, 0x7777, 0x7777, 0x7777]);
  foreign.link.close("going-away");
});

linkTest("says why it ends, and ends once", async ({ alice }) => {
  const foreign = await ForeignEnd.linkedTo(alice);
  const reasons: string[] = [];
  foreign.link.onClose = (reason) => reasons.push(reason);
  foreign.link.close("replaced");
  foreign.link.close("timeout");
  foreign.link.send(0x7777, NOTHING);
  await turns();
  deepEqual(reasons, ["replaced"]);
  deepEqual(foreign.types(), [MessageType.SessionClose]);
  equal(decodeSessionClose(foreign.envelopes[0]!.payload).reason, "replaced");
  equal(await endOf(foreign.cable), 1000);
});

linkTest("hears why the other end ends it", async ({ alice }) => {
  const payloads: [Uint8Array, string][] = [
    [encodeSessionClose({ reason: "unpaired" }), "unpaired"],
    [NOTHING, ""],
    [bytesFor("not a SessionClose"), "protocol-error"],
  ];
  for (const [payload, reason] of payloads) {
    const foreign = await ForeignEnd.linkedTo(alice);
    const recorder = new LinkRecorder(foreign.link);
    foreign.send(MessageType.SessionClose, payload);
    equal(await recorder.end(), reason);
    equal(foreign.link.closed, true);
  }
});

linkTest("ends with its carrier", async ({ alice }) => {
  const lost = await ForeignEnd.linkedTo(alice);
  const recorder = new LinkRecorder(lost.link);
  lost.cable.cut();
  equal(await recorder.end(), "connection lost");

  const closed = await ForeignEnd.linkedTo(alice);
  const second = new LinkRecorder(closed.link);
  closed.cable.far.close(1001, "shutting down");
  equal(await second.end(), "shutting down");
});

linkTest("tells a handler that comes late that it has ended", async ({ alice }) => {
  const { link } = await ForeignEnd.linkedTo(alice);
  link.close("going-away");
  const reason = await new Promise<string>((resolve) => link.onClose = resolve);
  equal(reason, "going-away");
});

linkTest("keeps what comes before a handler is set, in order", async ({ alice }) => {
  const foreign = await ForeignEnd.linkedTo(alice);
  for (let n = 0; n < 64; n++) foreign.send(0x7777, Uint8Array.of(n));
  await turns();
  const recorder = new LinkRecorder(foreign.link);
  foreign.send(0x7777, Uint8Array.of(64));
  await recorder.until(() => recorder.envelopes.length === 65);
  deepEqual(
    recorder.payloads(0x7777).map(([first]) => first),
    Array.from({ length: 65 }, (_, n) => n),
  );
  foreign.link.close("going-away");
});

linkTest("that nobody listens to takes sixty-four messages", async ({ alice }) => {
  const foreign = await ForeignEnd.linkedTo(alice);
  for (let n = 0; n < 65; n++) foreign.send(0x7777, NOTHING);
  await turns();
  equal(await new LinkRecorder(foreign.link).end(), "protocol-error");
});

linkTest("ends alone when its remote breaks the protocol", async ({ time, alice }) => {
  const damages: [string, (foreign: ForeignEnd) => void][] = [
    ["frame that does not decrypt", (each) => each.cable.far.send(bytesFor("garbage"))],
    ["frame too short to decrypt", (each) => each.cable.far.send(NOTHING)],
    ["envelope that is not CBOR", (each) => each.sendEnvelope(bytesFor("garbage"))],
    ["empty envelope", (each) => each.sendEnvelope(NOTHING)],
    ["frame that comes twice", (each) => {
      each.send(0x7777, NOTHING);
      each.cable.far.send(each.cable.sent.far.at(-1)!);
    }],
    ["frame that is missing", (each) => {
      each.cable.pass = (frame) => each.cable.sent.far.length === 1 ? undefined : frame;
      each.send(0x7777, NOTHING);
      each.send(0x7777, NOTHING);
    }],
  ];
  const other = await ForeignEnd.linkedTo(contextFor("alice", time));
  const witness = new LinkRecorder(other.link);
  for (const [what, damage] of damages) {
    const foreign = await ForeignEnd.linkedTo(alice);
    const recorder = new LinkRecorder(foreign.link);
    damage(foreign);
    equal(await recorder.end(), "protocol-error", what);
    await turns();
    equal(decodeSessionClose(foreign.envelopes.at(-1)!.payload).reason, "protocol-error", what);
  }
  other.send(0x7777, Uint8Array.of(1));
  deepEqual(await witness.payload(0x7777), Uint8Array.of(1));
  other.link.close("going-away");
});

linkTest("takes 4,096 bytes from a remote that is not paired, and no more", async ({ alice }) => {
  await assertLargestEnvelope(alice, 4_096, () => {});
});

linkTest("takes a mebibyte from a paired remote, and no more", async ({ alice }) => {
  await assertLargestEnvelope(alice, 1_048_576, (link) => link.trustRemote());
});

linkTest("ends when what its owner does with a message fails", async ({ alice }) => {
  const foreign = await ForeignEnd.linkedTo(alice);
  const ended = new Promise<string>((resolve) => foreign.link.onClose = resolve);
  foreign.link.onEnvelope = () => {
    throw new Error("The owner stumbled");
  };
  foreign.send(0x7777, NOTHING);
  equal(await ended, "going-away");
});

async function assertLargestEnvelope(
  context: LinkContext,
  largest: number,
  prepare: (link: LinkConnection) => void,
): Promise<void> {
  const foreign = await ForeignEnd.linkedTo(context);
  prepare(foreign.link);
  const recorder = new LinkRecorder(foreign.link);
  foreign.sendEnvelope(envelopeOfSize(largest));
  await recorder.payload(0x7777);
  foreign.sendEnvelope(envelopeOfSize(largest + 1));
  equal(await recorder.end(), "too-large");
  await turns();
  equal(decodeSessionClose(foreign.envelopes.at(-1)!.payload).reason, "too-large");
  equal(recorder.envelopes.length, 1);
}

/** An encoded envelope of exactly `size` bytes. */
function envelopeOfSize(size: number): Uint8Array {
  const id = bytesFor("id").slice(0, 16);
  const around = encodeEnvelope({ type: 0x7777, id, payload: new Uint8Array(size) }).length - size;
  const envelope = encodeEnvelope({ type: 0x7777, id, payload: new Uint8Array(size - around) });
  equal(envelope.length, size);
  return envelope;
}

/** The other end of a link, made from docs/wire_format.md section 2, which says what it likes. */
class ForeignEnd {
  readonly envelopes: Envelope[] = [];
  #part: Uint8Array = NOTHING;

  private constructor(
    readonly cable: SocketPair,
    readonly link: LinkConnection,
    private readonly ciphers: { readonly send: CipherState; readonly receive: CipherState },
  ) {
    cable.far.onFrame = (frame) => {
      const [marker, ...part] = ciphers.receive.decrypt(NOTHING, frame);
      this.#part = concatBytes(this.#part, Uint8Array.from(part));
      if (marker === 1) return;
      this.envelopes.push(decodeEnvelope(this.#part));
      this.#part = NOTHING;
    };
  }

  static async linkedTo(context: LinkContext): Promise<ForeignEnd> {
    const cable = new SocketPair();
    const { host } = context;
    const { identity, keys } = contextFor("bob", host);
    const { pair, certificate } = keys.current();
    const noise = new NoiseXxHandshake({
      initiator: false,
      staticPair: pair,
      ephemeralPair: x25519KeyPair(host.random(32)),
      prologue: utf8("cairn-link/1"),
    });
    const proof = new Map<number, CborValue>([
      [0, identity.publicKey],
      [1, certificate.signature],
      [2, [1]],
      [3, []],
      [4, certificate.expiry],
    ]);
    const ciphers = new Promise<ReturnType<NoiseXxHandshake["finish"]>>((resolve) => {
      cable.far.onFrame = (frame) => {
        noise.readMessage(frame);
        if (noise.complete) resolve(noise.finish());
        else cable.far.send(noise.writeMessage(encodeCbor(proof)));
      };
    });
    const near = await initiateLink(cable.near, context, { expectedPeer: identity.peerId });
    const foreign = new ForeignEnd(cable, near, await ciphers);
    // The handshake is nobody's business any more.
    cable.sent.far.length = 0;
    return foreign;
  }

  send(type: number, payload: Uint8Array): void {
    this.sendEnvelope(encodeEnvelope({ type, id: bytesFor("id").slice(0, 16), payload }));
  }

  sendEnvelope(bytes: Uint8Array): void {
    let offset = 0;
    do {
      const part = bytes.subarray(offset, offset += LONGEST_PART);
      const marker = Uint8Array.of(offset < bytes.length ? 1 : 0);
      this.cable.far.send(this.ciphers.send.encrypt(NOTHING, concatBytes(marker, part)));
    } while (offset < bytes.length);
  }

  types(): number[] {
    return this.envelopes.map(({ type }) => type);
  }
}

function endOf(cable: SocketPair): Promise<number> {
  return new Promise((resolve) => cable.far.onClose = ({ code }) => resolve(code));
}

function isError(kind: typeof ProtocolError | typeof CairnError, code: string) {
  return (error: unknown) => error instanceof kind && error.code === code;
}

function flipped(frame: Uint8Array): Uint8Array {
  const damaged = frame.slice();
  damaged[damaged.length - 1]! ^= 1;
  return damaged;
}
