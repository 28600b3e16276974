import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import { utf8 } from "../../../src/base/bytes.ts";
import { CairnError } from "../../../src/base/errors.ts";
import { MessageType } from "../../../src/protocol/message_types.ts";
import {
  decodePairChallenge,
  decodePairConfirm,
  decodePairReject,
  decodePairRevoke,
  encodePairConfirm,
  encodePairRequest,
  encodePairResponse,
  type PairReject,
} from "../../../src/protocol/pairing_messages.ts";
import { parsePairingLink } from "../../../src/protocol/pairing/invitation.ts";
import {
  acceptApprovedSecret,
  ApprovedInitiator,
  type Credential,
  type PairingChannel,
  PairingInitiator,
} from "../../../src/protocol/pairing/pairing.ts";
import { AskingInitiator } from "../../../src/protocol/pairing/sas.ts";
import { ApprovalBook } from "../../../src/roles/server/approval_book.ts";
import type { PairingEvent } from "../../../src/roles/server/pairing_control.ts";
import { identityFor } from "../../support/identities.ts";
import { type Client, PSK, ServerScene, type ServerSettings } from "./links_scene.ts";
import { request } from "./mailbox_scene.ts";

const [alice, bob] = [identityFor("alice").peerId, identityFor("bob").peerId];
const BY_KEY: Credential = { kind: "psk", secret: utf8(PSK) };

function operatorTest(
  name: string,
  story: (scene: ServerScene) => Promise<void>,
  settings: ServerSettings = {},
): void {
  Deno.test(`OperatorDesk ${name}`, async () => {
    await using scene = await ServerScene.open(settings);
    await story(scene);
  });
}

operatorTest("unpairs: keys and messages go, the peer is told, its links end", async (scene) => {
  await scene.know("alice", "bob");
  await scene.desk?.forward(bob, request(alice, 1));
  equal(scene.desk?.accounts.of(alice).messages, 1);
  const client = await scene.link("alice");
  const events: PairingEvent[] = [];
  scene.operator.subscribe((event) => events.push(event));
  equal(await scene.operator.unpair(alice), true);
  const revoke = decodePairRevoke(await client.recorder.payload(MessageType.PairRevoke));
  equal(revoke.peerId.toString(), scene.peerId.toString());
  equal(await client.recorder.end(), "unpaired");
  equal(scene.book.has(alice), false);
  equal(scene.desk?.accounts.of(alice).messages, 0);
  deepEqual(events, [{ kind: "unpaired", peerId: alice, by: "operator" }]);
  equal(await scene.operator.unpair(alice), false);
});

operatorTest(
  "keeps an unpaired peer out that knows the key, until it is approved",
  async (scene) => {
    await scene.know("alice");
    await scene.operator.unpair(alice);
    const refused = await prove(scene, await scene.link("alice"), BY_KEY);
    deepEqual(refused, { reason: "UserRejected" }, "which only somebody with the key is told");
    const wrong: Credential = { kind: "psk", secret: utf8("not the key of this server") };
    const stranger = await scene.link("alice", { source: "192.0.2.7" });
    equal((await prove(scene, stranger, wrong))?.reason, "AuthenticationFailed");
    equal(await prove(scene, await scene.link("bob"), BY_KEY), undefined, "others come in");

    const book = await reopenApprovals(scene, PSK);
    equal(book.wasUnpaired(alice), true, "through a restart");
    await scene.operator.approve(alice);
    equal(await prove(scene, await scene.link("alice"), BY_KEY), undefined);
  },
);

operatorTest("forgets whom it unpaired when the key is another one", async (scene) => {
  await scene.know("alice");
  await scene.operator.unpair(alice);
  equal((await reopenApprovals(scene, PSK)).wasUnpaired(alice), true);
  equal((await reopenApprovals(scene, "another key of the server")).wasUnpaired(alice), false);
});

operatorTest("lets an unpaired peer back in by a PIN or link that it is given", async (scene) => {
  await scene.know("alice");
  await scene.operator.unpair(alice);
  const { nonce, credential } = parsePairingLink(scene.operator.createLink().uri);
  const byLink: Credential = { kind: "link", secret: credential, id: nonce };
  equal(await prove(scene, await scene.link("alice"), byLink), undefined);
  equal(scene.pairing.approvals.wasUnpaired(alice), false);
});

operatorTest("unpairs a peer of the configuration's list for good", async (scene) => {
  await scene.know("alice");
  await scene.operator.unpair(alice);
  const client = await scene.link("alice");
  const { request } = new ApprovedInitiator(channelOf(scene, client), scene.time.random(16));
  client.send(MessageType.PairRequest, encodePairRequest(request));
  const payload = await client.recorder.payload(MessageType.PairReject);
  deepEqual(decodePairReject(payload), { reason: "UserRejected" });
  equal((await reopenApprovals(scene, PSK, [alice])).isApproved(alice), false);
}, { approved: [alice] });

operatorTest("tells a peer that was away when it was unpaired, and nobody else", async (scene) => {
  await scene.know("alice");
  await scene.operator.unpair(alice);
  for (const [label, revokes] of [["alice", 1], ["bob", 0]] as const) {
    const client = await scene.link(label);
    client.send(MessageType.ForwardPurge);
    equal(await client.recorder.end(), "not-paired");
    equal(client.recorder.payloads(MessageType.PairRevoke).length, revokes);
  }
});

operatorTest("approves a peer that has not asked yet, durably", async (scene) => {
  await scene.operator.approve(alice);
  equal((await reopenApprovals(scene, PSK)).isApproved(alice), true);
  const client = await scene.link("alice");
  const initiator = new ApprovedInitiator(channelOf(scene, client), scene.time.random(16));
  client.send(MessageType.PairRequest, encodePairRequest(initiator.request));
  const confirm = decodePairConfirm(await client.recorder.payload(MessageType.PairConfirm));
  deepEqual(initiator.finish(confirm).pairingSecret, scene.book.get(alice)?.secret);
  equal(await scene.operator.unpair(alice), true);
  equal(scene.pairing.approvals.isApproved(alice), false);
});

operatorTest("refuses to approve its own server", async (scene) => {
  await rejects(scene.operator.approve(scene.peerId), CairnError);
});

operatorTest(
  "repeats an approved peer's secret until the peer says that it has it",
  async (scene) => {
    await scene.operator.approve(alice);
    const lost = await scene.link("alice");
    const { request } = new ApprovedInitiator(channelOf(scene, lost), scene.time.random(16));
    lost.send(MessageType.PairRequest, encodePairRequest(request));
    await lost.recorder.payload(MessageType.PairConfirm);
    lost.cable.cut();
    const secret = scene.book.get(alice)?.secret;
    ok(secret);

    for (const attempt of [1, 2]) {
      const again = await scene.link("alice");
      const confirm = decodePairConfirm(await again.recorder.payload(MessageType.PairConfirm));
      deepEqual(confirm.pairingSecret, secret, `the same one, time ${attempt}`);
      if (attempt === 2) {
        const { reply } = acceptApprovedSecret(channelOf(scene, again), confirm);
        again.send(MessageType.PairConfirm, encodePairConfirm(reply));
        await scene.settle();
      }
      again.close();
    }
    equal(scene.book.get(alice)?.unacknowledged, false);
    const later = await scene.link("alice");
    await later.recorder.payload(MessageType.MailboxStatus);
    deepEqual(later.recorder.payloads(MessageType.PairConfirm), []);
  },
);

operatorTest(
  "checks no guess in the time that earlier ones cost, however many come",
  async (scene) => {
    const { pin } = scene.operator.createPin();
    const symbols = pin.replace("-", "");
    const guess: Credential = {
      kind: "pin",
      id: utf8(symbols.slice(0, 3)),
      secret: utf8(`${symbols.slice(0, 7)}${symbols.endsWith("0") ? 1 : 0}`),
    };
    // Each of these has its challenge before the first response is checked.
    const guesses: (() => void)[] = [];
    const clients: Client[] = [];
    for (let n = 0; n < 30; n++) {
      const client = await scene.link(`mallory ${n}`, { source: `192.0.2.${n}` });
      clients.push(client);
      guesses.push(await challenged(scene, client, guess));
    }
    for (const respond of guesses) respond();
    const reasons: string[] = [];
    for (const client of clients) {
      const payload = await client.recorder.payload(MessageType.PairReject);
      reasons.push(decodePairReject(payload).reason);
    }
    equal(reasons.filter((reason) => reason === "AuthenticationFailed").length, 1);
    equal(reasons.filter((reason) => reason === "RateLimited").length, 29);
    const [offer] = scene.operator.offers();
    deepEqual([offer?.state, offer?.failures], ["open", 1]);
    const key = await prove(scene, await scene.link("bob", { source: "192.0.2.99" }), BY_KEY);
    equal(key, undefined, "and other ways to pair are not held up");
  },
);

operatorTest(
  "holds thousands of attempts at a PIN to one guess in the time it costs",
  async (scene) => {
    const { pin } = scene.operator.createPin();
    const symbols = pin.replace("-", "");
    const id = utf8(symbols.slice(0, 3));
    const wrong: Credential = { kind: "pin", id, secret: utf8("00000000") };
    const first = await prove(scene, await scene.link("mallory", { source: "192.0.2.7" }), wrong);
    deepEqual(first, { reason: "AuthenticationFailed", retryAfter: 2 });
    let heldUp = 0;
    for (let n = 0; n < 150; n++) {
      const client = await scene.link(`mallory ${n % 8}`, { source: `198.51.100.${n}` });
      const { request } = new PairingInitiator(channelOf(scene, client), wrong, {
        nonce: scene.time.random(16),
        scalar: scene.time.random(64),
      });
      for (let attempt = 0; attempt < 16; attempt++) {
        client.send(MessageType.PairRequest, encodePairRequest(request));
      }
      await client.recorder.payload(MessageType.PairReject, 16);
      const rejects = client.recorder.payloads(MessageType.PairReject).map(decodePairReject);
      heldUp += rejects.filter(({ reason }) => reason === "RateLimited").length;
      client.close();
    }
    equal(heldUp, 2_400);
    equal(scene.operator.offers()[0]?.failures, 1);
    scene.time.pass(2_000);
    const byPin: Credential = { kind: "pin", id, secret: utf8(symbols) };
    equal(await prove(scene, await scene.link("alice"), byPin), undefined);
  },
);

operatorTest("does not pair through somebody between two links", async (scene) => {
  const { pin } = scene.operator.createPin();
  const symbols = pin.replace("-", "");
  const byPin: Credential = { kind: "pin", id: utf8(symbols.slice(0, 3)), secret: utf8(symbols) };
  // Alice knows the PIN; what she thinks is the server is Mallory, who asks the server in turn.
  const mallory = await scene.link("mallory");
  const aliceLink: PairingChannel = {
    self: alice,
    remote: mallory.self,
    handshakeHash: scene.time.random(32),
  };
  const initiator = new PairingInitiator(aliceLink, byPin, {
    nonce: scene.time.random(16),
    scalar: scene.time.random(64),
  });
  const passedOn = { ...initiator.request, peerId: mallory.self };
  mallory.send(MessageType.PairRequest, encodePairRequest(passedOn));
  const challenge = decodePairChallenge(await mallory.recorder.payload(MessageType.PairChallenge));
  const response = initiator.answer({ ...challenge, peerId: mallory.self });
  mallory.send(MessageType.PairResponse, encodePairResponse(response));
  const payload = await mallory.recorder.payload(MessageType.PairReject);
  equal(decodePairReject(payload).reason, "AuthenticationFailed");
  deepEqual(scene.book.list(), []);
});

operatorTest("shows no request whose digits were not committed to", async (scene) => {
  const mallory = await scene.link("mallory");
  const asking = new AskingInitiator(channelOf(scene, mallory), scene.time.random(32));
  mallory.send(MessageType.PairRequest, encodePairRequest(asking.request));
  await mallory.recorder.payload(MessageType.PairChallenge);
  // Another number than the one committed to, chosen after the server's was seen.
  const ground = encodePairResponse({ keyConfirmation: scene.time.random(32) });
  mallory.send(MessageType.PairResponse, ground);
  const payload = await mallory.recorder.payload(MessageType.PairReject);
  equal(decodePairReject(payload).reason, "AuthenticationFailed");
  deepEqual(scene.operator.requests(), []);
});

operatorTest("keeps sixteen offers open", async (scene) => {
  for (let n = 0; n < 8; n++) {
    scene.operator.createLink();
    scene.operator.createPin();
  }
  throws(() => scene.operator.createLink(), CairnError);
  throws(() => scene.operator.createPin(), CairnError);
  scene.time.pass(300_000);
  equal(scene.operator.offers().filter(({ state }) => state === "expired").length, 16);
  await scene.settle();
  scene.operator.createPin();
});

operatorTest("says in a link how to reach the server, as far as there is room", async (scene) => {
  const { uri, payload } = scene.operator.createLink();
  const { hints, peerId } = parsePairingLink(uri);
  equal(peerId.toString(), scene.peerId.toString());
  deepEqual(hints, [
    { type: "signal", value: "wss://signal.test" },
    { type: "ws", value: "ws://192.0.2.1:9091" },
  ]);
  ok(payload.length <= 256);
  await scene.settle();
}, {
  hints: [
    { type: "signal", value: "wss://signal.test" },
    { type: "ws", value: "ws://192.0.2.1:9091" },
    { type: "ws", value: `ws://${"long-name.".repeat(12)}test:9091` },
  ],
});

function channelOf(scene: ServerScene, { self, recorder: { link } }: Client): PairingChannel {
  return { self, remote: scene.peerId, handshakeHash: link.handshakeHash };
}

/** Goes as far as the challenge; what is returned sends the response. */
async function challenged(
  scene: ServerScene,
  client: Client,
  credential: Credential,
): Promise<() => void> {
  const initiator = new PairingInitiator(channelOf(scene, client), credential, {
    nonce: scene.time.random(16),
    scalar: scene.time.random(64),
  });
  client.send(MessageType.PairRequest, encodePairRequest(initiator.request));
  const challenge = decodePairChallenge(await client.recorder.payload(MessageType.PairChallenge));
  const response = encodePairResponse(initiator.answer(challenge));
  return () => client.send(MessageType.PairResponse, response);
}

/** Pairs by a credential; what the peer is told if it is refused. */
async function prove(
  scene: ServerScene,
  client: Client,
  credential: Credential,
): Promise<PairReject | undefined> {
  (await challenged(scene, client, credential))();
  await client.recorder.until(() =>
    client.recorder.payloads(MessageType.PairReject).length +
        client.recorder.payloads(MessageType.PairConfirm).length > 0
  );
  const [reject] = client.recorder.payloads(MessageType.PairReject);
  client.close();
  await scene.settle();
  return reject && decodePairReject(reject);
}

function reopenApprovals(scene: ServerScene, psk: string, configured = [] as typeof alice[]) {
  return ApprovalBook.open(scene.kv, scene.commit, { configured, psk });
}
