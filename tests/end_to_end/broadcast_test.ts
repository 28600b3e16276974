import { deepEqual, equal, rejects } from "node:assert/strict";
import { fromUtf8, utf8 } from "../../src/base/bytes.ts";
import { Node } from "../../src/mod.ts";
import { checkOf } from "../../src/roles/peer/message_check.ts";
import { within } from "../support/deadline.ts";
import { Home } from "../support/home.ts";

Deno.test("A broadcast reaches every contact under one id, and no stranger", async () => {
  await using home = await Home.open();
  const [laptop, phone, desktop, stranger] = await home.peers(
    "laptop",
    "phone",
    "desktop",
    "guest",
  );
  await laptop.addContact(phone.peerId);
  await laptop.addContact(desktop.peerId);
  const arrived = [phone, desktop].map((node) => next(node));
  stranger.on("message", () => {
    throw new Error("A stranger got a broadcast");
  });
  const sent = await laptop.broadcast("notes", utf8("milk"));
  deepEqual(
    sent.map(({ to }) => `${to}`).sort(),
    [phone.peerId, desktop.peerId].map(String).sort(),
  );
  for (const message of await soon(Promise.all(arrived), "the broadcast")) {
    deepEqual([message.channel, message.text], ["notes", "milk"]);
    deepEqual(sent.map(({ id }) => id), [message.id, message.id]);
  }
  await soon(Promise.all(sent.map(({ accepted }) => accepted)), "the acceptance");
});

Deno.test("A broadcast to somebody named goes to these alone, and to nobody is nothing", async () => {
  await using home = await Home.open();
  const [laptop, phone] = await home.peers("laptop", "phone");
  deepEqual(await laptop.broadcast("", utf8("x")), []);
  const arrived = next(phone);
  const sent = await laptop.broadcast("", utf8("y"), { to: [phone.peerId, `${phone.peerId}`] });
  equal(sent.length, 1);
  equal((await soon(arrived, "the broadcast")).text, "y");
  await rejects(laptop.broadcast("", utf8("z"), { to: [laptop.peerId] }), { code: "refused" });
});

Deno.test("A broadcast to devices that are away is stored once, and gone with the last of them", async () => {
  await using home = await Home.open({ relayCapacity: 0 });
  const [laptop] = await home.peers("laptop");
  const away = await home.peers("phone", "desktop", "tablet");
  const ids = away.map(({ peerId }) => peerId);
  await Promise.all(away.map((node) => node.close()));
  const data = new Uint8Array(300_000).fill(7);
  const sent = await laptop.broadcast("photos", data, { to: ids });
  await soon(Promise.all(sent.map(({ accepted }) => accepted)), "the acceptance");
  const parts = Math.ceil(data.length / 65_536);
  equal(await storedParts(home), parts);

  for (const name of ["phone", "desktop", "tablet"]) {
    equal(await storedParts(home), parts, "there is one who has yet to read it");
    const delivered = new Promise((resolve) => laptop.on("delivered", resolve));
    const node = await home.reopen(name);
    equal((await soon(next(node), "the broadcast")).size, data.length);
    await soon(delivered, "the receipt");
  }
  equal(await storedParts(home), 0);
});

Deno.test("What waits for a device that is removed is freed at once, and no sooner for the others", async () => {
  await using home = await Home.open({ relayCapacity: 0 });
  const [laptop] = await home.peers("laptop");
  const away = await home.peers("phone", "desktop");
  const [phone, desktop] = away.map(({ peerId }) => peerId);
  await Promise.all(away.map((node) => node.close()));
  const data = new Uint8Array(300_000);
  const sent = await laptop.broadcast("photos", data, { to: [phone!, desktop!] });
  await soon(Promise.all(sent.map(({ accepted }) => accepted)), "the acceptance");
  const refused = new Promise<string>((resolve) => {
    laptop.on("refused", ({ error }) => resolve(error.message));
  });
  await home.server.pairing.unpair(phone!);
  equal(
    await soon(refused, "the end"),
    `The message did not reach ${phone}: recipient was unpaired`,
  );
  equal(await storedParts(home) > 0, true);
  await home.server.pairing.unpair(desktop!);
  equal(await storedParts(home), 0);
});

Deno.test("A new device is told with its first broadcast how many came before", async () => {
  await using home = await Home.open();
  const [laptop, phone] = await home.peers("laptop", "phone");
  await laptop.addContact(phone.peerId);
  for (const text of ["one", "two"]) {
    const arrived = next(phone);
    await laptop.broadcast("", utf8(text));
    equal((await soon(arrived, text)).unreadable, undefined);
  }
  const tablet = await home.peer("tablet");
  await laptop.addContact(tablet.peerId);
  for (const [text, unreadable] of [["three", 2], ["four", undefined]] as const) {
    const arrived = next(tablet);
    await laptop.broadcast("", utf8(text));
    deepEqual(await soon(arrived.then(({ text, unreadable }) => [text, unreadable]), text), [
      text,
      unreadable,
    ]);
  }
});

Deno.test("A contact for whom too many messages wait does not keep a broadcast from the others", async () => {
  await using home = await Home.open();
  const [laptop, phone, tablet] = await home.peers("laptop", "phone", "tablet");
  for (const { peerId } of [phone, tablet]) await laptop.addContact(peerId);
  await laptop.close();
  await fillOutbox(`${home.folder}/laptop/cairn.kv`, `${tablet.peerId}`);
  const node = await Node.create({ storagePath: `${home.folder}/laptop` });
  try {
    const sent = await node.broadcast("", utf8("x"));
    equal(new Set(sent.map(({ id }) => id)).size, 1);
    deepEqual(
      sent.map(({ to }) => `${to}`).sort(),
      [phone.peerId, tablet.peerId].map(String).sort(),
    );
    const refused = sent.find(({ to }) => to.equals(tablet.peerId));
    await rejects(refused!.accepted, { code: "refused" });
    const to = sent.map((copy) => copy.to);
    await rejects(node.broadcast("", utf8("y"), { to }), { code: "refused" });
  } finally {
    await node.close();
  }
});

/** As many messages as may wait for one recipient. */
async function fillOutbox(file: string, recipient: string): Promise<void> {
  using kv = await Deno.openKv(file);
  const content = { id: new Uint8Array(16), channel: "", sentAt: 1, data: utf8("x") };
  for (let first = 1; first <= 10_000; first += 500) {
    const atomic = kv.atomic();
    for (let sequence = first; sequence < first + 500; sequence++) {
      const check = checkOf({ ...content, sequence });
      atomic.set(["outbox", recipient, sequence], { ...content, failures: 0, check });
    }
    await atomic.commit();
  }
}

function soon<T>(promise: Promise<T>, what: string): Promise<T> {
  return within(AbortSignal.timeout(60_000), promise, () => what);
}

interface Shown {
  readonly id: string;
  readonly channel: string;
  readonly text: string;
  readonly size: number;
  readonly unreadable: number | undefined;
}

function next(node: Node): Promise<Shown> {
  return new Promise((resolve) => {
    const remove = node.on("message", ({ id, channel, data, unreadable }) => {
      remove();
      resolve({ id, channel, text: fromUtf8(data), size: data.length, unreadable });
    });
  });
}

/** In how many parts large bodies lie in the server's store. */
async function storedParts(home: Home): Promise<number> {
  using kv = await Deno.openKv(`${home.folder}/server/cairn.kv`);
  return (await Array.fromAsync(kv.list({ prefix: ["mailbox", "blob", "part"] }))).length;
}
