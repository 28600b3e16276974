import { deepEqual, equal, ok } from "node:assert/strict";
import { fromUtf8, utf8 } from "../../../src/base/bytes.ts";
import {
  decodeForwardAck,
  decodeMailboxStatus,
  decodeSequenceReport,
  encodeForwardRequest,
  encodeReceiptAck,
  encodeSequenceQuery,
} from "../../../src/protocol/forward_messages.ts";
import { MessageType } from "../../../src/protocol/message_types.ts";
import { encodePairConfirm, encodePairRevoke } from "../../../src/protocol/pairing_messages.ts";
import {
  decodePrekeyBundle,
  encodePrekeyFetch,
  encodePrekeyPublish,
} from "../../../src/protocol/prekey_messages.ts";
import {
  decodeVersionNegotiate,
  encodeVersionNegotiate,
} from "../../../src/protocol/session_messages.ts";
import { PeerBook } from "../../../src/roles/peer_book.ts";
import { identityFor, prekeysFor } from "../../support/identities.ts";
import { SocketPair } from "../../support/socket_pair.ts";
import { type Client, labelBeside, ServerScene, type ServerSettings } from "./links_scene.ts";
import { request } from "./mailbox_scene.ts";

const [alice, bob] = [identityFor("alice").peerId, identityFor("bob").peerId];

function linksTest(
  name: string,
  story: (scene: ServerScene) => Promise<void>,
  settings: ServerSettings = {},
): void {
  Deno.test(`PeerLinks ${name}`, async () => {
    await using scene = await ServerScene.open(settings);
    await scene.know("alice", "bob");
    await story(scene);
  });
}

linksTest("tell a paired peer how its mailbox stands", async (scene) => {
  const client = await scene.link("alice", { receive: true });
  const { recorder } = client;
  const status = decodeMailboxStatus(await recorder.payload(MessageType.MailboxStatus));
  deepEqual(status, {
    storeId: scene.storeId,
    oneTimePrekeysLeft: 0,
    signedPrekeyId: null,
    largestBody: 1_000_000,
    retentionSeconds: 604_800,
  });
  equal((await recorder.payload(MessageType.MailboxDrained)).length, 0);
  equal(scene.links.isConnected(alice), true);
  equal(scene.links.isConnected(bob), false);
  client.close();
  await scene.settle();
  equal(scene.links.isConnected(alice), false);
  equal(scene.book.get(alice)?.lastSeen, scene.time.now());
});

linksTest("serve nothing but pairing to a peer that is not paired", async (scene) => {
  const types = [
    MessageType.ForwardRequest,
    MessageType.PrekeyFetch,
    MessageType.SequenceQuery,
    MessageType.ForwardPurge,
    MessageType.PairRevoke,
    0x7777,
  ];
  for (const type of types) {
    const stranger = await scene.link("mallory");
    stranger.send(type, encodeForwardRequest(request(bob, 1)));
    equal(await stranger.recorder.end(), "not-paired", `type ${type}`);
    deepEqual(stranger.recorder.envelopes, [], "not even the status");
  }
  equal(scene.desk?.totals().messages, 0);
  const large = await scene.link("mallory");
  large.send(MessageType.PairRequest, new Uint8Array(4_096));
  equal(await large.recorder.end(), "too-large");
});

linksTest("take messages, deliver them, and bring the receipt", async (scene) => {
  const sender = await scene.link("alice");
  const reader = await scene.link("bob", { receive: true });
  const message = request(bob, 1, "hello");
  const ack = await sender.forward(message);
  deepEqual([ack.accepted, ack.rejectionReason], [true, null]);
  const [delivery] = await reader.untilDelivered(1);
  equal(delivery?.sender.toString(), alice.toString());
  equal(fromUtf8(delivery!.encryptedPayload), "hello");
  reader.purge(delivery!);
  await reader.recorder.payload(MessageType.MailboxDrained, 2);
  const receipt = decodeForwardAck(await sender.recorder.payload(MessageType.ForwardAck, 2));
  deepEqual([receipt.msgId, receipt.delivered], [message.msgId, true]);

  sender.close();
  const again = await scene.link("alice");
  deepEqual(decodeForwardAck(await again.recorder.payload(MessageType.ForwardAck)), receipt);
  again.send(MessageType.ReceiptAck, encodeReceiptAck({ msgIds: [message.msgId] }));
  await scene.settle();
  again.close();
  const last = await scene.link("alice");
  await last.recorder.payload(MessageType.MailboxStatus);
  await scene.settle();
  deepEqual(last.acks(), []);
});

linksTest("say how many messages they have taken", async (scene) => {
  const client = await scene.link("alice");
  const ask = async (count: number) => {
    client.send(MessageType.SequenceQuery, encodeSequenceQuery({ recipient: bob }));
    const report = await client.recorder.payload(MessageType.SequenceReport, count);
    return decodeSequenceReport(report).lastSequence;
  };
  equal(await ask(1), 0);
  await client.forward(request(bob, 1));
  await client.forward(request(bob, 2));
  equal(await ask(2), 2);
});

linksTest("begin anew behind a refused message on the next link", async (scene) => {
  const first = await scene.link("alice");
  await first.forward(request(bob, 1));
  const gap = await first.forward(request(bob, 1_200));
  ok(gap.rejectionReason?.startsWith("sequence gap"));
  first.close();
  const second = await scene.link("alice");
  equal((await second.forward(request(bob, 1_001))).accepted, true);
});

linksTest("keep the keys that a peer publishes and give them to the others", async (scene) => {
  const reader = await scene.link("bob", { receive: true });
  const keys = prekeysFor("bob", scene.time.now());
  reader.send(
    MessageType.PrekeyPublish,
    encodePrekeyPublish({
      signedPart: keys.signedPart,
      signature: keys.signature,
      oneTimePrekeys: [{ id: 8, publicKey: keys.oneTimePrekey.pair.publicKey }],
      replaceAll: true,
    }),
  );
  const status = await reader.recorder.payload(MessageType.MailboxStatus, 2);
  equal(decodeMailboxStatus(status).oneTimePrekeysLeft, 1);
  equal(decodeMailboxStatus(status).signedPrekeyId, 7);

  const sender = await scene.link("alice");
  sender.send(MessageType.PrekeyFetch, encodePrekeyFetch({ peerId: bob }));
  const bundle = decodePrekeyBundle(await sender.recorder.payload(MessageType.PrekeyBundle));
  deepEqual([bundle.signedPart, bundle.oneTimePrekey?.id], [keys.signedPart, 8]);
  const stranger = identityFor("mallory").peerId;
  sender.send(MessageType.PrekeyFetch, encodePrekeyFetch({ peerId: stranger }));
  const none = decodePrekeyBundle(await sender.recorder.payload(MessageType.PrekeyBundle, 2));
  equal(none.reason, "recipient is not a paired peer");
});

linksTest("end a link whose peer publishes keys that are not its own", async (scene) => {
  const client = await scene.link("alice");
  const { signedPart, signature } = prekeysFor("bob", scene.time.now());
  const publication = { signedPart, signature, oneTimePrekeys: [], replaceAll: true };
  client.send(MessageType.PrekeyPublish, encodePrekeyPublish(publication));
  equal(await client.recorder.end(), "protocol-error");
});

linksTest("deliver on the newest link that wants deliveries", async (scene) => {
  const older = await scene.link("bob", { receive: true });
  await scene.desk?.forward(alice, request(bob, 1, "1"));
  await older.untilDelivered(1);

  const sending = await scene.link("bob");
  await scene.desk?.forward(alice, request(bob, 2, "2"));
  deepEqual(textsOf(await older.untilDelivered(2)), ["1", "2"]);
  deepEqual(textsOf(sending.deliveries()), [], "a link without `receive` takes none");

  const newer = await scene.link("bob", { receive: true });
  deepEqual(textsOf(await newer.untilDelivered(2)), ["1", "2"], "what was not purged comes again");
  await scene.desk?.forward(alice, request(bob, 3, "3"));
  deepEqual(textsOf(await newer.untilDelivered(3)), ["1", "2", "3"]);
  newer.purge(newer.deliveries()[0]!);
  await scene.settle();
  equal(older.deliveries().length, 2);

  newer.close();
  deepEqual(textsOf((await older.untilDelivered(4)).slice(2)), ["2", "3"]);
  await scene.desk?.forward(alice, request(bob, 4, "4"));
  await older.untilDelivered(5);
  deepEqual(textsOf(sending.deliveries()), []);
}, { label: labelBeside("bob", "above") });

linksTest("take a purge from a link that no longer has the deliveries", async (scene) => {
  const older = await scene.link("bob", { receive: true });
  await scene.desk?.forward(alice, request(bob, 1));
  const [delivery] = await older.untilDelivered(1);
  const newer = await scene.link("bob", { receive: true });
  await newer.untilDelivered(1);
  older.purge(delivery!);
  await newer.recorder.payload(MessageType.MailboxDrained);
  equal(scene.desk?.totals().messages, 0);
}, { label: labelBeside("bob", "above") });

linksTest("deliver nothing when only a sender is left", async (scene) => {
  const sending = await scene.link("bob");
  const reader = await scene.link("bob", { receive: true });
  reader.close();
  await scene.settle();
  await scene.desk?.forward(alice, request(bob, 1));
  await scene.settle();
  deepEqual(sending.deliveries(), []);
}, { label: labelBeside("bob", "above") });

linksTest("of a server with the lower id replace the older one", async (scene) => {
  const [first, second] = [await scene.link("bob"), await scene.link("bob", { receive: true })];
  equal(await first.recorder.end(), "replaced");
  equal(second.recorder.ended, undefined);
  equal(scene.links.isConnected(bob), true);
}, { label: labelBeside("bob", "below") });

linksTest("answer what was asked on a link before they replace it", async (scene) => {
  const first = await scene.link("alice");
  const message = request(bob, 1);
  first.send(MessageType.ForwardRequest, encodeForwardRequest(message));
  await scene.link("alice");
  equal(await first.recorder.end(), "replaced");
  deepEqual(first.acks().map(({ msgId, accepted }) => [msgId, accepted]), [[message.msgId, true]]);
}, { label: labelBeside("alice", "below") });

linksTest("of one peer are four at most", async (scene) => {
  const clients: Client[] = [];
  for (let n = 0; n < 6; n++) {
    clients.push(await scene.link("alice"));
    await scene.settle();
  }
  deepEqual(clients.map(({ recorder }) => recorder.ended), [
    "replaced",
    "replaced",
    undefined,
    undefined,
    undefined,
    undefined,
  ]);
}, { label: labelBeside("alice", "above") });

linksTest("end one by one when a peer breaks the protocol", async (scene) => {
  const breaches: [string, (client: Client) => void][] = [
    ["malformed request", (client) => client.send(MessageType.ForwardRequest, utf8("garbage"))],
    ["malformed purge", (client) => client.send(MessageType.ForwardPurge, utf8("garbage"))],
    ["damaged frame", (client) => client.cable.near.send(utf8("garbage"))],
  ];
  const witness = await scene.link("bob");
  for (const [what, breach] of breaches) {
    const client = await scene.link("alice");
    breach(client);
    equal(await client.recorder.end(), "protocol-error", what);
  }
  equal((await witness.forward(request(alice, 1))).accepted, true);
});

linksTest("end when a peer leaves too many requests unanswered", async (scene) => {
  const client = await scene.link("alice");
  for (let n = 1; n <= 1_025; n++) {
    client.send(MessageType.ForwardRequest, encodeForwardRequest(request(bob, n)));
  }
  equal(await client.recorder.end(), "protocol-error");
});

linksTest("end in order when the server cannot do what was asked", async (scene) => {
  const client = await scene.link("bob");
  await client.recorder.payload(MessageType.MailboxStatus);
  await scene.settle();
  const { signedPart, signature } = prekeysFor("bob", scene.time.now());
  scene.commit.dieAfter(0);
  const publication = { signedPart, signature, oneTimePrekeys: [], replaceAll: true };
  client.send(MessageType.PrekeyPublish, encodePrekeyPublish(publication));
  equal(await client.recorder.end(), "going-away");
  await scene.settle();
  scene.commit.dieAfter(Infinity);
});

linksTest("say so when forwarding is switched off", async (scene) => {
  const client = await scene.link("alice", { receive: true });
  const { accepted, rejectionReason } = await client.forward(request(bob, 1));
  deepEqual([accepted, rejectionReason], [false, "forwarding is switched off"]);
  client.send(MessageType.SequenceQuery, encodeSequenceQuery({ recipient: bob }));
  const report = await client.recorder.payload(MessageType.SequenceReport);
  equal(decodeSequenceReport(report).lastSequence, 0);
}, { forward: false });

linksTest("agree on a version", async (scene) => {
  const client = await scene.link("alice");
  client.send(MessageType.VersionNegotiate, encodeVersionNegotiate({ versions: [2, 1] }));
  const answer = await client.recorder.payload(MessageType.VersionNegotiate);
  deepEqual(decodeVersionNegotiate(answer).versions, [1]);
  client.send(MessageType.VersionNegotiate, encodeVersionNegotiate({ versions: [2] }));
  equal(await client.recorder.end(), "protocol-error");
});

linksTest("take sixteen pairing messages from a paired peer", async (scene) => {
  const client = await scene.link("alice");
  const confirm = encodePairConfirm({ keyConfirmation: new Uint8Array(32) });
  for (let n = 0; n < 16; n++) client.send(MessageType.PairConfirm, confirm);
  await scene.settle();
  equal(client.recorder.ended, undefined);
  client.send(MessageType.PairConfirm, confirm);
  equal(await client.recorder.end(), "protocol-error");
});

linksTest("give up the oldest of sixty-four handshakes of one source", async (scene) => {
  const idle = Array.from({ length: 65 }, () => new SocketPair());
  const attempts = idle.map((cable) => scene.links.accept(cable.far, "192.0.2.66"));
  const ended: number[] = [];
  idle.forEach((cable, index) => cable.near.onClose = () => ended.push(index));
  await scene.settle();
  deepEqual(ended, [0]);
  const client = await scene.link("alice", { source: "192.0.2.66" });
  equal((await client.forward(request(bob, 1))).accepted, true);
  await scene.links.close();
  await Promise.all(attempts);
});

linksTest("do not let a peer revoke the pairing of another", async (scene) => {
  const client = await scene.link("alice");
  client.send(MessageType.PairRevoke, encodePairRevoke({ peerId: bob }));
  equal(await client.recorder.end(), "protocol-error");
  await scene.settle();
  ok(scene.book.has(alice) && scene.book.has(bob));
});

linksTest("of a peer that revokes its pairing end, and nothing of it stays", async (scene) => {
  const sender = await scene.link("alice");
  await sender.forward(request(bob, 1));
  const keys = prekeysFor("bob", scene.time.now());
  await scene.shelf.publish(bob, { ...keys, oneTimePrekeys: [], replaceAll: true });
  const clients = [await scene.link("bob", { receive: true }), await scene.link("bob")];
  clients[1]!.send(MessageType.PairRevoke, encodePairRevoke({ peerId: bob }));
  for (const { recorder } of clients) equal(await recorder.end(), "unpaired");

  equal(scene.book.has(bob), false);
  equal(scene.desk?.totals().messages, 0);
  deepEqual(scene.shelf.status(bob), { oneTimeLeft: 0, signedPrekeyId: null });
  const receipt = decodeForwardAck(await sender.recorder.payload(MessageType.ForwardAck, 2));
  deepEqual([receipt.delivered, receipt.rejectionReason], [false, "recipient was unpaired"]);
  equal((await sender.forward(request(bob, 2))).rejectionReason, "recipient is not a paired peer");
  const back = await scene.link("bob", { receive: true });
  back.send(MessageType.SequenceQuery, encodeSequenceQuery({ recipient: alice }));
  equal(await back.recorder.end(), "not-paired");
}, { label: labelBeside("bob", "above") });

linksTest("of a peer that revokes and hangs up at once do not bring it back", async (scene) => {
  const client = await scene.link("bob", { receive: true });
  client.send(MessageType.PairRevoke, encodePairRevoke({ peerId: bob }));
  client.close();
  await scene.settle();
  equal(scene.book.has(bob), false);
  equal((await PeerBook.open(scene.kv, scene.commit)).has(bob), false);
});

linksTest("that end while they begin are not taken for connected", async (scene) => {
  for (const label of ["alice", "mallory"]) {
    const cable = new SocketPair();
    const client = scene.link(label, { receive: true, cable });
    // The last handshake message and the farewell arrive together.
    cable.pass = (frame, from) => {
      if (from === "near" && cable.sent.near.length === 2) cable.hold("near");
      return frame;
    };
    await scene.settle();
    cable.near.close(1000, "");
    cable.release("near");
    await client;
    await scene.settle();
    equal(scene.links.isConnected(identityFor(label).peerId), false, label);
  }
  await scene.desk?.forward(bob, request(alice, 1));
  const reader = await scene.link("alice", { receive: true });
  await reader.untilDelivered(1);
});

linksTest("are all told when the server goes", async (scene) => {
  const clients = [await scene.link("alice"), await scene.link("bob", { receive: true })];
  clients[0]!.send(MessageType.ForwardRequest, encodeForwardRequest(request(bob, 1)));
  await scene.settle();
  await scene.links.close();
  for (const { recorder } of clients) equal(await recorder.end(), "going-away");
  equal(clients[0]!.acks()[0]?.accepted, true);
  const cable = new SocketPair();
  await scene.links.accept(cable.near, "192.0.2.1");
  equal(cable.sent.near.length, 0, "and no new ones are taken");
});

linksTest("can be ended by the operator, with the reason", async (scene) => {
  const client = await scene.link("alice");
  scene.links.disconnect(alice, "unpaired");
  scene.links.disconnect(bob, "unpaired");
  equal(await client.recorder.end(), "unpaired");
});

linksTest("pause deliveries while much waits in a carrier", async (scene) => {
  const cable = new SocketPair();
  const reader = await scene.link("bob", { receive: true, cable });
  await reader.recorder.payload(MessageType.MailboxDrained);
  cable.buffered.far = 3 * 1_048_576;
  await scene.desk?.forward(alice, request(bob, 1));
  await scene.settle();
  deepEqual(reader.deliveries(), []);
  cable.buffered.far = 0;
  reader.purge();
  await reader.untilDelivered(1);
});

function textsOf(deliveries: readonly { encryptedPayload: Uint8Array }[]): string[] {
  return deliveries.map(({ encryptedPayload }) => fromUtf8(encryptedPayload));
}
