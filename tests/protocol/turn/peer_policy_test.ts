import assert from "node:assert/strict";
import fc from "fast-check";
import { parseAddressPort, parseIp, parsePrefix } from "../../../src/base/address.ts";
import { PeerPolicy, type PeerPolicySettings } from "../../../src/protocol/turn/peer_policy.ts";
import { embeddedIpv4 } from "../../../src/protocol/turn/special_addresses.ts";

const PORT = 40_000;

/** The T-ACL table of the attacks on other relays. */
const DENIED = `
  0.0.0.0 0.1.2.3 127.0.0.1 127.255.255.254 10.0.0.1 100.64.0.1 169.254.169.254 172.16.0.1
  172.31.255.255 192.0.0.1 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1
  224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
  :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:0:127.0.0.1 64:ff9b::7f00:1 64:ff9b:1::7f00:1
  2002:7f00:1:: 2002:a9fe:a9fe:: 2001::1 2001:db8::1 100::1 fe80::1 fec0::1 fc00::1 fd00:ec2::254
  ff02::1 4000::1 3fff::1 2001:2::1 ::ffff:8.8.8.8 ::8.8.8.8 2002:808:808:: 64:ff9b::a9fe:a9fe
`.trim().split(/\s+/);

const ALLOWED = `
  8.8.8.8 172.15.255.255 172.32.0.1 100.63.255.255 100.128.0.1 11.0.0.1 2606:4700::1111
  64:ff9b::808:808 2a00::1
`.trim().split(/\s+/);

for (const address of DENIED) {
  Deno.test(`T-ACL: ${address} is forbidden`, () => {
    assert.equal(policy().judge(ip(address), PORT), "forbidden");
    assert.match(policy().explain(ip(address), 0).sentence, /is refused: it /);
  });
}

for (const address of ALLOWED) {
  Deno.test(`T-ACL: ${address} is allowed`, () => {
    assert.equal(policy().judge(ip(address), PORT), "allowed");
    assert.match(policy().explain(ip(address), 0).sentence, /is allowed: it /);
  });
}

Deno.test("PeerPolicy lets no spelling of an IPv4 address further than the address", () => {
  const opened = policy({ allow: [prefix("10.0.0.0/8"), prefix("::/0")] });
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
    fc.constantFrom(...DENIED, ...ALLOWED).map(ip).filter(({ length }) => length === 4),
  );
  fc.assert(fc.property(bytes, (ipv4) => {
    for (const gate of [policy(), opened]) {
      const verdict = gate.judge(ipv4, PORT);
      for (const [form, address] of Object.entries(spellings(ipv4))) {
        const judged = gate.judge(address, PORT);
        if (address.some((byte) => byte > 1)) assert.deepEqual(embeddedIpv4(address), ipv4, form);
        assert.equal(judged, form === "NAT64" ? verdict : "forbidden", form);
      }
    }
  }));
});

Deno.test("PeerPolicy opens a spelling only together with the address that it carries", () => {
  const translated = prefix("64:ff9b:1::/48");
  const both = policy({ allow: [translated, prefix("10.0.0.0/8")] });
  assert.equal(both.judge(ip("64:ff9b:1::10.0.0.1"), PORT), "allowed");
  const one = policy({ allow: [translated] });
  assert.equal(one.judge(ip("64:ff9b:1::10.0.0.1"), PORT), "forbidden");
  assert.equal(
    one.explain(ip("64:ff9b:1::10.0.0.1"), 0).sentence,
    "64:ff9b:1::a00:1 is refused: it carries 10.0.0.1, which is private (RFC 1918); to open it, " +
      "add 10.0.0.0/8 or a part of it to the allowed peers",
  );
});

const RULES: [allow: string, deny: string, address: string, allowed: boolean][] = [
  ["10.0.0.0/8", "", "10.1.2.3", true],
  ["10.1.0.0/16", "", "10.1.2.3", true],
  ["10.1.0.0/16", "", "10.2.2.3", false],
  // Everything may be reached, but nobody opens the loopback address by that.
  ["0.0.0.0/0", "", "127.0.0.1", false],
  ["0.0.0.0/0", "", "10.0.0.1", false],
  ["::/0", "", "::1", false],
  ["127.0.0.0/8", "", "127.0.0.1", true],
  ["::1", "", "::1", true],
  ["", "8.0.0.0/8", "8.8.8.8", false],
  ["8.8.8.8", "8.0.0.0/8", "8.8.8.8", true],
  ["8.8.8.8", "8.0.0.0/8", "8.8.4.4", false],
  ["8.0.0.0/8", "8.8.8.8", "8.8.8.8", false],
  ["8.8.8.8", "8.8.8.8", "8.8.8.8", false],
  ["", "0.0.0.0/0", "8.8.8.8", false],
  ["", "::/0", "2606:4700::1111", false],
  ["", "64:ff9b::/32", "64:ff9b::808:808", false],
  ["", "8.8.8.8", "64:ff9b::808:808", false],
  ["10.0.0.0/8", "0.0.0.0/0", "10.1.2.3", true],
  ["224.0.0.0/4", "", "224.0.0.1", false],
  ["0.0.0.0", "", "0.0.0.0", false],
  ["2002::/16,7.0.0.0/8", "", "2002:700:1::", false],
  ["2001::/32", "", "2001::1", false],
];

for (const [allow, deny, address, allowed] of RULES) {
  const verdict = allowed ? "allowed" : "forbidden";
  Deno.test(`PeerPolicy: with ${allow || "nothing"} allowed and ${deny || "nothing"} denied, ${address} is ${verdict}`, () => {
    const gate = policy({ allow: prefixes(allow), deny: prefixes(deny) });
    assert.equal(gate.judge(ip(address), PORT), verdict);
    assert.match(gate.explain(ip(address), 0).sentence, allowed ? /allowed/ : /refused/);
  });
}

Deno.test("PeerPolicy knows its own relayed addresses by their ports, private ones too", () => {
  const gate = policy({ relayed: [ip("192.168.1.9"), ip("198.41.0.4")] });
  for (const address of ["192.168.1.9", "198.41.0.4"]) {
    assert.equal(gate.judge(ip(address), 49_152), "own");
    assert.equal(gate.judge(ip(address), 65_535), "own");
    assert.equal(gate.judge(ip(address), 49_151), "forbidden");
    assert.equal(gate.judge(ip(address), 22), "forbidden");
    assert.equal(gate.judge(ip(address), 0), "own", "a permission, which has no port");
  }
  assert.equal(gate.judge(ip("64:ff9b::198.41.0.4"), 22), "forbidden");
  assert.match(
    gate.explain(ip("198.41.0.4"), 0).sentence,
    /allowed: it is a relayed address of this relay/,
  );
  assert.match(gate.explain(ip("198.41.0.4"), 22).sentence, /refused: it is this machine's own/);
});

Deno.test("PeerPolicy closes a relayed address that the operator denies", () => {
  const gate = policy({ relayed: [ip("198.41.0.4")], deny: prefixes("198.41.0.0/24") });
  assert.equal(gate.judge(ip("198.41.0.4"), 50_000), "forbidden");
});

Deno.test("PeerPolicy keeps peers from where this relay listens, also where the address is open", () => {
  const gate = policy({
    allow: prefixes("127.0.0.0/8"),
    relayed: [ip("198.41.0.4")],
    machine: [ip("2a00::5")],
    relayPorts: { min: 3000, max: 9000 },
    listening: ["0.0.0.0:3478", "127.0.0.1:8080", "[2a00::5]:5349", "127.0.0.1:0"].map((text) =>
      parseAddressPort(text)!
    ),
  });
  for (
    const [address, port] of [["127.0.0.1", 8080], ["127.0.0.1", 3478], [
      "127.5.5.5",
      3478,
    ]] as const
  ) {
    assert.equal(gate.judge(ip(address), port), "forbidden", `${address}:${port}`);
  }
  assert.equal(gate.judge(ip("198.41.0.4"), 3478), "forbidden", "a relay port that is taken");
  assert.equal(gate.judge(ip("198.41.0.4"), 3479), "own");
  assert.equal(gate.judge(ip("2a00::5"), 5349), "forbidden");
  assert.equal(gate.judge(ip("2a00::5"), 5000), "forbidden", "of the machine, but not relayed");
  assert.equal(gate.judge(ip("127.0.0.1"), 5000), "allowed");
  assert.equal(gate.judge(ip("127.0.0.1"), 0), "allowed", "a permission, which has no port");
  assert.match(gate.explain(ip("127.0.0.1"), 8080).sentence, /where this relay itself listens/);
});

Deno.test("PeerPolicy opens this machine only where it is named itself, or as loopback", () => {
  const settings = {
    relayed: ["127.0.0.1", "198.41.0.4", "192.168.1.9"].map(ip),
    machine: [ip("2a00::5")],
  };
  const wide = policy({
    ...settings,
    allow: prefixes("0.0.0.0/0,::/0,192.168.0.0/16,127.0.0.0/8"),
  });
  for (const address of ["198.41.0.4", "192.168.1.9", "2a00::5"]) {
    assert.equal(wide.judge(ip(address), 34_800), "forbidden", address);
    const named = policy({ ...settings, allow: prefixes(address) });
    assert.equal(named.judge(ip(address), 34_800), "allowed", address);
  }
  assert.equal(wide.judge(ip("192.168.1.10"), 34_800), "allowed");
  assert.equal(wide.judge(ip("127.0.0.1"), 34_800), "allowed");
  assert.equal(wide.judge(ip("127.0.0.1"), 50_000), "own");
});

Deno.test("PeerPolicy.explain() names the rule and how to change it", () => {
  const gate = policy({ allow: prefixes("0.0.0.0/0,10.0.0.0/8"), deny: prefixes("8.8.8.0/24") });
  const sentences = {
    "8.8.8.8": "8.8.8.8 is refused: it lies in 8.8.8.0/24 of the denied peers",
    "10.0.0.1": "10.0.0.1 is allowed: it lies in 10.0.0.0/8 of the allowed peers",
    "127.0.0.1": "127.0.0.1 is refused: it is loopback (RFC 1122), and 0.0.0.0/0 of the allowed " +
      "peers is too wide to open it; add 127.0.0.0/8 or a part of it to the allowed peers",
    "2002::1": "2002::1 is refused: it is 6to4 (RFC 3056)",
    "2606:4700::1": "2606:4700::1 is allowed: it is a public address",
  };
  for (const [address, sentence] of Object.entries(sentences)) {
    assert.equal(gate.explain(ip(address), 0).sentence, sentence);
  }
});

/** Every spelling of an IPv4 address, with other bits of its own set to something. */
function spellings(ipv4: Uint8Array): Record<string, Uint8Array> {
  const behind = (start: string) => Uint8Array.of(...ip(start).subarray(0, 12), ...ipv4);
  const inverted = ipv4.map((byte) => byte ^ 0xff);
  return {
    "mapped": behind("::ffff:0:0"),
    "translated": behind("::ffff:0:0:0"),
    "compatible": behind("::"),
    "NAT64": behind("64:ff9b::"),
    "local NAT64": behind("64:ff9b:1::"),
    "6to4": Uint8Array.of(0x20, 0x02, ...ipv4, ...ip("::1").subarray(6)),
    "Teredo": Uint8Array.of(...ip("2001:0:808:808::").subarray(0, 12), ...inverted),
  };
}

function policy(settings: Partial<PeerPolicySettings> = {}): PeerPolicy {
  return new PeerPolicy({
    allow: [],
    deny: [],
    relayed: [],
    relayPorts: { min: 49_152, max: 65_535 },
    listening: [],
    ...settings,
  });
}

function ip(text: string): Uint8Array {
  return parseIp(text) ?? assert.fail(`${text} is no address`);
}

function prefix(text: string) {
  return parsePrefix(text) ?? assert.fail(`${text} is no prefix`);
}

function prefixes(text: string) {
  return text.split(",").filter((part) => part !== "").map(prefix);
}
