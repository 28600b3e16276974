import { equal } from "node:assert/strict";
import { parsePrefix } from "../../../src/base/address.ts";
import { isLocalAddress } from "../../../src/protocol/mdns/local_network.ts";

const prefixes = (...texts: string[]) =>
  texts.map((text) => parsePrefix(text)).filter((prefix) => prefix !== undefined);
const NETWORKS = prefixes("192.168.1.7/24", "203.0.113.9/28", "2001:db8:1::7/64");

const ALLOWED = [
  ...["192.168.1.20", "192.168.2.20", "10.1.2.3", "172.16.0.1", "172.31.255.254", "169.254.7.7"],
  ...["fd00::1", "fc12:3456::1", "203.0.113.10", "2001:db8:1::20"],
];
const REFUSED = [
  ...["8.8.8.8", "203.0.113.20", "172.32.0.1", "192.169.0.1", "2001:db8:2::1", "2606:4700::1"],
  ...[
    "127.0.0.1",
    "127.1.2.3",
    "::1",
    "0.0.0.0",
    "::",
    "224.0.0.251",
    "255.255.255.255",
    "ff02::fb",
  ],
  // The edges of an IPv4 network, and what means nothing without a zone.
  ...["192.168.1.255", "192.168.1.0", "203.0.113.0", "203.0.113.15", "fe80::1"],
  // Another spelling, and nothing at all.
  ...[
    "::ffff:192.168.1.20",
    "192.168.1.020",
    "FD00::1",
    "fd00:0::1",
    "192.168.1",
    "",
    "home.local",
  ],
];

for (const [addresses, isAllowed] of [[ALLOWED, true], [REFUSED, false]] as const) {
  for (const address of addresses) {
    Deno.test(`mDNS: a stranger may ${isAllowed ? "" : "not "}name "${address}"`, () => {
      equal(isLocalAddress(address, NETWORKS), isAllowed);
    });
  }
}

Deno.test("mDNS: both ends of a network of two machines may be named", () => {
  equal(isLocalAddress("198.51.100.0", prefixes("198.51.100.1/31")), true);
});
