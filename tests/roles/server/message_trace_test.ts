import { deepEqual, equal } from "node:assert/strict";
import type { MailboxEvent } from "../../../src/roles/server/mailbox_accounts.ts";
import type { KnownMessage } from "../../../src/roles/server/mailbox_inquiry.ts";
import { MessageTrace } from "../../../src/roles/server/message_trace.ts";
import { bytesFor, identityFor } from "../../support/identities.ts";
import { TestHost } from "./mailbox_scene.ts";

const [alice, bob, carol] = ["alice", "bob", "carol"].map((name) => identityFor(name).peerId);
const [ID, OTHER_ID] = ["one", "two"].map((name) => bytesFor(name).slice(0, 16));

function scene(maxSteps?: number) {
  const host = new TestHost();
  const known: KnownMessage[] = [];
  const inquiry = { find: () => Promise.resolve(known) };
  const trace = new MessageTrace(inquiry, host, maxSteps);
  const hear = (
    event: { type: "accepted" } | { type: "offered" } | { type: "ended"; reason: string | null },
    msgId = ID!,
    to = bob!,
  ) => {
    host.pass(1_000);
    const parts = { msgId, from: alice!, to, size: 9, acceptedAt: host.now() - 5 };
    trace.hear({ ...parts, ...event } as MailboxEvent);
  };
  const stepsOf = async (msgId = ID!) =>
    (await trace.of(msgId)).map(({ steps }) => steps.map(({ step }) => step));
  return { host, known, trace, hear, stepsOf };
}

Deno.test("The way of a message is told step by step, with times", async () => {
  const { host, trace, hear } = scene();
  const start = host.now();
  hear({ type: "accepted" });
  hear({ type: "accepted" }, OTHER_ID);
  hear({ type: "offered" });
  hear({ type: "offered" });
  hear({ type: "ended", reason: null });
  deepEqual(await trace.of(ID!), [{
    from: alice,
    to: bob,
    size: 9,
    state: "delivered",
    steps: [
      { step: "accepted", at: start + 995, reason: null },
      { step: "stored", at: start + 1_000, reason: null },
      { step: "offered", at: start + 3_000, reason: null },
      { step: "offered", at: start + 4_000, reason: null },
      { step: "delivered", at: start + 5_000, reason: null },
    ],
  }]);
});

Deno.test("A message to several peers has a way to each", async () => {
  const { trace, hear } = scene();
  hear({ type: "accepted" });
  hear({ type: "accepted" }, ID, carol);
  hear({ type: "ended", reason: "expired" }, ID, carol);
  const traces = await trace.of(ID!);
  deepEqual(traces.map(({ to, state }) => [to, state]), [[bob, "waiting"], [carol, "ended"]]);
  equal(traces[1]?.steps.at(-1)?.reason, "expired");
});

Deno.test("What memory has forgotten the store still knows in part", async () => {
  const { known, trace, hear, stepsOf } = scene();
  const end = { delivered: false, reason: "expired", at: 7, receipt: null } as const;
  known.push({ from: alice!, to: bob!, end });
  deepEqual(await trace.of(ID!), [{
    from: alice,
    to: bob,
    size: undefined,
    state: "ended",
    steps: [{ step: "ended", at: 7, reason: "expired" }],
  }]);
  // Both know of the end: it is told once.
  hear({ type: "ended", reason: "expired" });
  deepEqual(await stepsOf(), [["ended"]]);
});

Deno.test("Only the latest steps are remembered", async () => {
  const { hear, stepsOf } = scene(3);
  hear({ type: "accepted" });
  for (let i = 0; i < 2; i++) hear({ type: "offered" });
  deepEqual(await stepsOf(), [["accepted", "stored", "offered", "offered"]]);
  hear({ type: "offered" }, OTHER_ID);
  deepEqual(await stepsOf(), [["offered", "offered"]]);
  for (let i = 0; i < 3; i++) hear({ type: "offered" }, OTHER_ID);
  deepEqual(await stepsOf(), []);
});
