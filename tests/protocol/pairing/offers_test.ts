import { deepEqual, equal, ok } from "node:assert/strict";
import { utf8 } from "../../../src/base/bytes.ts";
import { PeerId } from "../../../src/protocol/crypto/peer_id.ts";
import { type Offer, PairingOffers } from "../../../src/protocol/pairing/offers.ts";
import { PairingAcceptor, PairingInitiator } from "../../../src/protocol/pairing/pairing.ts";

const [ALICE, BOB, SERVER] = [1, 2, 3].map((fill) =>
  PeerId.ofPublicKey(new Uint8Array(32).fill(fill))
) as [PeerId, PeerId, PeerId];
const SECOND = 1_000;
const MINUTE = 60 * SECOND;

/** Offers, and what became of them. */
class Scene {
  readonly offers = new PairingOffers();
  readonly ended: string[] = [];
  #made = 0;

  constructor() {
    this.offers.onEnd = ({ id, state }) => this.ended.push(`${id} ${state}`);
  }

  pin(symbols = "98A", now = 0): Offer | undefined {
    const credential = { kind: "pin", id: utf8(symbols), secret: utf8(`${symbols}FXZ2P`) } as const;
    return this.offers.add(`offer ${++this.#made}`, credential, now);
  }

  find(peer: PeerId, now: number, symbols = "98A"): Offer | undefined {
    return this.offers.find("pin", utf8(symbols), peer, now);
  }
}

Deno.test("An offer can be redeemed for five minutes", () => {
  const scene = new Scene();
  const offer = scene.pin();
  equal(scene.find(ALICE, 5 * MINUTE - 1), offer);
  equal(scene.offers.nextDeadline(0), 5 * MINUTE);
  equal(scene.find(ALICE, 5 * MINUTE), undefined);
  deepEqual(scene.ended, ["offer 1 expired"]);
  equal(scene.offers.nextDeadline(5 * MINUTE), undefined);
});

Deno.test("An offer is for one peer, which may repeat it while it would be open", () => {
  const scene = new Scene();
  const offer = scene.pin()!;
  scene.offers.redeem(offer, ALICE);
  scene.offers.redeemed(offer);
  deepEqual(scene.ended, ["offer 1 paired"]);
  equal(scene.find(BOB, MINUTE), undefined);
  equal(scene.find(ALICE, MINUTE), offer, "it may have missed the confirmation");
  scene.offers.redeemed(offer);
  deepEqual(scene.ended, ["offer 1 paired"], "once");
  equal(scene.find(ALICE, 5 * MINUTE), undefined);
});

Deno.test("An offer is taken from the moment when it was proved, and given back on failure", () => {
  const scene = new Scene();
  const offer = scene.pin()!;
  const giveBack = scene.offers.redeem(offer, ALICE);
  equal(scene.offers.mayRedeem(offer, BOB, 0), false);
  giveBack();
  equal(scene.offers.mayRedeem(offer, BOB, 0), true);
  equal(offer.state, "open");
});

Deno.test("Ten wrong guesses burn an offer, and each makes the next wait two seconds longer", () => {
  const scene = new Scene();
  const offer = scene.pin()!;
  let now = 0;
  const waits: number[] = [];
  for (let guess = 0; guess < 10; guess++) {
    equal(scene.find(ALICE, now), offer, `guess ${guess} is looked at`);
    scene.offers.failed(offer, now);
    waits.push(scene.offers.delay(offer, now) / SECOND);
    now += scene.offers.delay(offer, now);
  }
  deepEqual(waits, [2, 4, 6, 8, 10, 12, 14, 16, 18, 20]);
  ok(now < 5 * MINUTE, "it has not expired");
  equal(scene.find(ALICE, now), undefined, "and the eleventh, though it is right, is not");
  deepEqual(scene.ended, ["offer 1 burned"]);
});

Deno.test("Unfinished requests hold thirty-two places, and the oldest loses its own", () => {
  const scene = new Scene();
  const offer = scene.pin()!;
  const attempts = Array.from({ length: 33 }, attempt);
  for (const each of attempts) scene.offers.begin(offer, each);
  deepEqual(attempts.map((each) => scene.offers.finish(offer, each)), [
    false,
    ...new Array(32).fill(true),
  ]);
  equal(scene.offers.finish(offer, attempts[5]!), false, "and each counts once");
});

Deno.test("No two open offers have the same name, and sixteen are open at most", () => {
  const scene = new Scene();
  const names = Array.from({ length: 17 }, (_, n) => `A${String.fromCharCode(65 + n)}0`);
  ok(scene.pin(names[0]));
  equal(scene.pin(names[0]), undefined);
  const made = names.slice(1).map((name) => scene.pin(name) !== undefined);
  deepEqual(made, [...new Array(15).fill(true), false]);
  ok(scene.pin(names[16], 5 * MINUTE), "when the others have expired");
  ok(scene.pin(names[0], 5 * MINUTE));
});

Deno.test("A withdrawn offer cannot be redeemed, nor withdrawn again", () => {
  const scene = new Scene();
  scene.pin();
  equal(scene.offers.withdraw("offer 1"), true);
  equal(scene.offers.withdraw("offer 1"), false);
  equal(scene.offers.withdraw("offer 2"), false);
  equal(scene.find(ALICE, 0), undefined);
  deepEqual(scene.ended, ["offer 1 withdrawn"]);
});

Deno.test("Ended offers are known for ten minutes, and never too many", () => {
  const scene = new Scene();
  scene.pin();
  scene.offers.advance(10 * MINUTE - 1);
  deepEqual(scene.offers.list().map(({ state }) => state), ["expired"]);
  scene.offers.advance(10 * MINUTE);
  deepEqual(scene.offers.list(), []);
  for (let n = 0; n < 500; n++) {
    const offer = scene.pin("98A", 10 * MINUTE);
    scene.offers.withdraw(offer?.id ?? "");
  }
  ok(scene.offers.list().length <= 129);
});

function attempt(): PairingAcceptor {
  const chance = { nonce: new Uint8Array(16), scalar: new Uint8Array(64).fill(1) };
  const handshakeHash = new Uint8Array(32);
  const secret = utf8("98AFXZ2P");
  const { request } = new PairingInitiator(
    { self: ALICE, remote: SERVER, handshakeHash },
    { kind: "pin", secret },
    chance,
  );
  return new PairingAcceptor(
    { self: SERVER, remote: ALICE, handshakeHash },
    secret,
    request,
    chance,
  );
}
