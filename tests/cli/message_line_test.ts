import assert from "node:assert/strict";
import { jsonLine, readableLine } from "../../src/cli/message_line.ts";
import { PeerId } from "../../src/protocol/crypto/peer_id.ts";

const PEER = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG";

function message(data: Uint8Array, channel = "", sentAt = 1_700_000_000_000) {
  const from = PeerId.parse(PEER) ?? assert.fail();
  return { id: "0190a1b2-0000-7000-8000-000000000001", from, channel, data, sentAt };
}

function text(words: string): Uint8Array {
  return new TextEncoder().encode(words);
}

Deno.test("jsonLine() gives valid UTF-8 as text", () => {
  assert.equal(
    jsonLine(message(text("héllo"), "chat")),
    `{"from":"${PEER}","id":"0190a1b2-0000-7000-8000-000000000001","channel":"chat",` +
      '"text":"héllo","sent_at":1700000000000}',
  );
});

Deno.test("jsonLine() gives any other bytes in base64", () => {
  const { data_base64: data, text } = JSON.parse(jsonLine(message(Uint8Array.of(0xff, 0xfe, 0))));
  assert.deepEqual([data, text], ["//4A", undefined]);
});

Deno.test("jsonLine() stays on one line, without control characters, and loses none", () => {
  const words = "a\nb\u001b[2J\u009b1m\u0000";
  const line = jsonLine(message(text(words)));
  assert.doesNotMatch(line, /\p{Cc}/u);
  assert.equal(JSON.parse(line).text, words);
});

Deno.test("readableLine() shows time, sender, channel and text, and cannot steer the terminal", () => {
  assert.equal(
    readableLine(message(text("a\nb\u001b[2J"), "chat")),
    `2023-11-14T22:13:20.000Z ${PEER} [chat] a\\u000ab\\u001b[2J`,
  );
  assert.match(readableLine(message(Uint8Array.of(0xff))), / 1 bytes: \/w==$/);
});

Deno.test("readableLine() survives a time that no calendar has", () => {
  assert.match(readableLine(message(text("x"), "", 2 ** 63)), /^9223372036854776000 ms Qm/);
});
