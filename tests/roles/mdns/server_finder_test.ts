import { deepEqual, equal, ok } from "node:assert/strict";
import { instanceName } from "../../../src/protocol/mdns/instance_name.ts";
import { recordsOf, SERVICE } from "../../../src/protocol/mdns/local_record.ts";
import { ServerFinder } from "../../../src/roles/mdns/server_finder.ts";
import { FakeTime, turns } from "../../support/fake_time.ts";
import { bytesFor, identityFor } from "../../support/identities.ts";
import { TestMulticast } from "../../support/test_multicast.ts";

const home = identityFor("home").peerId;
const HOME = "192.168.1.20";
const nameOf = (server = home, nonce = "nonce") =>
  instanceName(server, bytesFor(nonce).slice(0, 8));
const saying = (instance: string, ...addresses: string[]) => ({
  records: recordsOf({ instance, port: 9_091, tls: false, addresses }),
});

function scene() {
  const time = new FakeTime();
  const network = new TestMulticast("192.168.1.7/24");
  const finder = new ServerFinder(time, network.open);
  return {
    time,
    network,
    finder,
    async [Symbol.asyncDispose]() {
      await finder.close();
      time[Symbol.dispose]();
    },
  };
}

Deno.test("mDNS finder: says nothing on the network until somebody looks", async () => {
  await using each = scene();
  each.finder.watch(home, () => {});
  each.time.pass(600_000);
  ok(!each.network.isOpen);
  each.finder.look(home, () => {});
  ok(each.network.isOpen);
  await turns();
  const [{ message } = {}] = each.network.take();
  deepEqual(message?.questions.map(({ name, type }) => [name, type]), [[SERVICE, "PTR"]]);
  deepEqual(message?.records, [], "known answers might be a forgery");
});

Deno.test("mDNS finder: asks ever more rarely, and not at all when nobody looks", async () => {
  await using each = scene();
  const end = each.finder.look(home, () => {});
  await turns();
  each.network.take();
  const counts = [150, 1_000, 2_000, 4_000, 8_000].map((ms) => {
    each.time.pass(ms);
    return each.network.take().length;
  });
  ok(counts.every((count) => count === 1), `${counts}`);
  each.time.pass(600_000);
  const many = each.network.take().length;
  ok(many >= 9 && many <= 12, `${many} queries in ten minutes`);
  end();
  each.time.pass(600_000);
  equal(each.network.take().length, 0);
});

Deno.test("mDNS finder: a search that has grown slow does not slow another one down", async () => {
  await using each = scene();
  each.finder.watch(home, () => {});
  each.finder.look(home, () => {});
  await turns();
  each.time.pass(310_000);
  each.network.take();
  each.finder.look(home, () => {});
  each.time.pass(5_000);
  equal(each.network.take().length, 0, "the next query leaves in a minute");
  each.finder.look(undefined, () => {});
  each.time.pass(5_000);
  equal(each.network.take().length, 3);
});

Deno.test("mDNS finder: tells of the server that is looked for, of others only who looks for any", async () => {
  await using each = scene();
  const [wanted, all]: [string[], string[]] = [[], []];
  each.finder.look(home, (url) => wanted.push(url));
  each.finder.look(undefined, (url) => all.push(url));
  const other = identityFor("other").peerId;
  each.network.receive(saying(nameOf(other), "192.168.1.66"), "192.168.1.66");
  each.network.receive(saying(nameOf(), HOME), HOME);
  deepEqual(wanted, ["ws://192.168.1.20:9091/link"]);
  equal(all.length, 2);
  const later: string[] = [];
  each.finder.look(home, (url) => later.push(url));
  deepEqual(later, wanted, "what is remembered is told at once");
});

Deno.test("mDNS finder: whoever repeats the server's name has it dialed a bounded number of times", async () => {
  await using each = scene();
  const told: string[] = [];
  each.finder.look(home, (url) => told.push(url));
  for (let i = 1; i < 200; i++) {
    each.network.receive(
      saying(nameOf(), `10.0.0.${i}`, `10.0.1.${i}`, `10.0.2.${i}`),
      `10.0.0.${i}`,
    );
  }
  equal(told.length, 4);
  equal(told.filter((url) => url.includes("//10.0.0.1:") || url.includes("//10.0.1.1:")).length, 2);
});

Deno.test("mDNS finder: one liar, however many places it names, leaves room for the server", async () => {
  await using each = scene();
  const told: string[] = [];
  each.finder.look(home, (url) => told.push(url));
  for (let port = 1; port < 100; port++) {
    const records = recordsOf({ instance: nameOf(), port, tls: false, addresses: ["10.0.0.1"] });
    each.network.receive({ records }, "10.0.0.1");
  }
  equal(told.length, 2);
  each.network.receive(saying(nameOf(), HOME), HOME);
  equal(told.at(-1), "ws://192.168.1.20:9091/link");
});

Deno.test("mDNS finder: an honest server is told of in one of several looks among many liars", async () => {
  await using each = scene();
  for (let i = 1; i < 64; i++) each.network.receive(saying(nameOf(), `10.0.0.${i}`), `10.0.0.${i}`);
  each.finder.look(undefined, () => {})();
  for (let i = 1; i < 60; i++) each.network.receive(saying(nameOf(), `10.0.0.${i}`), `10.0.0.${i}`);
  each.network.receive(saying(nameOf(), HOME), HOME);
  const found = Array.from({ length: 200 }, () => {
    const told: string[] = [];
    each.finder.look(home, (url) => told.push(url))();
    return told.includes("ws://192.168.1.20:9091/link");
  });
  ok(found.includes(true));
  ok(found.includes(false));
});

Deno.test("mDNS finder: a server that comes is news, but not more often than every five seconds", async () => {
  await using each = scene();
  let news = 0;
  each.finder.look(undefined, () => {})();
  each.finder.watch(home, () => news++);
  each.network.receive(saying(nameOf(identityFor("other").peerId), HOME), HOME);
  equal(news, 0);
  for (let i = 0; i < 100; i++) {
    each.network.receive(saying(nameOf(home, `start ${i}`), HOME), HOME);
    each.network.receive({
      records: recordsOf({
        instance: nameOf(home, `start ${i}`),
        port: 1,
        tls: false,
        addresses: [HOME],
      }, 0),
    }, HOME);
  }
  equal(news, 1);
  each.time.pass(5_000);
  each.network.receive(saying(nameOf(home, "another start"), HOME), HOME);
  equal(news, 2);
});

Deno.test("mDNS finder: queries and addresses that no stranger may name find nothing", async () => {
  await using each = scene();
  const told: string[] = [];
  each.finder.look(undefined, (url) => told.push(url));
  each.network.receive({ ...saying(nameOf(), HOME), isResponse: false }, HOME);
  each.network.receive(saying(nameOf(), "8.8.8.8", "127.0.0.1", "192.168.1.255"), HOME);
  deepEqual(told, []);
});
