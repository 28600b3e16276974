import assert from "node:assert/strict";
import {
  addressKey,
  clientAddress,
  plainAddress,
  TrustedProxies,
} from "../../../src/roles/signal/client_address.ts";

Deno.test("addressKey() is the IPv4 address, or the /64 of an IPv6 address", () => {
  const keys = {
    "192.0.2.7": "192.0.2.7",
    "2001:db8::1": "2001:db8::/64",
    "2001:DB8:0:0:ffff:ffff:ffff:ffff": "2001:db8::/64",
    "2001:db8:0:1::1": "2001:db8:0:1::/64",
    "::1": "::/64",
    "unknown": "unknown",
  };
  for (const [address, key] of Object.entries(keys)) assert.equal(addressKey(address), key);
});

Deno.test("plainAddress() unwraps what is mapped and drops zones; it takes no other spelling", () => {
  const addresses = {
    "192.0.2.7": "192.0.2.7",
    "::ffff:192.0.2.7": "192.0.2.7",
    "::FFFF:c000:0207": "192.0.2.7",
    "fe80::1%eth0": "fe80::1",
    "2001:db8:0:0::1": "2001:db8::1",
    "2001:DB8::1": "2001:db8::1",
  };
  for (const [text, address] of Object.entries(addresses)) {
    assert.equal(plainAddress(text), address);
  }
  for (const text of ["", "127.1", "0x7f.0.0.1", "010.0.0.1", "localhost", "1.2.3.4:5", "[::1]"]) {
    assert.equal(plainAddress(text), undefined, text);
  }
});

Deno.test("TrustedProxies takes addresses and ranges, and nothing else", () => {
  for (const text of ["proxy", "10.0.0.0/33", "10.0.0/8", ""]) {
    assert.throws(() => new TrustedProxies([text]), RangeError, text);
  }
  const proxies = new TrustedProxies(["10.0.0.0/8", "::1"]);
  for (const address of ["10.9.9.9", "::1"]) assert.equal(proxies.has(address), true, address);
  for (const address of ["11.0.0.1", "::2", "unknown"]) {
    assert.equal(proxies.has(address), false, address);
  }
});

const FORWARDED: [remote: string, header: string | undefined, client: string][] = [
  ["203.0.113.1", "198.51.100.1", "203.0.113.1"],
  ["10.0.0.1", undefined, "10.0.0.1"],
  ["10.0.0.1", "198.51.100.1", "198.51.100.1"],
  ["::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"],
  ["10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"],
  ["10.0.0.1", "1.1.1.1, 198.51.100.1, 10.9.9.9", "198.51.100.1"],
  ["10.0.0.1", "1.1.1.1,2.2.2.2,fd00::5,10.0.0.3", "2.2.2.2"],
  ["10.0.0.1", "10.0.0.2, 10.0.0.3", "10.0.0.2"],
  ["fd00::1", "[2001:db8::1]:4711", "2001:db8::1"],
  ["fd00::1", "198.51.100.1:4711", "198.51.100.1"],
  ["10.0.0.1", "198.51.100.1, garbage", "10.0.0.1"],
  ["10.0.0.1", "garbage, 10.0.0.2", "10.0.0.2"],
  ["10.0.0.1", "", "10.0.0.1"],
];

for (const [remote, header, client] of FORWARDED) {
  Deno.test(`behind ${remote}, X-Forwarded-For ${header} means ${client}`, () => {
    const proxies = new TrustedProxies(["10.0.0.0/8", "fd00::/8"]);
    assert.equal(clientAddress(remote, header, proxies), client);
  });
}

Deno.test("without trusted proxies nobody's word is believed", () => {
  assert.equal(clientAddress("127.0.0.1", "1.1.1.1", new TrustedProxies([])), "127.0.0.1");
  assert.equal(clientAddress(undefined, "1.1.1.1", new TrustedProxies([])), "unknown");
});
