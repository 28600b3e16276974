import { deepEqual, equal, throws } from "node:assert/strict";
import { fromHex, toHex } from "../../src/base/bytes.ts";
import { ProtocolError } from "../../src/base/errors.ts";
import { encodeCbor } from "../../src/protocol/cbor.ts";
import { PeerId } from "../../src/protocol/crypto/peer_id.ts";
import {
  decodeRelayAck,
  decodeRelayData,
  decodeRoster,
  decodeRosterChange,
  encodeRelayAck,
  encodeRelayData,
  encodeRoster,
  encodeRosterChange,
  MAX_RELAYED_FRAME,
  MAX_ROSTER_ROWS,
  type RosterRow,
} from "../../src/protocol/hub_messages.ts";

const PEER = "122010ba682c8ad13513971e8b56881aab8bd702bb807796eca81932c735a94d6e6d";
const ID = "0193a54d000070008000000000000001";
const peerId = PeerId.fromBytes(fromHex(PEER));
const circuit = fromHex(ID);
const frame = Uint8Array.of(1, 2, 3);
const online: RosterRow = { peerId, name: "laptop", presence: "online" };
const away: RosterRow = { peerId, name: null, presence: "away" };
const LAPTOP = "666c6170746f70";

/** Name, bytes by hand, what encodes and decodes them. */
const SAMPLES: readonly [string, string, Uint8Array, (payload: Uint8Array) => unknown, unknown][] =
  [
    [
      "Roster",
      `a200 8283${"5822" + PEER}${LAPTOP}02 83${"5822" + PEER}f601 01f5`,
      encodeRoster({ rows: [online, away], more: true }),
      decodeRoster,
      { rows: [online, away], more: true },
    ],
    [
      "RosterChange",
      `a100 8183${"5822" + PEER}f600`,
      encodeRosterChange({ rows: [{ ...away, presence: "gone" }] }),
      decodeRosterChange,
      { rows: [{ ...away, presence: "gone" }] },
    ],
    [
      "RelayData that opens a circuit",
      `a400 ${"5822" + PEER} 0143010203 0250${ID} 03f5`,
      encodeRelayData({ peerId, frame, circuit, opens: true, credit: 0 }),
      decodeRelayData,
      { peerId, frame, circuit, opens: true, credit: 0 },
    ],
    [
      "RelayData",
      `a300 ${"5822" + PEER} 0143010203 0250${ID}`,
      encodeRelayData({ peerId, frame, circuit, opens: false, credit: 0 }),
      decodeRelayData,
      { peerId, frame, circuit, opens: false, credit: 0 },
    ],
    [
      "RelayAck",
      `a400 ${"5822" + PEER} 0150${ID} 02194000 03f6`,
      encodeRelayAck({ peerId, circuit, credit: 16_384, reason: null }),
      decodeRelayAck,
      { peerId, circuit, credit: 16_384, reason: null },
    ],
  ];

for (const [name, hex, encoded, decodePayload, message] of SAMPLES) {
  Deno.test(`${name} has the bytes of wire_format.md`, () => {
    equal(toHex(encoded), hex.replaceAll(" ", ""));
    deepEqual(decodePayload(encoded), message);
  });
}

Deno.test("Roster rows are bounded, and of a known presence", () => {
  const rows = Array<RosterRow>(MAX_ROSTER_ROWS + 1).fill(away);
  malformed(() => decodeRosterChange(encodeRosterChange({ rows })));
  malformed(() => decodeRoster(encodeRoster({ rows, more: false })));
  malformed(() => decodeRosterChange(encodeCbor(new Map([[0, [[peerId.bytes, null, 3]]]]))));
  malformed(() => decodeRosterChange(encodeCbor(new Map([[0, [[peerId.bytes, null]]]]))));
  const longName = { ...online, name: "x".repeat(257) };
  malformed(() => decodeRosterChange(encodeRosterChange({ rows: [longName] })));
});

Deno.test("RelayData carries at least one byte and at most a Noise message", () => {
  for (const length of [0, MAX_RELAYED_FRAME + 1]) {
    const message = { peerId, frame: new Uint8Array(length), circuit, opens: false, credit: 0 };
    malformed(() => decodeRelayData(encodeRelayData(message)));
  }
  const longest = {
    peerId,
    frame: new Uint8Array(MAX_RELAYED_FRAME),
    circuit,
    opens: false,
    credit: 0,
  };
  equal(decodeRelayData(encodeRelayData(longest)).frame.length, MAX_RELAYED_FRAME);
  const short = { peerId, frame, circuit: circuit.subarray(1), opens: false, credit: 0 };
  malformed(() => decodeRelayData(encodeRelayData(short)));
});

function malformed(read: () => unknown): void {
  throws(read, (error) => error instanceof ProtocolError && error.code === "malformed");
}
