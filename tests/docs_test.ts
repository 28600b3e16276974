/**
 * Holds docs/wire_format.md against the code: message types and their payloads, context strings,
 * numbers and reasons. Needs to read, and nothing else.
 */

import { deepEqual, equal, ok } from "node:assert/strict";
import { decode } from "cborg";
import { encodeSyncAck, encodeSyncRequest } from "../src/protocol/sync_messages.ts";
import { encodeTransientAck, encodeTransientData } from "../src/protocol/transient_messages.ts";
import { bytesFor, identityFor } from "./support/identities.ts";
import {
  encodeForwardAck,
  encodeForwardDeliver,
  encodeForwardPurge,
  encodeForwardRequest,
  encodeMailboxStatus,
  encodeReceiptAck,
  encodeSequenceQuery,
  encodeSequenceReport,
} from "../src/protocol/forward_messages.ts";
import { encodeEnvelope } from "../src/protocol/envelope.ts";
import {
  encodeRelayAck,
  encodeRelayData,
  encodeRoster,
  encodeRosterChange,
  type RosterRow,
} from "../src/protocol/hub_messages.ts";
import { MessageType } from "../src/protocol/message_types.ts";
import {
  encodePairChallenge,
  encodePairConfirm,
  encodePairReject,
  encodePairRequest,
  encodePairResponse,
  encodePairRevoke,
} from "../src/protocol/pairing_messages.ts";
import {
  encodePrekeyBundle,
  encodePrekeyFetch,
  encodePrekeyPublish,
} from "../src/protocol/prekey_messages.ts";
import { encodeSessionClose, encodeVersionNegotiate } from "../src/protocol/session_messages.ts";

const ROOT = new URL("../", import.meta.url);
const page = await Deno.readTextFile(new URL("docs/wire_format.md", ROOT));
/** The page without line breaks inside sentences. */
const text = page.replace(/\s+/g, " ");
const sources = await readSources("src");

Deno.test("wire_format.md names every message type with its code", () => {
  const rows = messageRows();
  ok(rows.length > 15, "the table was found");
  const types: Readonly<Record<string, number>> = MessageType;
  deepEqual(
    rows.map(({ name, code }) => [name, code]),
    rows.map(({ name }) => [name, types[name]]),
  );
});

Deno.test("wire_format.md names every message type that the code speaks of", () => {
  const spoken = new Set(
    [...sources].filter(([file]) => !file.endsWith("/message_types.ts")).flatMap(([, source]) =>
      [...source.matchAll(/MessageType\.(\w+)/g)].map(([, name]) => name)
    ),
  );
  ok(spoken.size > 15, "the uses were found");
  const named = new Set<string | undefined>(messageRows().map(({ name }) => name));
  deepEqual([...spoken].filter((name) => !named.has(name)), []);
  deepEqual([...named].filter((name) => !spoken.has(name)), []);
});

const peerId = identityFor("alice").peerId;
const [id, key] = [bytesFor("id").slice(0, 16), bytesFor("key")];
const signature = new Uint8Array(64);
const rosterRow: RosterRow = { peerId, name: "laptop", presence: "online" };

/** One of each, with everything in it that it may have. */
const messages: Readonly<Record<string, Uint8Array>> = {
  VersionNegotiate: encodeVersionNegotiate({ versions: [1] }),
  PairRequest: encodePairRequest({
    peerId,
    nonce: id,
    pakeMsg: new Uint8Array(33),
    flowType: "Initiation",
    mechanism: "psk",
    credentialId: id,
  }),
  PairChallenge: encodePairChallenge({ peerId, nonce: id, pakeMsg: new Uint8Array(33) }),
  PairResponse: encodePairResponse({ keyConfirmation: key }),
  PairConfirm: encodePairConfirm({ keyConfirmation: key, pairingSecret: key }),
  PairReject: encodePairReject({ reason: "Timeout", detail: "late", retryAfter: 2 }),
  PairRevoke: encodePairRevoke({ peerId }),
  SessionClose: encodeSessionClose({ reason: "going-away" }),
  ForwardRequest: encodeForwardRequest({
    msgId: id,
    recipient: peerId,
    encryptedPayload: key,
    sequenceNumber: 1,
  }),
  ForwardAck: encodeForwardAck({
    msgId: id,
    accepted: true,
    rejectionReason: null,
    delivered: true,
    lastSequence: 1,
  }),
  ForwardDeliver: encodeForwardDeliver({
    msgId: id,
    sender: peerId,
    encryptedPayload: key,
    sequenceNumber: 1,
    sharedBody: key,
  }),
  ForwardPurge: encodeForwardPurge({ msgIds: [id], failed: [id], refused: [id] }),
  PrekeyPublish: encodePrekeyPublish({
    signedPart: key,
    signature,
    oneTimePrekeys: [{ id: 1, publicKey: key }],
    replaceAll: false,
  }),
  PrekeyFetch: encodePrekeyFetch({ peerId }),
  PrekeyBundle: encodePrekeyBundle({
    peerId,
    signedPart: key,
    signature,
    oneTimePrekey: { id: 1, publicKey: key },
    reason: "none",
  }),
  MailboxStatus: encodeMailboxStatus({
    storeId: id,
    oneTimePrekeysLeft: 1,
    signedPrekeyId: 1,
    largestBody: 1,
    retentionSeconds: 1,
  }),
  SequenceQuery: encodeSequenceQuery({ recipient: peerId }),
  SequenceReport: encodeSequenceReport({ recipient: peerId, lastSequence: 1 }),
  ReceiptAck: encodeReceiptAck({ msgIds: [id] }),
  RelayData: encodeRelayData({ peerId, frame: key, circuit: id, opens: true, credit: 1 }),
  RelayAck: encodeRelayAck({ peerId, circuit: id, credit: 1, reason: "none" }),
  Roster: encodeRoster({ rows: [rosterRow], more: false }),
  RosterChange: encodeRosterChange({ rows: [rosterRow] }),
  SyncRequest: encodeSyncRequest({
    id,
    sharedBody: key,
    rows: [{ recipient: peerId, msgId: id, encryptedPayload: key, sequenceNumber: 1 }],
  }),
  SyncAck: encodeSyncAck({
    id,
    accepted: true,
    answers: [{ recipient: peerId, rejectionReason: null, lastSequence: 1, delivered: true }],
  }),
  TransientData: encodeTransientData({ number: 1, channel: "chat", data: key }),
  TransientAck: encodeTransientAck({ number: 1, taken: true }),
};

for (const { name, payload } of messageRows()) {
  Deno.test(`wire_format.md gives the payload of ${name} as it is encoded`, () => {
    const encoded = messages[name];
    if (payload === "empty") return equal(encoded, undefined);
    ok(encoded, "there is a sample of it");
    deepEqual(keysOf(encoded), keysNamed(payload));
  });
}

Deno.test("wire_format.md gives the envelope as it is encoded", () => {
  const [, keys = ""] = /## 3\. Envelope\s+CBOR map: ([^#]+)/.exec(page) ?? [];
  const named = [...keys.matchAll(/`(\d)`/g)].map(([, number]) => Number(number));
  const envelope = { type: 1, id, sessionId: key, payload: key, authTag: key };
  deepEqual(named, keysOf(encodeEnvelope(envelope)));
});

Deno.test("wire_format.md quotes the context strings of the code", () => {
  const quoted = new Set([...text.matchAll(/"(cairn-[a-z0-9-]+(?:-v\d|\/\d))"/g)].map(first));
  quoted.add(/the ASCII text `(cairn-link\/\d)`/.exec(text)?.[1] ?? "");
  ok(quoted.size > 10, "the strings were found");
  const used = new Set(contexts());
  deepEqual([...quoted].filter((context) => !used.has(context)), [], "quoted and not used");
  deepEqual([...used].filter((context) => !quoted.has(context)), [], "used and not quoted");
});

/** Sentence, then the constant that it states, in which file, and in what unit. */
const numbers: readonly [sentence: RegExp, file: string, constant: string, unit?: number][] = [
  [/at most ([\d,]+) bytes\. Its plaintext begins/, "protocol/link/link", "MAX_FRAME_LENGTH"],
  [
    /reassembled envelope has at most ([\d,]+) bytes/,
    "protocol/link/link",
    "MAX_ENVELOPE_LENGTH",
  ],
  [
    /at most ([\d,]+) on a link whose remote is not paired/,
    "protocol/link/link",
    "MAX_UNPAIRED_ENVELOPE_LENGTH",
  ],
  [/handshake ends within (\d+) s/, "roles/link_connection", "HANDSHAKE_TIMEOUT", 1000],
  [/pairing messages only, at most (\d+),/, "roles/server/pairing_desk", "MAX_MESSAGES"],
  [/at most 16, for (\d+) s/, "roles/server/stranger_links", "TIME_LIMIT", 1000],
  [/Heartbeat after (\d+) s without/, "roles/peer/peer_node", "HEARTBEAT", 1000],
  [/without anything sent \(server: (\d+) s\)/, "roles/server/run_server", "HEARTBEAT", 1000],
  [/at most ([\d,]+) bytes of Noise message;/, "roles/topic_carrier", "MAX_NOISE_MESSAGE"],
  [/`epoch = shifted div (\d+)`/, "protocol/rendezvous/topics", "EPOCH"],
  [/within ([\d,]+) s of either end of an epoch/, "protocol/rendezvous/topics", "WINDOW"],
  [
    /the joiner runs one link to each that answers, (\d+) at most/,
    "roles/peer/pairing_reach",
    "MAX_ACCEPTORS",
  ],
  [/AAAA of the target, at most (\d+) of which/, "protocol/mdns/found_servers", "MAX_ADDRESSES"],
  [/of which a peer uses (\d+) s at most/, "protocol/mdns/found_servers", "LONGEST_TTL"],
  [/answers at most (\d+) challenges for one typed PIN/, "roles/peer/pin_search", "MAX_CHALLENGES"],
  [/be redeemed for (\d+) s,/, "protocol/pairing/offers", "OFFER_LIFETIME", 1000],
  [/each makes the next wait (\d+) s longer/, "protocol/pairing/offers", "DELAY_PER_FAILURE", 1000],
  [/recipient \(1 to (\d+), all different\)/, "protocol/sync_messages", "MAX_SYNC_RECIPIENTS"],
  [/of at most ([\d,]+) bytes, under a `msg_id`/, "protocol/sync_messages", "MAX_SYNC_NOTE"],
  [/has been out of reach for (\d+) s/, "roles/peer/mailbox_choice", "GONE_AFTER", 1000],
  [/(\d+) wrong guesses burn it/, "protocol/pairing/offers", "MAX_FAILURES"],
  [
    /payload of a QR code, at most (\d+) bytes/,
    "protocol/pairing/invitation",
    "MAX_INVITATION_LENGTH",
  ],
  [/waits for (\d+) s at most/, "roles/server/asking_peers", "REQUEST_LIFETIME", 1000],
  [/a multiple of (\d+) bytes/, "protocol/rendezvous/sealed_message", "PAD_STEP"],
  [/Older than (\d+) s/, "protocol/rendezvous/sealed_message", "FRESHNESS"],
  [/more than (\d+) s ahead, or seen/, "protocol/rendezvous/sealed_message", "FRESHNESS"],
  [/signed prekeys that live for (\d+) days/, "roles/peer/prekeys", "SIGNED_LIFETIME"],
  [/At most ([\d,]+) may be missing/, "protocol/session/double_ratchet", "MAX_SKIP"],
  [/and ([\d,]+) skipped keys are kept/, "protocol/session/ratchet_state", "MAX_SKIPPED_KEYS"],
  [
    /channel \(text, at most (\d+) bytes\)/,
    "protocol/message_types",
    "MAX_CHANNEL_LENGTH",
  ],
  [/at most (\d+) unacknowledged/, "protocol/mailbox/delivery_window", "MAX_UNACKNOWLEDGED"],
  [/\(at most (\d+) rows each\)/, "protocol/hub_messages", "MAX_ROSTER_ROWS"],
  [/then ([\d,]+) times `h = SHA-512/, "protocol/crypto/safety_number", "ITERATIONS"],
  [/Noise message, 1 to ([\d,]+) bytes/, "protocol/hub_messages", "MAX_RELAYED_FRAME"],
  [/at most ([\d,]+) bytes of frames may be/, "protocol/hub/circuit", "RELAY_WINDOW"],
  [/or after ([\d,]+) by RelayAck/, "protocol/hub/circuit", "CREDIT_STEP"],
  [/Without an answer for (\d+) s,/, "roles/peer/direct_courier", "STALLED", 1000],
];

for (const [sentence, file, constant, unit = 1] of numbers) {
  Deno.test(`wire_format.md states ${constant} of ${file}.ts`, () => {
    const stated = sentence.exec(text)?.[1];
    ok(stated, `the page has a sentence like ${sentence}`);
    const source = sources.get(`src/${file}.ts`);
    ok(source, "the file is there");
    const value = new RegExp(`const ${constant} = ([\\d_]+)`).exec(source)?.[1];
    ok(value, "the constant is there");
    equal(Number(stated.replaceAll(",", "")) * unit, Number(value.replaceAll("_", "")));
  });
}

Deno.test("wire_format.md lists the reasons with which links end", () => {
  const [, list = ""] = /Reasons: ([^.]+)\./.exec(text) ?? [];
  const listed = [...list.matchAll(/`([a-z-]+)`/g)].map(first).toSorted();
  const roles = [...sources].filter(([file]) => file.startsWith("src/roles/"));
  const given = new Set(
    roles.flatMap(([, source]) =>
      [...source.matchAll(/\b(?:close|#ended|disconnect)\((?:\w+, )?"([a-z-]+)"\)/g)].map(first)
    ),
  );
  ok(given.size > 4, "the uses were found");
  deepEqual([...given].filter((reason) => !listed.includes(reason)), []);
  const all = roles.map(([, source]) => source).join();
  deepEqual(listed.filter((reason) => !all.includes(`"${reason}"`)), []);
});

Deno.test("wire_format.md lists the reasons with which a mailbox refuses and ends messages", () => {
  const source = sources.get("src/protocol/mailbox/refusal.ts") ?? "";
  const reasons = [...source.matchAll(/["`]([a-zA-Z' ${}(),_]{7,})["`]/g)].map(first)
    .map((reason) => reason.replace("${MAX_SKIP}", "1000").replaceAll(/\$\{\w+\}/g, "n"));
  ok(reasons.length >= 14, "the reasons were found");
  deepEqual(reasons.filter((reason) => !text.includes(`\`${reason}\``)), []);
});

/** The rows of the table in section 4; a row may hold two types. */
function messageRows(): { name: string; code: number; payload: string }[] {
  return [...page.matchAll(/^\| (0x[0-9a-f /x]+?) +\| ([\w /]+?) +\| (.+?) +\|$/gm)].flatMap(
    ([, codes = "", names = "", payload = ""]) =>
      names.split(" / ").map((name, index) => (
        { name, code: Number(codes.split(" / ")[index]), payload: payload.replaceAll("\\|", "|") }
      )),
  );
}

/** Keys of a map as a row shows it: `{"key": …, +"key": …}` or `{0: …, 1: …}`. */
function keysNamed(payload: string): (string | number)[] {
  const [map = ""] = /\{.*\}/.exec(payload) ?? [];
  const texts = [...map.matchAll(/"(\w+)":/g)].map(first);
  return texts.length > 0 ? texts : [...map.matchAll(/(\d+):/g)].map(([, n]) => Number(n));
}

function keysOf(encoded: Uint8Array): unknown[] {
  return [...decode(encoded, { useMaps: true }).keys()];
}

function contexts(): string[] {
  return [...sources].flatMap(([, source]) =>
    [...source.matchAll(/"(cairn-[a-z0-9-]+(?:-v\d|\/\d))"/g)].map(first)
  );
}

function first([, group = ""]: RegExpMatchArray): string {
  return group;
}

async function readSources(folder: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for await (const { name, isDirectory } of Deno.readDir(new URL(folder, ROOT))) {
    const path = `${folder}/${name}`;
    if (isDirectory) { for (const entry of await readSources(path)) found.set(...entry); }
    else found.set(path, await Deno.readTextFile(new URL(path, ROOT)));
  }
  return found;
}
