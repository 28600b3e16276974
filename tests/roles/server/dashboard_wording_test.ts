import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import { EventParser } from "../../../src/roles/server/dashboard/page/event_parser.ts";
import { eventText } from "../../../src/roles/server/dashboard/page/event_wording.ts";
import { offerText } from "../../../src/roles/server/dashboard/page/offer_wording.ts";
import { topOfBytes, topOfCounts } from "../../../src/roles/server/dashboard/page/plot.ts";
import {
  bytesText,
  countdownText,
  durationText,
} from "../../../src/roles/server/dashboard/page/wording.ts";
import { EVENTS } from "../../../src/roles/server/server_events.ts";

Deno.test("EventParser reads events however they are cut into pieces", () => {
  const text =
    'retry: 2000\n\nid: a-1\nevent: one\ndata: {"x":": 1"}\n\n:\n\nevent: two\ndata: {}\n\n';
  for (const size of [1, 2, 7, text.length]) {
    const parser = new EventParser();
    const events = [];
    for (let at = 0; at < text.length; at += size) {
      events.push(...parser.take(text.slice(at, at + size)));
    }
    deepStrictEqual(events, [
      { id: "a-1", type: "one", data: { x: ": 1" } },
      { type: "two", data: {} },
    ]);
  }
});

Deno.test("Every event that a server tells of has a sentence", () => {
  for (const type of Object.keys(EVENTS)) {
    const data = { "peer_id": "Qm", refused: 1, reason: "full", kind: "pin", state: "paired" };
    match(eventText({ type, data }, () => "Anna") ?? "", /^[A-Z1][^{}]+$/, type);
  }
  strictEqual(eventText({ type: "queue.changed", data: { refused: 0 } }, String), undefined);
  strictEqual(eventText({ type: "of a later version", data: {} }, String), undefined);
});

Deno.test("What becomes of a PIN or link is told with the reason", () => {
  const open = { kind: "pin", state: "open", failures: 0, "peer_id": null } as const;
  const text = (change: Partial<Parameters<typeof offerText>[0]>) => {
    return offerText({ ...open, ...change }, () => "Anna");
  };
  strictEqual(text({}), "Waiting for a peer to use the PIN");
  strictEqual(text({ failures: 3 }), "Waiting; 3 of 10 wrong guesses were made");
  strictEqual(text({ state: "paired", "peer_id": "Qm" }), "Paired with Anna");
  strictEqual(text({ state: "expired" }), "The PIN has expired before anybody used it");
  match(text({ state: "burned" }), /ended after 10 wrong guesses/);
  match(text({ kind: "link", state: "withdrawn" }), /^The link was withdrawn$/);
});

Deno.test("Numbers are told in the largest unit that fits", () => {
  deepStrictEqual(
    [0, 1, 1023, 1024, 1536, 2 ** 30, 150 * 2 ** 20].map(bytesText),
    ["0 B", "1 B", "1023 B", "1 KiB", "1.5 KiB", "1 GiB", "150 MiB"],
  );
  deepStrictEqual([299.2, 61, 0, -3].map(countdownText), ["5:00", "1:01", "0:00", "0:00"]);
  deepStrictEqual(
    [1, 59, 60, 7_200, 86_400].map(durationText),
    ["1 second", "59 seconds", "1 minute", "2 hours", "1 day"],
  );
  deepStrictEqual([0, 1, 5, 99, 8_653].map(topOfCounts), [4, 4, 10, 100, 10_000]);
  deepStrictEqual([0, 1_025, 2 ** 26].map(topOfBytes), [1_024, 2_048, 2 ** 26]);
});
