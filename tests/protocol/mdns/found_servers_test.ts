import { deepEqual, equal } from "node:assert/strict";
import { FoundServers } from "../../../src/protocol/mdns/found_servers.ts";
import { type LocalRecord, recordsOf } from "../../../src/protocol/mdns/local_record.ts";

const NAME = "00112233445566778899aabbccddeeff00112233";
const HOME = "192.168.1.20";
const isAllowed = (address: string) => address.startsWith("192.168.");
const records = (
  { instance = NAME, port = 9_091, tls = false, addresses = [HOME], ttl }: {
    instance?: string;
    port?: number;
    tls?: boolean;
    addresses?: string[];
    ttl?: number;
  } = {},
) => recordsOf({ instance, port, tls, addresses }, ttl);
const nameOf = (index: number) => index.toString(16).padStart(40, "0");

Deno.test("mDNS: a response says where a server is", () => {
  const found = new FoundServers();
  const server = { instance: NAME, sender: HOME, urls: ["ws://192.168.1.20:9091/link"] };
  deepEqual(found.take(records(), HOME, isAllowed, 0), [server]);
  deepEqual(found.list(1), [server]);
  deepEqual(found.take(records(), HOME, isAllowed, 1), [], "it is no news");
});

Deno.test("mDNS: a server with TLS, another port, the sender's own address first", () => {
  const found = new FoundServers();
  const addresses = ["192.168.7.7", HOME, "8.8.8.8"];
  const [server] = found.take(records({ tls: true, port: 443, addresses }), HOME, isAllowed, 0);
  deepEqual(server?.urls, ["wss://192.168.1.20:443/link", "wss://192.168.7.7:443/link"]);
});

Deno.test("mDNS: a server is forgotten when its time has passed, or it says goodbye", () => {
  const found = new FoundServers();
  found.take(records(), HOME, isAllowed, 0);
  equal(found.list(119_999).length, 1);
  equal(found.list(120_000).length, 0, "its records said 120 s");
  found.take(records({ ttl: 4_000_000_000 }), HOME, isAllowed, 200_000);
  equal(found.list(320_001).length, 0, "nobody is remembered for longer");
  found.take(records(), HOME, isAllowed, 400_000);
  found.take(records({ ttl: 0 }), HOME, isAllowed, 400_001);
  deepEqual(found.list(400_002), []);
});

Deno.test("mDNS: a stranger neither replaces nor takes back what the server says", () => {
  const found = new FoundServers();
  found.take(records(), HOME, isAllowed, 0);
  found.take(records({ addresses: ["192.168.1.66"] }), "192.168.1.66", isAllowed, 1);
  found.take(records({ ttl: 0 }), "192.168.1.66", isAllowed, 2);
  deepEqual(found.list(3).map(({ urls }) => urls), [["ws://192.168.1.20:9091/link"]]);
});

Deno.test("mDNS: one sender fills a part of what is remembered, all of them no more than that", () => {
  const found = new FoundServers();
  for (let i = 0; i < 1_000; i++) {
    found.take(records({ instance: nameOf(i) }), "192.168.1.66", isAllowed, 0);
  }
  equal(found.list(0).length, 8);
  for (let i = 0; i < 1_000; i++) {
    found.take(records({ instance: nameOf(i) }), `192.168.2.${i}`, isAllowed, 0);
  }
  equal(found.list(0).length, 64);
  found.take(records(), HOME, isAllowed, 120_001);
  equal(found.list(120_001).length, 1, "there is room again");
});

Deno.test("mDNS: half a response, other services and foreign addresses find nothing", () => {
  const whole = records();
  const without = (type: LocalRecord["type"]) => whole.filter((record) => record.type !== type);
  const renamed = (name: string) =>
    whole.map((record) => record.type === "PTR" ? { ...record, name } : record);
  const cases: readonly (readonly LocalRecord[])[] = [
    [],
    without("PTR"),
    without("SRV"),
    without("A"),
    renamed("_http._tcp.local"),
    records({ port: 0 }),
    records({ addresses: ["8.8.8.8", "127.0.0.1"] }),
    records({ instance: "My home" }),
    records({ instance: `${NAME}00` }),
  ];
  for (const each of cases) {
    deepEqual(new FoundServers().take(each, HOME, isAllowed, 0), []);
  }
});

Deno.test("mDNS: names are the same in capitals", () => {
  const shouted = records().map((record) => ({ ...record, name: record.name.toUpperCase() }));
  equal(new FoundServers().take(shouted, HOME, isAllowed, 0).length, 1);
});

Deno.test("mDNS: a hundred addresses of one server are eight", () => {
  const addresses = Array.from({ length: 100 }, (_, i) => `192.168.1.${i + 1}`);
  const [server] = new FoundServers().take(records({ addresses }), "192.168.1.3", isAllowed, 0);
  equal(server?.urls.length, 8);
  equal(server?.urls[0], "ws://192.168.1.3:9091/link");
});
