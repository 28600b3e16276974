import { deepEqual, equal, match, notEqual, throws } from "node:assert/strict";
import { fromHex } from "../../../src/base/bytes.ts";
import { ProtocolError } from "../../../src/base/errors.ts";
import { PeerId } from "../../../src/protocol/crypto/peer_id.ts";
import { confirmApproved, isAcknowledged } from "../../../src/protocol/pairing/pairing.ts";
import {
  AskingAcceptor,
  AskingInitiator,
  sasCommitment,
  sasDigits,
  sasOf,
} from "../../../src/protocol/pairing/sas.ts";

const [JOINER, SERVER, MALLORY] = [1, 2, 3].map((fill) =>
  PeerId.ofPublicKey(new Uint8Array(32).fill(fill))
) as [PeerId, PeerId, PeerId];
const filled = (fill: number, length = 32) => new Uint8Array(length).fill(fill);
const HASH = filled(4);

function link(handshakeHash = HASH) {
  return {
    joiner: { self: JOINER, remote: SERVER, handshakeHash },
    server: { self: SERVER, remote: JOINER, handshakeHash },
  };
}

Deno.test("sasDigits() is the reference's known answer (scheme A)", () => {
  const transcript = fromHex("08a59e3075b3da29dce48cc3ad1e394748914ef3b9fe8c4b8d403dd8783106d5");
  equal(sasDigits(transcript), "602029");
});

Deno.test("Both sides of one link show the same six digits", () => {
  const asking = new AskingInitiator(link().joiner, filled(5));
  const asked = new AskingAcceptor(link().server, asking.request, filled(6, 16));
  const { response, sas } = asking.answer(asked.challenge);
  match(sas, /^\d{6}$/);
  equal(asked.open(response), sas);
});

Deno.test("The digits hang on the link and on the numbers of both sides", () => {
  const digits = [
    sasOf(HASH, filled(5), filled(6, 16)),
    sasOf(filled(9), filled(5), filled(6, 16)),
    sasOf(HASH, filled(9), filled(6, 16)),
    sasOf(HASH, filled(5), filled(9, 16)),
  ];
  equal(new Set(digits).size, 4);
});

Deno.test("A joiner cannot open its commitment to another number that it prefers", () => {
  const asking = new AskingInitiator(link().joiner, filled(5));
  const asked = new AskingAcceptor(link().server, asking.request, filled(6, 16));
  for (let fill = 0; fill < 256; fill++) {
    if (fill !== 5) equal(asked.open({ keyConfirmation: filled(fill) }), undefined);
  }
});

Deno.test("A commitment of one link opens nothing on another", () => {
  notEqual(sasCommitment(HASH, filled(5)).toHex(), sasCommitment(filled(9), filled(5)).toHex());
  const asking = new AskingInitiator(link().joiner, filled(5));
  const elsewhere = link(filled(9));
  const asked = new AskingAcceptor(elsewhere.server, asking.request, filled(6, 16));
  equal(asked.open(asking.answer(asked.challenge).response), undefined);
});

Deno.test("Who sits between two links shows two codes, and cannot choose either", () => {
  // Mallory runs one link to the joiner and one to the server, and passes on what it can.
  const [near, far] = [filled(7), filled(8)];
  const victim = new AskingInitiator(
    { self: JOINER, remote: MALLORY, handshakeHash: near },
    filled(5),
  );
  const shown = new Set<string>();
  let equalCodes = 0;
  for (let tried = 0; tried < 200; tried++) {
    // It has to commit before it sees the server's number, which is another one each time.
    const own = filled(tried + 10);
    const attack = new AskingInitiator({ self: MALLORY, remote: SERVER, handshakeHash: far }, own);
    const asked = new AskingAcceptor(
      { self: SERVER, remote: MALLORY, handshakeHash: far },
      attack.request,
      filled(255 - tried, 16),
    );
    const seenByOperator = asked.open(attack.answer(asked.challenge).response);
    // Passing the joiner's own number on does not open Mallory's commitment.
    const passed = victim.answer({ ...asked.challenge, peerId: MALLORY });
    equal(asked.open(passed.response), undefined);
    shown.add(String(seenByOperator));
    if (seenByOperator === passed.sas) equalCodes++;
  }
  equal(equalCodes, 0);
  equal(shown.size > 190, true, "each try gives it another code by chance");
});

Deno.test("AskingInitiator takes no SPAKE2 and no other peer's challenge", () => {
  const asking = new AskingInitiator(link().joiner, filled(5));
  const { challenge } = new AskingAcceptor(link().server, asking.request, filled(6, 16));
  throws(() => asking.answer({ ...challenge, pakeMsg: filled(1, 33) }), ProtocolError);
  throws(() => asking.answer({ ...challenge, peerId: MALLORY }), ProtocolError);
  const { server } = link();
  throws(
    () => new AskingAcceptor(server, { ...asking.request, peerId: MALLORY }, filled(6, 16)),
    ProtocolError,
  );
});

Deno.test("An approved peer's last word shows that it has the secret", () => {
  const { joiner, server } = link();
  const secret = filled(6);
  const asking = new AskingInitiator(joiner, filled(5));
  const { pairingSecret, reply } = asking.finish(confirmApproved(server, secret));
  deepEqual(pairingSecret, secret);
  equal(isAcknowledged(server, secret, reply), true);
  equal(isAcknowledged(server, filled(7), reply), false);
  equal(isAcknowledged({ ...server, handshakeHash: filled(9) }, secret, reply), false);
});
