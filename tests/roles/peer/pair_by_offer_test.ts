import { deepEqual, equal, match, notDeepEqual, ok, rejects } from "node:assert/strict";
import { CairnError } from "../../../src/base/errors.ts";
import { type Invitation, parsePairingLink } from "../../../src/protocol/pairing/invitation.ts";
import { parsePin, type Pin } from "../../../src/protocol/pairing/pin.ts";
import { linkOfQrCode } from "../../../src/roles/peer/pairing_way.ts";
import type { ServerScene } from "../server/links_scene.ts";
import { type Joiner, PairingScene } from "./pairing_scene.ts";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;

function offerTest(
  name: string,
  story: (scene: PairingScene, alice: Joiner) => Promise<void>,
): void {
  Deno.test(`Pairing ${name}`, async () => {
    await using scene = await PairingScene.open({
      hints: [{ type: "turn", value: "turn:a.test" }],
    });
    await story(scene, await scene.joiner("alice"));
  });
}

offerTest("by PIN finds the server, and gives both one secret", async (scene, alice) => {
  const offer = scene.server.operator.createPin();
  match(offer.pin, /^[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}$/);
  const server = await alice.pair(byPin(offer.pin));
  equal(server.toString(), scene.server.peerId.toString());
  const { ours, theirs } = alice.secrets();
  ok(ours);
  deepEqual(ours, theirs);
  equal(scene.server.book.get(alice.peerId)?.mechanism, "pin");
  const kept = alice.book.get(scene.server.peerId)?.signalServers;
  deepEqual(kept?.length, 1, "where it was found is where it is looked for again");
  const [shown] = scene.server.operator.offers();
  deepEqual([shown?.state, shown?.peerId?.toString()], ["paired", alice.peerId.toString()]);
});

offerTest("by link meets on a topic that only its holder knows", async (scene, alice) => {
  const offer = scene.server.operator.createLink();
  await alice.pair({ mechanism: "link", invitation: parsePairingLink(offer.uri) });
  deepEqual(alice.secrets().ours, alice.secrets().theirs);
  equal(alice.book.get(scene.server.peerId)?.mechanism, "link");
  equal(linkOfQrCode(offer.payload), offer.uri, "the QR code says the same");
  equal(linkOfQrCode(new Uint8Array([...offer.payload, 10])), offer.uri);
});

offerTest("by PIN is for one peer", async (scene, alice) => {
  const { pin } = scene.server.operator.createPin();
  await alice.pair(byPin(pin));
  const bob = await scene.joiner("bob");
  await fails(scene.during(bob.pair(byPin(pin))), /refused.*used.*another one made/);
  equal(scene.server.book.has(bob.peerId), false);
  equal(scene.server.operator.offers()[0]?.failures, 0, "nothing was guessed");
});

offerTest("by link is for one peer, and for five minutes", async (scene, alice) => {
  const bob = await scene.joiner("bob");
  const link = byLink(scene.server);
  await alice.pair(link);
  await fails(scene.during(bob.pair(link)), /link was refused; it may be used/);
  const late = byLink(scene.server);
  scene.server.time.pass(5 * MINUTE);
  await fails(scene.during(bob.pair(late)), /did not answer through the signaling server/);
  scene.server.time.pass(5 * MINUTE + SECOND);
  await fails(bob.pair(late), /link has expired/);
});

offerTest("by PIN ends after five minutes", async (scene, alice) => {
  const { pin } = scene.server.operator.createPin();
  scene.server.time.pass(5 * MINUTE - 10 * SECOND);
  equal(scene.hub.topics().length, 2, "the contact topic and the PIN's");
  scene.server.time.pass(10 * SECOND);
  equal(scene.hub.topics().length, 1);
  await fails(scene.during(alice.pair(byPin(pin))), /Nobody answers to this PIN.*expired/);
  equal(scene.server.operator.offers()[0]?.state, "expired");
});

offerTest(
  "by PIN refuses a wrong one with the reason, and takes the right one later",
  async (scene, alice) => {
    const { pin } = scene.server.operator.createPin();
    await fails(
      scene.during(alice.pair(byPin(mistyped(pin)))),
      /PIN was refused; try again in 2 s; it may be mistyped/,
    );
    equal(scene.server.operator.offers()[0]?.failures, 1);
    await scene.during(alice.pair(byPin(pin)));
    deepEqual(alice.secrets().ours, alice.secrets().theirs);
  },
);

offerTest(
  "by PIN is burned by ten wrong guesses: the eleventh, right, is refused",
  async (scene, alice) => {
    const { pin } = scene.server.operator.createPin();
    const mallory = await scene.joiner("mallory");
    for (let guess = 0; guess < 10; guess++) {
      await fails(scene.during(mallory.pair(byPin(mistyped(pin, guess)))), /PIN was refused/);
    }
    const [offer] = scene.server.operator.offers();
    deepEqual([offer?.state, offer?.failures], ["burned", 10]);
    await fails(scene.during(alice.pair(byPin(pin))), /Nobody answers to this PIN/);
    equal(scene.server.book.has(alice.peerId), false);
  },
);

offerTest("can be repeated by the peer that missed the confirmation", async (scene, alice) => {
  const { pin } = scene.server.operator.createPin();
  const isFromServer = new WeakSet<object>();
  let answers = 0;
  // The server's fourth payload carries its confirmation: its name, the handshake, the challenge.
  scene.hub.passes = ({ from, payload }) => {
    if (payload[16] === 1 || payload[16] === 5) isFromServer.add(from);
    return !isFromServer.has(from) || ++answers < 4;
  };
  const giveUp = new AbortController();
  const first = alice.pair(byPin(pin), { signal: giveUp.signal });
  await scene.server.settle();
  giveUp.abort();
  await fails(first, /took too long/);
  const unheard = alice.secrets().theirs;
  ok(unheard, "the server has recorded it");
  scene.hub.passes = () => true;
  const bob = await scene.joiner("bob");
  await fails(scene.during(bob.pair(byPin(pin))), /PIN was refused/);
  await scene.during(alice.pair(byPin(pin)));
  notDeepEqual(alice.secrets().theirs, unheard);
  deepEqual(alice.secrets().ours, alice.secrets().theirs);
  deepEqual(scene.server.book.get(alice.peerId)?.previousSecrets, [], "the new one is in use");
});

offerTest("that could not be recorded leaves the PIN open", async (scene, alice) => {
  const { pin } = scene.server.operator.createPin();
  scene.server.commit.dieAfter(0);
  await fails(scene.during(alice.pair(byPin(pin))), /ended the pairing/);
  scene.server.commit.dieAfter(Infinity);
  equal(scene.server.operator.offers()[0]?.state, "open");
  const bob = await scene.joiner("bob");
  await scene.during(bob.pair(byPin(pin)));
});

offerTest("by PIN finds the server among strangers that pose as it", async (scene, alice) => {
  const { pin } = scene.server.operator.createPin();
  const rivals = [await impostor(scene, "mallory", pin), await impostor(scene, "oscar", pin)];
  await scene.during(alice.pair(byPin(pin)));
  deepEqual(alice.secrets().ours, alice.secrets().theirs);
  for (const rival of rivals) equal(rival.book.has(alice.peerId), false);
});

offerTest("by PIN lets impostors test three guesses at most, and says so", async (scene, alice) => {
  const { pin } = scene.server.operator.createPin();
  const rivals: ServerScene[] = [];
  for (let n = 0; n < 6; n++) rivals.push(await impostor(scene, `mallory ${n}`, pin));
  // The server itself is not heard at all.
  const strangers = new Set<object>();
  scene.hub.passes = ({ from, payload }) => {
    if (payload[16] === 5 && strangers.size === 0) strangers.add(from);
    return !strangers.has(from);
  };
  await fails(
    scene.during(alice.pair(byPin(pin))),
    /PIN was refused|does not know this PIN.*somebody else answers/,
  );
  const guesses = rivals.map(({ operator }) => operator.offers()[0]?.failures ?? 0);
  equal(guesses.reduce((sum, count) => sum + count), 3);
});

offerTest("by PIN does not wait for impostors that say nothing", async (scene, alice) => {
  const { pin } = scene.server.operator.createPin();
  const rival = await impostor(scene, "mallory", pin);
  rival.pairing.conversation = () => {
    throw new Error("An impostor that hangs");
  };
  await scene.during(alice.pair(byPin(pin)));
  deepEqual(alice.secrets().ours, alice.secrets().theirs);
});

offerTest("by link demands the peer that the link names", async (scene, alice) => {
  const link = byLink(scene.server);
  const mallory = await scene.rival("mallory");
  const elsewhere: Invitation = { ...link.invitation, peerId: mallory.peerId };
  await fails(
    scene.during(alice.pair({ mechanism: "link", invitation: elsewhere })),
    /did not answer through the signaling server/,
  );
  equal(mallory.book.has(alice.peerId), false);
  equal(scene.server.book.has(alice.peerId), false);
});

offerTest("ends with the reason when the operator withdraws the link", async (scene, alice) => {
  const offer = scene.server.operator.createLink();
  equal(scene.server.operator.withdraw(offer.id), true);
  const invitation = parsePairingLink(offer.uri);
  await fails(scene.during(alice.pair({ mechanism: "link", invitation })), /did not answer/);
  equal(scene.hub.topics().length, 1);
});

offerTest("waits by itself while somebody's guess holds the PIN up", async (scene, alice) => {
  const { pin } = scene.server.operator.createPin();
  const mallory = await scene.joiner("mallory");
  await fails(scene.during(mallory.pair(byPin(mistyped(pin)))), /PIN was refused/);
  await fails(scene.during(mallory.pair(byPin(mistyped(pin, 1)))), /PIN was refused/);
  const since = scene.server.time.now();
  await scene.during(alice.pair(byPin(pin)));
  ok(scene.server.time.now() - since >= 2 * SECOND);
});

function byPin(text: string): { mechanism: "pin"; pin: Pin } {
  const pin = parsePin(text);
  if (!pin) throw new Error(`Not a PIN: ${text}`);
  return { mechanism: "pin", pin };
}

function byLink(server: ServerScene): { mechanism: "link"; invitation: Invitation } {
  return { mechanism: "link", invitation: parsePairingLink(server.operator.createLink().uri) };
}

/** The same topic, another PIN. */
function mistyped(pin: string, variant = 0): string {
  const last = "0123456789ABCDEFGHJKMNPQRSTVWXYZ".replace(pin.slice(-1), "")[variant];
  return pin.slice(0, -1) + last;
}

/** A server that made a PIN of its own with the same topic. */
async function impostor(scene: PairingScene, label: string, pin: string): Promise<ServerScene> {
  const rival = await scene.rival(label);
  const offers = rival.pairing.offers;
  const other = byPin(mistyped(pin)).pin;
  offers.add(label, {
    kind: "pin",
    id: new TextEncoder().encode(other.slice(0, 3)),
    secret: new TextEncoder().encode(other),
  }, rival.time.monotonic());
  rival.operator.onTopics();
  return rival;
}

async function fails(attempt: Promise<unknown>, sentence: RegExp): Promise<void> {
  await rejects(attempt, (error) => {
    ok(error instanceof CairnError, String(error));
    match(error.message, sentence);
    return true;
  });
}
