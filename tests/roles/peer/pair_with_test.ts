import { deepEqual, equal, match, notDeepEqual, ok, rejects } from "node:assert/strict";
import { utf8 } from "../../../src/base/bytes.ts";
import { CairnError } from "../../../src/base/errors.ts";
import type { PeerId } from "../../../src/protocol/crypto/peer_id.ts";
import { PeerBook } from "../../../src/roles/peer_book.ts";
import { turns } from "../../support/fake_time.ts";
import { identityFor } from "../../support/identities.ts";
import type { SignalHub } from "../../support/signal_hub.ts";
import { labelBeside, PSK, type ServerScene, type ServerSettings } from "../server/links_scene.ts";
import { request } from "../server/mailbox_scene.ts";
import { type Joiner, PairingScene } from "./pairing_scene.ts";

const alice = identityFor("alice").peerId;
const bob = identityFor("bob").peerId;
/** How to pair with the server of the scene. */
type Proof = { mechanism: "psk"; credential: Uint8Array } | { mechanism: "approved" };
const BY_KEY: Proof = { mechanism: "psk", credential: utf8(PSK) };

/** Alice pairs with a server through signaling. */
class Scene implements AsyncDisposable {
  private constructor(readonly scene: PairingScene, readonly joiner: Joiner) {}

  static async open(settings: ServerSettings = {}): Promise<Scene> {
    const scene = await PairingScene.open(settings);
    return new Scene(scene, await scene.joiner("alice"));
  }

  get server(): ServerScene {
    return this.scene.server;
  }

  get hubs(): SignalHub[] {
    return this.scene.hubs;
  }

  get hub(): SignalHub {
    return this.scene.hub;
  }

  pair(
    proof: Proof = BY_KEY,
    options: { hubs?: SignalHub[]; signal?: AbortSignal } = {},
  ): Promise<PeerId> {
    return this.joiner.pair({ ...proof, acceptor: this.server.peerId }, options);
  }

  secrets() {
    return this.joiner.secrets();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.scene[Symbol.asyncDispose]();
  }
}

function pairTest(
  name: string,
  story: (scene: Scene) => Promise<void>,
  settings: ServerSettings = {},
): void {
  Deno.test(`pairWith() ${name}`, async () => {
    await using scene = await Scene.open(settings);
    await story(scene);
  });
}

pairTest("gives both sides one secret, on disk", async (scene) => {
  await scene.pair();
  const { ours, theirs } = scene.secrets();
  ok(ours);
  deepEqual(ours, theirs);
  const later = await PeerBook.open(scene.joiner.kv, scene.joiner.commit);
  deepEqual(later.get(scene.server.peerId)?.secret, ours);
  equal(later.get(scene.server.peerId)?.mechanism, "psk");
});

pairTest("does not take a peer for a server", async (scene) => {
  await rejects(scene.scene.during(scene.pair()), {
    code: "pairing-failed",
    message: /is a peer and no server/,
  });
  deepEqual(scene.joiner.book.list(), []);
}, { capabilities: ["receive"] });

pairTest("pairs without a key when the other side has the peer on its list", async (scene) => {
  await scene.pair({ mechanism: "approved" });
  const { ours, theirs } = scene.secrets();
  ok(ours);
  deepEqual(ours, theirs);
}, { approved: [alice] });

pairTest("says what is wrong when it is refused", async (scene) => {
  const failures: [Proof, RegExp][] = [
    [{ mechanism: "psk", credential: utf8("not the key of this server") }, /key was refused.*2 s/],
    [BY_KEY, /Too many pairing attempts.*2 s/],
  ];
  for (const [proof, sentence] of failures) await rejectsWith(scene.pair(proof), sentence);
  scene.server.time.pass(2_000);
  await rejectsWith(scene.pair({ mechanism: "approved" }), /not on the other side's list/);
  deepEqual(scene.secrets(), { ours: undefined, theirs: undefined });
});

pairTest("does not confirm to the other side what it could not record", async (scene) => {
  scene.joiner.commit.dieAfter(0);
  await rejects(scene.pair());
  scene.joiner.commit.dieAfter(Infinity);
  equal(scene.secrets().ours, undefined);
  await scene.pair();
  deepEqual(scene.secrets().ours, scene.secrets().theirs);
});

pairTest("is repeated after a lost confirmation, and both end with one secret", async (scene) => {
  const giveUp = new AbortController();
  // The server's third payload carries its confirmation.
  let answers = 0;
  scene.hub.passes = ({ from }) => {
    const isServer = from !== scene.hub.relayed[0]?.from;
    return !isServer || ++answers < 3;
  };
  const first = scene.pair(BY_KEY, { signal: giveUp.signal });
  await scene.server.settle();
  const { ours, theirs } = scene.secrets();
  equal(ours, undefined);
  ok(theirs, "the server has recorded it");
  giveUp.abort();
  await rejectsWith(first, /took too long/);

  scene.hub.passes = () => true;
  await scene.pair();
  notDeepEqual(scene.secrets().theirs, theirs);
  deepEqual(scene.secrets().ours, scene.secrets().theirs);
});

pairTest(
  "asks through one of several signaling servers, and the others only after a while",
  async (scene) => {
    await scene.pair(BY_KEY, { hubs: scene.hubs });
    deepEqual(scene.secrets().ours, scene.secrets().theirs);
    equal(scene.scene.attempts, 1, "the peer answered through the first");
  },
);

pairTest("does not take the deliveries of a link that listens", async (scene) => {
  await scene.pair();
  scene.hub.relayed.length = 0;
  await scene.server.know("bob");
  const listener = await scene.server.link("alice", { receive: true });
  // Nothing of the server arrives after the handshake: the link for pairing stays.
  let answers = 0;
  scene.hub.passes = ({ from }) => from === scene.hub.relayed[0]?.from || ++answers < 2;
  const giveUp = new AbortController();
  const pairing = scene.pair(BY_KEY, { signal: giveUp.signal });
  await scene.server.settle();
  await scene.server.desk?.forward(bob, request(alice, 1));
  await listener.untilDelivered(1);
  equal(listener.recorder.ended, undefined);
  giveUp.abort();
  await rejects(pairing, CairnError);
}, { label: labelBeside("alice", "above") });

pairTest("finds nobody when nobody answers", async (scene) => {
  scene.hub.passes = (_, index) => index === 0;
  const attempt = scene.pair();
  await turns();
  scene.server.time.pass(10_000);
  await rejects(attempt, (error) => {
    ok(error instanceof CairnError && error.code === "unreachable");
    match(error.message, /did not answer through the signaling server/);
    return true;
  });
  await rejects(scene.pair(BY_KEY, { hubs: [] }), isCode("unreachable"));
});

pairTest("ends when the other side hangs up", async (scene) => {
  // The server's second payload is the challenge: it is lost, and then the server goes.
  let answers = 0;
  scene.hub.passes = ({ from }) => from === scene.hub.relayed[0]?.from || ++answers !== 2;
  const attempt = scene.pair();
  await scene.server.settle();
  scene.server.pairing.close();
  await rejects(attempt, isCode("pairing-failed"));
});

pairTest("can be given up, before and while it runs", async (scene) => {
  await rejects(scene.pair(BY_KEY, { signal: AbortSignal.abort() }), CairnError);
  scene.hub.relayed.length = 0;
  let answers = 0;
  scene.hub.passes = ({ from }) => from === scene.hub.relayed[0]?.from || ++answers !== 2;
  const giveUp = new AbortController();
  const attempt = scene.pair(BY_KEY, { signal: giveUp.signal });
  await scene.server.settle();
  giveUp.abort();
  await rejects(attempt, isCode("timeout"));
});

async function rejectsWith(attempt: Promise<unknown>, sentence: RegExp): Promise<void> {
  await rejects(attempt, (error) => {
    ok(error instanceof CairnError, String(error));
    match(error.message, sentence);
    return true;
  });
}

function isCode(code: string) {
  return (error: unknown) => error instanceof CairnError && error.code === code;
}
