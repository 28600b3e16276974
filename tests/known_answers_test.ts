/** Holds docs/known_answers.md, for those who write a client, against the code. */

import { equal } from "node:assert/strict";
import { toHex, utf8 } from "../src/base/bytes.ts";
import { encodeEnvelope } from "../src/protocol/envelope.ts";
import { certifyLinkKey } from "../src/protocol/crypto/identity.ts";
import { x25519KeyPair } from "../src/protocol/crypto/primitives.ts";
import { safetyNumber } from "../src/protocol/crypto/safety_number.ts";
import { initiateX3dh } from "../src/protocol/crypto/x3dh.ts";
import { MessageType } from "../src/protocol/message_types.ts";
import { instanceName } from "../src/protocol/mdns/instance_name.ts";
import { derivePairingKeys } from "../src/protocol/pairing/pairing.ts";
import { formatPin, makePin, pinCredentialId } from "../src/protocol/pairing/pin.ts";
import { sealMessage } from "../src/protocol/rendezvous/sealed_message.ts";
import {
  contactTopic,
  invitationTopic,
  pinTopic,
  rendezvousTopics,
} from "../src/protocol/rendezvous/topics.ts";
import { encodeMessage } from "../src/protocol/session/message_body.ts";
import { sealInSession, startSession } from "../src/protocol/session/session.ts";
import { encodeSequenceQuery } from "../src/protocol/forward_messages.ts";
import { bytesFor, identityFor, prekeysFor, sessionIdentityFor } from "./support/identities.ts";

/** Characters of a value in a line. */
const LINE = 96;
/** Unix seconds. */
const NOW = 1_700_000_000;
const page = await Deno.readTextFile(new URL("../docs/known_answers.md", import.meta.url));

Deno.test("docs/known_answers.md has the answers of the code", () => {
  const [introduction = ""] = page.split("\n## Answers\n");
  const shown = Object.entries(answers()).map(([name, answer]) => {
    const text = typeof answer === "string" ? answer : toHex(answer);
    const lines = text.match(new RegExp(`.{1,${LINE}}`, "g")) ?? [];
    return `\n${name}:\n\n\`\`\`\n${lines.join("\n")}\n\`\`\`\n`;
  });
  equal(page, `${introduction}\n## Answers\n${shown.join("")}`);
});

/** Bytes are shown in hexadecimal. */
function answers(): Record<string, string | Uint8Array> {
  const [alice, bob] = [identityFor("alice"), identityFor("bob")];
  const secret = bytesFor("pairing secret");
  const linkKey = x25519KeyPair(bytesFor("alice static")).publicKey;
  const pin = makePin(bytesFor("pin").slice(0, 5));
  const [topic = ""] = rendezvousTopics(secret, NOW);
  const pairing = derivePairingKeys(
    bytesFor("spake key"),
    bytesFor("nonce a").slice(0, 16),
    bytesFor("nonce b").slice(0, 16),
    bytesFor("handshake hash"),
  );
  const id = bytesFor("id").slice(0, 16);
  const { bundle, signedPart, signature, oneTimePrekey } = prekeysFor("bob", NOW * 1000);
  const self = sessionIdentityFor("alice");
  const start = {
    self,
    remote: bob.peerId,
    bundle,
    oneTimePrekey: { id: oneTimePrekey.id, publicKey: oneTimePrekey.pair.publicKey },
    ephemeral: x25519KeyPair(bytesFor("ephemeral")),
  };
  const agreed = initiateX3dh({ ...start, self: self.peerId, identityPair: self.x3dhPair });
  const session = startSession({
    ...start,
    ratchetPair: x25519KeyPair(bytesFor("ratchet")),
    now: NOW * 1000,
  });
  const plaintext = encodeMessage({
    id,
    sequence: 1,
    channel: "chat",
    sentAt: NOW * 1000,
    data: utf8("hello"),
  });
  return {
    "alice's Ed25519 identity key": alice.publicKey,
    "alice's Peer ID": alice.peerId.toString(),
    "bob's Peer ID": bob.peerId.toString(),
    "their safety number": safetyNumber(alice.peerId, bob.peerId),
    "link key of alice (2.1): X25519": linkKey,
    "its certificate until 1700000000": certifyLinkKey(alice, linkKey, NOW).signature,
    "envelope (3): SequenceQuery for bob, message id `id`": encodeEnvelope({
      type: MessageType.SequenceQuery,
      id,
      payload: encodeSequenceQuery({ recipient: bob.peerId }),
    }),
    "PIN (8) of the first 5 bytes of `pin`": formatPin(pin),
    "its topic (5.2)": pinTopic(pinCredentialId(pin)),
    "contact topic of bob (5.2)": contactTopic(bob.peerId),
    "topic of a link, credential `credential`, nonce `link nonce`": invitationTopic(
      bytesFor("credential"),
      bytesFor("link nonce").slice(0, 16),
    ),
    "rendezvous topic (5.3) at 1700000000": topic,
    "mDNS instance (5.6) of bob, nonce `mdns nonce`": instanceName(
      bob.peerId,
      bytesFor("mdns nonce").slice(0, 8),
    ),
    "sealed there (5.4) by alice: `bye`, id `id`, no candidates, nonce `sealed`": sealMessage(
      { secret, sender: alice.peerId, topic, nonce: bytesFor("sealed").slice(0, 24) },
      { id, time: NOW, kind: "bye", candidates: [] },
    ),
    "pairing secret (8) of `spake key`, `nonce a`, `nonce b`": pairing.pairingSecret,
    "confirmation key (8), h `handshake hash`": pairing.confirmationKey,
    "signed part (6.1) of bob, expiry 1700086400": signedPart,
    "its bundle signature": signature,
    "X3DH (6.2) of alice with bob: SK": agreed.secret,
    "its session id": agreed.sessionId,
    "plaintext (6.3): id `id`, sequence 1, channel chat, sent at 1700000000000, data hello":
      plaintext,
    "first body of the session (6.3)": sealInSession(session, plaintext, NOW * 1000).body,
  };
}
