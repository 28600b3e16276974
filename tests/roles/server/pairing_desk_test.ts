import { deepEqual, equal, notDeepEqual, ok } from "node:assert/strict";
import { utf8 } from "../../../src/base/bytes.ts";
import { MessageType } from "../../../src/protocol/message_types.ts";
import {
  decodePairChallenge,
  decodePairConfirm,
  decodePairReject,
  encodePairConfirm,
  encodePairRequest,
  encodePairResponse,
  type PairReject,
} from "../../../src/protocol/pairing_messages.ts";
import {
  ApprovedInitiator,
  type PairingChannel,
  PairingInitiator,
} from "../../../src/protocol/pairing/pairing.ts";
import { PeerBook } from "../../../src/roles/peer_book.ts";
import { identityFor } from "../../support/identities.ts";
import { type Client, PSK, ServerScene, type ServerSettings } from "./links_scene.ts";

const SECOND = 1_000;
const WRONG = "not the key of this server";
const [alice, bob] = [identityFor("alice").peerId, identityFor("bob").peerId];

function deskTest(
  name: string,
  story: (scene: ServerScene) => Promise<void>,
  settings: ServerSettings = {},
): void {
  Deno.test(`PairingDesk ${name}`, async () => {
    await using scene = await ServerScene.open(settings);
    await story(scene);
  });
}

deskTest("pairs a peer that knows the key, durably, with one secret", async (scene) => {
  const client = await scene.link("alice", { source: "signaling" });
  const secret = await pairByKey(scene, client);
  const pairing = scene.book.get(alice);
  deepEqual([pairing?.secret, pairing?.mechanism, pairing?.pairedAt], [
    secret,
    "psk",
    scene.time.now(),
  ]);
  const later = await PeerBook.open(scene.kv, scene.commit);
  deepEqual(later.get(alice)?.secret, secret);
  equal(client.recorder.ended, undefined, "the last word is the initiator's");
});

deskTest("gives each pairing a secret of its own", async (scene) => {
  const secrets = [
    await pairByKey(scene, await scene.link("alice")),
    await pairByKey(scene, await scene.link("bob")),
  ];
  notDeepEqual(secrets[0], secrets[1]);
});

deskTest("makes each failure of a source wait longer, up to ten seconds", async (scene) => {
  for (const seconds of [2, 4, 6, 8, 10, 10]) {
    const refused = await refusal(scene, await scene.link("alice"), WRONG);
    deepEqual(refused, { reason: "AuthenticationFailed", retryAfter: seconds });
    scene.time.pass(seconds * SECOND - 1);
    const early = await refusal(scene, await scene.link("alice"), PSK);
    deepEqual(early, { reason: "RateLimited", retryAfter: 1 });
    scene.time.pass(1);
  }
  equal(scene.book.has(alice), false);
  await pairByKey(scene, await scene.link("alice"));
  const client = await scene.link("bob");
  deepEqual(await refusal(scene, client, WRONG), {
    reason: "AuthenticationFailed",
    retryAfter: 2,
  }, "a success is forgiven what came before");
});

deskTest("checks no response of a source that has failed meanwhile", async (scene) => {
  const [first, second] = [await scene.link("alice"), await scene.link("bob")];
  const respondLater = await respond(scene, second);
  equal((await refusal(scene, first, WRONG)).reason, "AuthenticationFailed");
  respondLater();
  deepEqual(await rejectOf(second), { reason: "RateLimited", retryAfter: 2 });
  equal(scene.book.has(bob), false, "though it knows the key");
});

deskTest("lets sources fail without holding up others", async (scene) => {
  await refusal(scene, await scene.link("mallory", { source: "192.0.2.1" }), WRONG);
  await pairByKey(scene, await scene.link("alice", { source: "192.0.2.2" }));
  const held = await refusal(scene, await scene.link("bob", { source: "192.0.2.1" }), PSK);
  equal(held.reason, "RateLimited");
});

deskTest(
  "lets no peer hold up others that come over signaling, as it has no address",
  async (scene) => {
    const source = "signaling contact";
    const mallory = () => scene.link("mallory", { source });
    await refusal(scene, await mallory(), WRONG);
    equal((await refusal(scene, await mallory(), PSK)).reason, "RateLimited");
    await pairByKey(scene, await scene.link("alice", { source }));
  },
);

Deno.test("PairingDesk answers a stranger the same whether it has a key or not", async () => {
  const transcripts: [number, number][][] = [];
  for (const psk of [PSK, undefined]) {
    await using scene = await ServerScene.open({ psk });
    const client = await scene.link("alice");
    equal((await refusal(scene, client, WRONG)).reason, "AuthenticationFailed");
    transcripts.push(client.recorder.envelopes.map(({ type, payload }) => [type, payload.length]));
  }
  deepEqual(transcripts[1], transcripts[0]);
});

deskTest("pairs a peer on the list without a key", async (scene) => {
  const client = await scene.link("alice");
  const secret = await pairApproved(client, scene);
  deepEqual(scene.book.get(alice)?.secret, secret);
  equal(scene.book.get(alice)?.mechanism, "approved");
  const other = await scene.link("bob");
  other.send(MessageType.PairRequest, encodePairRequest(approvedBy(other, scene).request));
  deepEqual(await rejectOf(other), { reason: "UserRejected" });
  equal(scene.book.has(bob), false);
}, { approved: [alice] });

deskTest("still asks a peer for the key that is not on the list", async (scene) => {
  await pairByKey(scene, await scene.link("bob"));
}, { approved: [alice] });

deskTest("takes sixteen messages of a stranger", async (scene) => {
  const client = await scene.link("alice");
  const confirm = encodePairConfirm({ keyConfirmation: new Uint8Array(32) });
  for (let n = 0; n < 16; n++) client.send(MessageType.PairConfirm, confirm);
  await scene.settle();
  equal(client.recorder.ended, undefined);
  client.send(MessageType.PairConfirm, confirm);
  equal(await client.recorder.end(), "not-paired");
});

deskTest("gives a stranger thirty seconds", async (scene) => {
  const client = await scene.link("alice");
  scene.time.pass(29_999);
  await scene.settle();
  equal(client.recorder.ended, undefined);
  scene.time.pass(1);
  equal(await client.recorder.end(), "timeout");
});

deskTest("lets silent strangers of one source hold up nobody", async (scene) => {
  const silent: Client[] = [];
  for (let n = 0; n < 40; n++) silent.push(await scene.link("mallory"));
  equal(await silent[7]!.recorder.end(), "not-paired", "the eight that came first had to go");
  await scene.settle();
  deepEqual(silent.slice(8).map(({ recorder }) => recorder.ended), new Array(32).fill(undefined));
  await pairByKey(scene, await scene.link("alice"));
  await pairByKey(scene, await scene.link("bob", { source: "192.0.2.2" }));
});

deskTest("does not end a stranger that speaks for ones that are silent", async (scene) => {
  const client = await scene.link("alice");
  const respondLater = await respond(scene, client);
  for (let n = 0; n < 40; n++) await scene.link("mallory");
  respondLater();
  await client.recorder.payload(MessageType.PairConfirm);
});

deskTest("has room for a hundred and twenty-eight strangers of all sources", async (scene) => {
  const clients: Client[] = [];
  for (let n = 0; n < 128; n++) {
    clients.push(await scene.link(`stranger ${n % 4}`, { source: `192.0.2.${n % 5}` }));
  }
  await pairByKey(scene, await scene.link("alice", { source: "192.0.2.9" }));
  const ended = clients.filter(({ recorder }) => recorder.ended !== undefined);
  deepEqual(ended, [clients[0]], "the oldest of the source that has most");
});

deskTest("takes twenty requests of a source at once, and two more a second", async (scene) => {
  const sendTo = async (count: number) => {
    const client = await scene.link("alice");
    for (let n = 0; n < count; n++) {
      client.send(MessageType.PairRequest, encodePairRequest(approvedBy(client, scene).request));
    }
    await client.recorder.payload(MessageType.PairReject, count);
    client.close();
    return client.recorder.payloads(MessageType.PairReject).map((each) => decodePairReject(each));
  };
  const reasons = [...await sendTo(15), ...await sendTo(10)].map(({ reason }) => reason);
  deepEqual(reasons.map((reason) => reason === "RateLimited"), [
    ...new Array(20).fill(false),
    ...new Array(5).fill(true),
  ]);
  scene.time.pass(SECOND);
  const later = await sendTo(3);
  deepEqual(later.map(({ reason }) => reason), ["UserRejected", "UserRejected", "RateLimited"]);
});

deskTest("tells its operator of failures, but not of each in a flood", async (scene) => {
  let told = 0;
  scene.pairing.subscribe(({ kind }) => {
    if (kind === "attempt-failed") told++;
  });
  const fail = async (label: string) => {
    // Over signaling there are as many Peer IDs as somebody likes to make.
    const client = await scene.link(label, { source: "signaling contact" });
    equal((await refusal(scene, client, WRONG)).reason, "AuthenticationFailed");
  };
  for (let n = 0; n < 40; n++) await fail(`mallory ${n}`);
  equal(told, 30);
  scene.time.pass(5 * SECOND);
  await fail("mallory");
  equal(told, 31);
});

deskTest("pairs a hundred new peers an hour", async (scene) => {
  for (let n = 0; n < 100; n++) {
    await pairApproved(await scene.link(`peer ${n}`, { source: `192.0.2.${n % 10}` }), scene);
  }
  const late = await scene.link("peer 100", { source: "192.0.2.9" });
  late.send(MessageType.PairRequest, encodePairRequest(approvedBy(late, scene).request));
  deepEqual(await rejectOf(late), { reason: "RateLimited", retryAfter: 3_600 });
  late.close();
  scene.time.pass(3_600 * SECOND);
  await scene.settle();
  await pairApproved(await scene.link("peer 100"), scene);
}, { approved: Array.from({ length: 101 }, (_, n) => identityFor(`peer ${n}`).peerId) });

deskTest("pairs a peer again that did not get the confirmation", async (scene) => {
  await scene.know("alice");
  const before = scene.book.get(alice)?.secret;
  const unlucky = await scene.link("alice");
  const initiator = await respond(scene, unlucky);
  unlucky.cable.hold("far");
  initiator();
  await scene.settle();
  unlucky.cable.cut();
  const unheard = scene.book.get(alice)?.secret;
  notDeepEqual(unheard, before);
  deepEqual(scene.book.get(alice)?.previousSecrets, [before], "the one in use is not thrown away");

  const secret = await pairByKey(scene, await scene.link("alice"));
  notDeepEqual(secret, unheard);
  deepEqual(scene.book.get(alice)?.secret, secret);
});

deskTest("pairs a stranger again that did not get the confirmation", async (scene) => {
  const unlucky = await scene.link("alice");
  const initiator = await respond(scene, unlucky);
  unlucky.cable.hold("far");
  initiator();
  await scene.settle();
  unlucky.cable.cut();
  equal(scene.book.has(alice), true, "the acceptor has recorded it");
  const secret = await pairByKey(scene, await scene.link("alice"));
  deepEqual(scene.book.get(alice)?.secret, secret);
});

deskTest("does not confirm what it could not record", async (scene) => {
  const client = await scene.link("alice");
  const initiator = await respond(scene, client);
  scene.commit.dieAfter(0);
  initiator();
  equal(await client.recorder.end(), "going-away");
  deepEqual(client.recorder.payloads(MessageType.PairConfirm), []);
  equal(scene.book.has(alice), false);
  scene.commit.dieAfter(Infinity);
  await pairByKey(scene, await scene.link("alice"));
});

deskTest("does not give an approved peer a secret that it could not record", async (scene) => {
  const client = await scene.link("alice");
  scene.commit.dieAfter(0);
  client.send(MessageType.PairRequest, encodePairRequest(approvedBy(client, scene).request));
  equal(await client.recorder.end(), "going-away");
  deepEqual(client.recorder.payloads(MessageType.PairConfirm), []);
  scene.commit.dieAfter(Infinity);
}, { approved: [alice] });

deskTest("ends a link that breaks the protocol of pairing", async (scene) => {
  const response = encodePairResponse({ keyConfirmation: new Uint8Array(32) });
  const breaches: [string, (client: Client) => void][] = [
    ["response without a request", (client) => client.send(MessageType.PairResponse, response)],
    ["challenge from an initiator", (client) => client.send(MessageType.PairChallenge, response)],
    ["garbage", (client) => client.send(MessageType.PairRequest, utf8("garbage"))],
    ["request for another peer", (client) => {
      const { request } = initiatorOf(client, scene, PSK);
      client.send(MessageType.PairRequest, encodePairRequest({ ...request, peerId: bob }));
    }],
    ["request without a SPAKE2 message", (client) => {
      const { request } = initiatorOf(client, scene, PSK);
      client.send(MessageType.PairRequest, encodePairRequest({ ...request, pakeMsg: null }));
    }],
  ];
  for (const [what, breach] of breaches) {
    const client = await scene.link("alice");
    breach(client);
    equal(await client.recorder.end(), "protocol-error", what);
  }
});

deskTest("checks a response once", async (scene) => {
  const client = await scene.link("alice");
  await refusal(scene, client, WRONG);
  const response = encodePairResponse({ keyConfirmation: new Uint8Array(32) });
  client.send(MessageType.PairResponse, response);
  equal(await client.recorder.end(), "protocol-error");
});

deskTest("does not pair over another link than the one that was asked on", async (scene) => {
  const [first, second] = [await scene.link("alice"), await scene.link("alice")];
  const initiator = initiatorOf(first, scene, PSK);
  first.send(MessageType.PairRequest, encodePairRequest(initiator.request));
  // A relay in the middle asks the same on its own link and passes the proof along.
  second.send(MessageType.PairRequest, encodePairRequest(initiator.request));
  const challenge = await second.recorder.payload(MessageType.PairChallenge);
  const response = encodePairResponse(initiator.answer(decodePairChallenge(challenge)));
  second.send(MessageType.PairResponse, response);
  equal((await rejectOf(second)).reason, "AuthenticationFailed");
  equal(scene.book.has(alice), false);
});

deskTest("tells the strangers when the server goes", async (scene) => {
  const client = await scene.link("alice");
  scene.pairing.close();
  equal(await client.recorder.end(), "going-away");
});

function channelOf({ self, recorder: { link } }: Client, scene: ServerScene): PairingChannel {
  return { self, remote: scene.peerId, handshakeHash: link.handshakeHash };
}

function initiatorOf(
  client: Client,
  scene: ServerScene,
  psk: string,
): PairingInitiator {
  return new PairingInitiator(channelOf(client, scene), { kind: "psk", secret: utf8(psk) }, {
    nonce: scene.time.random(16),
    scalar: scene.time.random(64),
  });
}

function approvedBy(client: Client, scene: ServerScene): ApprovedInitiator {
  return new ApprovedInitiator(channelOf(client, scene), scene.time.random(16));
}

/** Goes as far as the response; what is returned sends it. */
async function respond(scene: ServerScene, client: Client): Promise<() => void> {
  const initiator = initiatorOf(client, scene, PSK);
  client.send(MessageType.PairRequest, encodePairRequest(initiator.request));
  const challenge = await client.recorder.payload(MessageType.PairChallenge);
  const response = initiator.answer(decodePairChallenge(challenge));
  return () => client.send(MessageType.PairResponse, encodePairResponse(response));
}

/** Pairs and returns the secret as the initiator has it. */
async function pairByKey(scene: ServerScene, client: Client): Promise<Uint8Array> {
  const initiator = initiatorOf(client, scene, PSK);
  client.send(MessageType.PairRequest, encodePairRequest(initiator.request));
  const challenge = await client.recorder.payload(MessageType.PairChallenge);
  const response = initiator.answer(decodePairChallenge(challenge));
  client.send(MessageType.PairResponse, encodePairResponse(response));
  const confirm = decodePairConfirm(await client.recorder.payload(MessageType.PairConfirm));
  equal(confirm.pairingSecret, undefined, "this secret never travels");
  const { pairingSecret, reply } = initiator.finish(confirm);
  client.send(MessageType.PairConfirm, encodePairConfirm(reply));
  await scene.settle();
  return pairingSecret;
}

async function pairApproved(client: Client, scene: ServerScene): Promise<Uint8Array> {
  const initiator = approvedBy(client, scene);
  client.send(MessageType.PairRequest, encodePairRequest(initiator.request));
  const confirm = decodePairConfirm(await client.recorder.payload(MessageType.PairConfirm));
  const { pairingSecret } = initiator.finish(confirm);
  client.close();
  return pairingSecret;
}

/** What a peer is told that tries `psk`. */
async function refusal(scene: ServerScene, client: Client, psk: string): Promise<PairReject> {
  const initiator = initiatorOf(client, scene, psk);
  client.send(MessageType.PairRequest, encodePairRequest(initiator.request));
  const { recorder } = client;
  await recorder.until(() =>
    recorder.payloads(MessageType.PairReject).length > 0 ||
    recorder.payloads(MessageType.PairChallenge).length > 0
  );
  const [challenge] = recorder.payloads(MessageType.PairChallenge);
  if (challenge) {
    const response = initiator.answer(decodePairChallenge(challenge));
    client.send(MessageType.PairResponse, encodePairResponse(response));
  }
  const reject = await rejectOf(client);
  ok(recorder.payloads(MessageType.PairConfirm).length === 0);
  return reject;
}

async function rejectOf({ recorder }: Client): Promise<PairReject> {
  return decodePairReject(await recorder.payload(MessageType.PairReject));
}
