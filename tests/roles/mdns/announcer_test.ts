import { deepEqual, equal, notEqual, ok } from "node:assert/strict";
import { isInstanceOf } from "../../../src/protocol/mdns/instance_name.ts";
import { type LocalRecord, SERVICE } from "../../../src/protocol/mdns/local_record.ts";
import { Announcer } from "../../../src/roles/mdns/announcer.ts";
import { FakeTime, turns } from "../../support/fake_time.ts";
import { identityFor } from "../../support/identities.ts";
import { type SentMessage, TestMulticast } from "../../support/test_multicast.ts";

const server = identityFor("home").peerId;
const DAY = 86_400_000;

async function announced(
  work: (network: TestMulticast, time: FakeTime, announcer: Announcer) => void | Promise<void>,
  listener = { host: "0.0.0.0", port: 9_091, tls: false },
): Promise<void> {
  using time = new FakeTime();
  const network = new TestMulticast("192.168.1.20/24", "fd00::20/64", "fe80::20/64");
  await using announcer = new Announcer({ server, listener, host: time, open: network.open });
  await turns();
  await work(network, time, announcer);
}

const pointers = (sent: readonly SentMessage[]) =>
  sent.flatMap(({ message }) => message.records).filter((record) => record.name === SERVICE)
    .map((record: LocalRecord) => ({
      ...record,
      target: record.type === "PTR" ? record.target : "",
    }));
const addressesIn = (sent: readonly SentMessage[]) =>
  sent.flatMap(({ message }) => message.records)
    .flatMap((record) => record.type === "A" || record.type === "AAAA" ? [record.address] : []);

Deno.test("mDNS announcer: tells everybody three times, and names the server to those who know it", () =>
  announced((network, time) => {
    time.pass(600_000);
    const sent = network.take();
    equal(sent.length, 3);
    ok(sent.every(({ message, to }) => message.isResponse && to === undefined));
    deepEqual(new Set(addressesIn(sent)), new Set(["192.168.1.20"]));
    const [name = ""] = pointers(sent)[0]?.target.split(".") ?? [];
    ok(isInstanceOf(server, name));
    const text = JSON.stringify(sent);
    ok(!text.includes(server.toString()) && !text.includes(Deno.hostname()));
  }));

Deno.test("mDNS announcer: answers who asks", () =>
  announced((network, time) => {
    time.pass(10_000);
    network.take();
    const questions = [{ name: SERVICE, type: "PTR", isUnicast: false }];
    network.receive({ isResponse: false, questions }, "192.168.1.30");
    time.pass(10);
    equal(network.take().length, 0, "not at once");
    time.pass(150);
    equal(pointers(network.take()).length, 1);
    network.receive({ isResponse: false, questions }, "192.168.1.30", 40_000);
    time.pass(150);
    deepEqual(network.take().map(({ to }) => to), [{ address: "192.168.1.30", port: 40_000 }]);
  }));

for (
  const [host, addresses] of [
    ["::", ["192.168.1.20", "fd00::20"]],
    ["192.168.1.20", ["192.168.1.20"]],
    ["fd00::20", ["fd00::20"]],
    ["127.0.0.1", []],
    ["::1", []],
    ["10.0.0.1", []],
  ] as const
) {
  Deno.test(
    `mDNS announcer: a server that listens on ${host} is announced at ${
      addresses.join(" and ") || "no address"
    }`,
    () =>
      announced((network, time) => {
        time.pass(500);
        deepEqual(new Set(addressesIn(network.take())), new Set(addresses));
      }, { host, port: 9_091, tls: false }),
  );
}

Deno.test("mDNS announcer: takes everything back at the end", async () => {
  let before: readonly SentMessage[] = [];
  let there: TestMulticast | undefined;
  await announced((network, time) => {
    time.pass(10_000);
    before = network.take();
    there = network;
  });
  const [goodbye, ...more] = there?.take() ?? [];
  equal(more.length, 0);
  ok(goodbye?.message.records.every(({ ttl }) => ttl === 0));
  deepEqual(
    pointers([goodbye].filter((each) => each !== undefined))[0]?.target,
    pointers(before)[0]?.target,
  );
  equal(there?.isOpen, false);
});

Deno.test("mDNS announcer: says nothing after its goodbye, also when it ends as it begins", async () => {
  using time = new FakeTime();
  const network = new TestMulticast("192.168.1.20/24");
  const listener = { host: "0.0.0.0", port: 9_091, tls: false };
  const announcer = new Announcer({ server, listener, host: time, open: network.open });
  await announcer[Symbol.asyncDispose]();
  network.take();
  time.pass(10_000);
  deepEqual(network.take(), []);
});

Deno.test("mDNS announcer: has another name every day", () =>
  announced((network, time) => {
    time.pass(10_000);
    const [first] = pointers(network.take());
    time.pass(DAY);
    const [goodbye, second] = pointers(network.take());
    deepEqual([goodbye?.target, goodbye?.ttl], [first?.target, 0]);
    notEqual(second?.target, first?.target);
    ok(isInstanceOf(server, second?.target.split(".")[0] ?? ""));
  }));
