import { deepEqual, equal } from "node:assert/strict";
import { fromUtf8, utf8 } from "../../src/base/bytes.ts";
import type { Node } from "../../src/mod.ts";
import { within } from "../support/deadline.ts";
import { Home } from "../support/home.ts";
import { eventually } from "./bad_input_scene.ts";

const PATIENCE = 120_000;

Deno.test("Two peers of one server see each other, talk over its relay, and nothing is doubled", async () => {
  await using home = await Home.open();
  const alice = await home.peer("alice");
  const bob = await home.peer("bob");
  await until(alice, "roster", () => alice.roster().some(({ online }) => online));
  const received: string[] = [];
  const all = Promise.withResolvers<void>();
  bob.on("message", ({ data }) => {
    if (received.push(fromUtf8(data)) === 200) all.resolve();
  });
  // Looked at then and there: a reader that takes very long may lose its link again.
  const pairs = until(alice, "path", () => alice.path(bob.peerId) === "relayed")
    .then(() => home.server.relayStats()?.activePairs);
  for (let index = 0; index < 100; index++) await alice.send(bob.peerId, "", utf8(`${index}`));
  equal(await pairs, 1);
  const sent = await alice.send(bob.peerId, "", utf8("100"));
  await sent.accepted;
  for (let index = 101; index < 200; index++) await alice.send(bob.peerId, "", utf8(`${index}`));
  await soon(all.promise, "all messages");
  deepEqual(received, Array.from({ length: 200 }, (_, index) => `${index}`));
});

Deno.test("What nobody keeps goes from peer to peer, and only while both are there", async () => {
  await using home = await Home.open();
  const [alice, bob] = [await home.peer("alice"), await home.peer("bob")];
  await overRelay(alice, bob, "0");
  equal(await alice.sendTransient(bob.peerId, "c", utf8("nobody listens")), false);
  const heard: string[] = [];
  bob.on("transient", ({ from, channel, data }) => {
    heard.push(`${from.equals(alice.peerId)} ${channel} ${fromUtf8(data)}`);
  });
  equal(await alice.sendTransient(bob.peerId, "c", utf8("hello")), true);
  deepEqual(heard, ["true c hello"]);
  const bobId = bob.peerId;
  await bob.close();
  await until(alice, "path", () => alice.path(bobId) === "mailbox");
  equal(await alice.sendTransient(bobId, "c", utf8("too late")), false);
});

Deno.test("A relayed link that is lost leaves the messages to the mailbox, in order and once", async () => {
  await using home = await Home.open();
  const alice = await home.peer("alice");
  const bob = await home.peer("bob");
  await overRelay(alice, bob, "0");
  const bobId = bob.peerId;
  let next = 1;
  const received: string[] = [];
  bob.on("message", ({ data }) => void received.push(fromUtf8(data)));
  const sending = (async () => {
    while (next < 60) await alice.send(bobId, "", utf8(`${next++}`));
  })();
  await bob.close();
  await sending;
  await until(alice, "path", () => alice.path(bobId) === "mailbox");
  const back = await home.reopen("bob");
  const all = Promise.withResolvers<void>();
  const check = () => new Set(received).size >= 60 && all.resolve();
  back.on("message", ({ data }) => {
    received.push(fromUtf8(data));
    check();
  });
  check();
  await soon(all.promise, "all messages");
  const expected = Array.from({ length: 60 }, (_, index) => `${index}`);
  // What a handler had when its node was closed may be shown again, and nothing else.
  deepEqual(received.filter((text, index) => text !== received[index - 1]), expected);
});

Deno.test("A relay without room tells so, and messages go by the mailbox", async () => {
  await using home = await Home.open({ relayCapacity: 1 });
  const names = ["alice", "bob", "carol", "dave"];
  const [alice, bob, carol, dave] = await Promise.all(names.map((name) => home.peer(name)));
  await overRelay(alice!, bob!, "x");
  const arrived = new Promise<string>((resolve) => {
    dave!.on("message", ({ data }) => resolve(fromUtf8(data)));
  });
  await until(carol!, "roster", () => carol!.rosterMember(dave!.peerId).online);
  await carol!.send(dave!.peerId, "", utf8("by the mailbox"));
  equal(await soon(arrived, "the message"), "by the mailbox");
  equal(carol!.path(dave!.peerId), "mailbox");
  // The mailbox may have been faster than the answer to what carol asked of the relay.
  const isRefused = () => Promise.resolve((home.server.relayStats()?.refused ?? 0) > 0);
  await eventually(AbortSignal.timeout(PATIENCE), isRefused, Boolean);
  equal(home.server.relayStats()?.activePairs, 1);
});

Deno.test("The operator's names reach the roster, and the relay's numbers the operator", async () => {
  const token = "a-token-for-this-test";
  await using home = await Home.open({ management: { port: 0, token } });
  const [alice, bob] = [await home.peer("alice"), await home.peer("bob")];
  const ask = async (path: string, init: RequestInit = {}): Promise<unknown> => {
    const url = `http://127.0.0.1:${home.server.addresses.management?.port}${path}`;
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    return await (await fetch(url, { ...init, headers })).json();
  };
  const name = "Bob's phone";
  const named = until(alice, "roster", () => alice.rosterMember(bob.peerId).name === name);
  await ask(`/peers/${bob.peerId}`, { method: "PATCH", body: JSON.stringify({ name }) });
  await named;

  await overRelay(alice, bob, "x");
  const told = await ask("/relay/stats") as { relay: Record<string, unknown> };
  deepEqual([told.relay.capacity, told.relay.active_connections], [100, 1]);
  equal(Number(told.relay.bytes_relayed) > 0, true);
});

Deno.test("A server without roster and relay keeps to its mailbox", async () => {
  await using home = await Home.open({ roster: false, relayCapacity: 0 });
  const [alice, bob] = [await home.peer("alice"), await home.peer("bob")];
  const arrived = new Promise<void>((resolve) => void bob.on("message", () => resolve()));
  await alice.send(bob.peerId, "", utf8("x"));
  await soon(arrived, "the message");
  deepEqual(alice.roster(), []);
  equal(alice.path(bob.peerId), "mailbox");
  equal(home.server.relayStats(), undefined);
});

Deno.test("A peer that takes messages of its contacts only refuses a stranger, who is told", async () => {
  await using home = await Home.open({ relayCapacity: 0 });
  const alice = await home.peer("alice");
  const bob = await home.peer("bob", { contactsOnly: true });
  const refused = new Promise<string>((resolve) => {
    alice.on("refused", ({ error, dropped }) => {
      if (dropped) resolve(error.message);
    });
  });
  await alice.send(bob.peerId, "", utf8("from a stranger"));
  equal(
    await soon(refused, "a refusal"),
    `The message did not reach ${bob.peerId}: refused by the recipient`,
  );
  const arrived = new Promise<string>((resolve) => {
    bob.on("message", ({ data }) => resolve(fromUtf8(data)));
  });
  await bob.addContact(alice.peerId);
  await alice.send(bob.peerId, "", utf8("from a contact"));
  equal(await soon(arrived, "the message"), "from a contact");
  deepEqual(bob.contacts().map(String), [alice.peerId.toString()]);
});

/** Sends a first message, which opens a relayed link once the sender knows its peer to be online. */
async function overRelay(from: Node, to: Node, text: string): Promise<void> {
  await until(from, "roster", () => from.rosterMember(to.peerId).online);
  await from.send(to.peerId, "", utf8(text));
  await until(from, "path", () => from.path(to.peerId) === "relayed");
}

function until(node: Node, event: "roster" | "path", isDone: () => boolean): Promise<void> {
  const done = new Promise<void>((resolve) => {
    if (isDone()) return resolve();
    const remove = node.on(event, () => {
      if (!isDone()) return;
      remove();
      resolve();
    });
  });
  return soon(done, `the event ${event} that makes true: ${isDone}`);
}

/** What does not come fails the test, rather than to hold it up for ever. */
function soon<T>(promise: Promise<T>, what: string): Promise<T> {
  return within(AbortSignal.timeout(PATIENCE), promise, () => what);
}
