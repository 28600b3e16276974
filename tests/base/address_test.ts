import assert from "node:assert/strict";
import { isIP } from "node:net";
import fc from "fast-check";
import {
  formatAddressPort,
  formatIp,
  formatPrefix,
  isUnspecified,
  parseAddressPort,
  parseIp,
  parsePrefix,
  prefixHas,
  unmapIp,
} from "../../src/base/address.ts";

/** RFC 5952 sections 4 and 5, and RFC 4291 section 2.2. */
const CANONICAL = {
  "192.0.2.1": "192.0.2.1",
  "0.0.0.0": "0.0.0.0",
  "255.255.255.255": "255.255.255.255",
  "::": "::",
  "::1": "::1",
  "1::": "1::",
  "2001:0db8::0001": "2001:db8::1",
  "2001:db8:0:0:0:0:2:1": "2001:db8::2:1",
  "2001:db8:0:1:1:1:1:1": "2001:db8:0:1:1:1:1:1",
  "2001:db8::1:1:1:1:1": "2001:db8:0:1:1:1:1:1",
  "2001:0:0:1:0:0:0:1": "2001:0:0:1::1",
  "2001:db8:0:0:1:0:0:1": "2001:db8::1:0:0:1",
  "2001:DB8::ABCD": "2001:db8::abcd",
  "::ffff:c000:201": "::ffff:192.0.2.1",
  "::FFFF:192.0.2.1": "::ffff:192.0.2.1",
  "64:ff9b::192.0.2.1": "64:ff9b::c000:201",
  "1:2:3:4:5:6:1.2.3.4": "1:2:3:4:5:6:102:304",
  "::1.2.3.4": "::102:304",
  "1:2:3:4:5:6:7::": "1:2:3:4:5:6:7:0",
};

for (const [text, written] of Object.entries(CANONICAL)) {
  Deno.test(`parseIp() reads ${text}, which formatIp() writes as ${written}`, () => {
    const address = parseIp(text);
    assert.ok(address);
    assert.equal(formatIp(address), written);
  });
}

Deno.test("parseIp() refuses every other spelling", () => {
  const refused = [
    ...["", ".", "1.2.3", "1.2.3.4.5", "127.1", "0x7f.0.0.1", "010.0.0.1", "1.2.3.04", "256.0.0.1"],
    ...["1.2.3.4 ", " 1.2.3.4", "1.2.3.-4", "1.2.3.4/8", "2130706433", "localhost", "１.2.3.4"],
    ...[":", ":::", "1", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::"],
    ...[
      "12345::",
      "::g",
      "fe80::1%eth0",
      "[::1]",
      "1.2.3.4::",
      "::1.2.3.4:5",
      "1:2:3:4:5:6:7:1.2.3.4",
    ],
    ...["::1.2.3", "::01.2.3.4", ":1::2", "1::2:", "1:2:3:4::5:6:7:8", "::1 "],
  ];
  for (const text of refused) assert.equal(parseIp(text), undefined, text);
});

Deno.test("parseIp() agrees with the platform about what an address is", () => {
  const part = fc.constantFrom(..."0123456789abcf:.".split(""), "::", "ffff", "255", "1.2.3.4");
  fc.assert(
    fc.property(fc.array(part, { maxLength: 14 }), (parts) => {
      const text = parts.join("");
      assert.equal(parseIp(text)?.length, { 0: undefined, 4: 4, 6: 16 }[isIP(text)], text);
    }),
    { numRuns: 3_000 },
  );
});

Deno.test("formatIp() writes what parseIp() reads back, as the platform writes it", () => {
  const address = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
    fc.array(fc.constantFrom(0, 0, 0, 1, 0xffff, 0xdb8), { minLength: 8, maxLength: 8 })
      .map((groups) => Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff]))),
  );
  fc.assert(fc.property(address, (bytes) => {
    const text = formatIp(bytes);
    assert.deepEqual(parseIp(text), bytes);
    const { hostname } = new URL(bytes.length === 4 ? `http://${text}` : `http://[${text}]`);
    // The parser of URLs writes no dotted groups.
    if (!text.startsWith("::ffff:") || bytes.length === 4) {
      assert.equal(hostname, bytes.length === 4 ? text : `[${text}]`);
    }
  }));
});

Deno.test("unmapIp() takes IPv4 out of IPv4-mapped addresses only", () => {
  const texts = { "::ffff:10.0.0.1": "10.0.0.1", "::10.0.0.1": "::a00:1", "10.0.0.1": "10.0.0.1" };
  for (const [text, plain] of Object.entries(texts)) {
    assert.equal(formatIp(unmapIp(parseIp(text)!)), plain);
  }
});

Deno.test("isUnspecified() knows 0.0.0.0 and ::", () => {
  assert.deepEqual(
    ["0.0.0.0", "::", "0.0.0.1", "::1"].map((text) => isUnspecified(parseIp(text)!)),
    [true, true, false, false],
  );
});

const MEMBERS: [prefix: string, inside: string[], outside: string[]][] = [
  ["10.0.0.0/8", ["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0", "::10.0.0.1"]],
  ["172.16.0.0/12", ["172.16.0.0", "172.31.255.255"], ["172.15.255.255", "172.32.0.0"]],
  ["100.64.0.0/10", ["100.64.0.0", "100.127.255.255"], ["100.63.255.255", "100.128.0.0"]],
  ["192.0.2.1", ["192.0.2.1"], ["192.0.2.0", "192.0.2.2"]],
  ["0.0.0.0/0", ["0.0.0.0", "255.255.255.255"], ["::"]],
  ["fc00::/7", ["fc00::", "fdff::1"], ["fbff::1", "fe00::", "0.0.0.0"]],
  ["2001:db8::/32", ["2001:db8:ffff::"], ["2001:db9::"]],
  ["::1", ["::1"], ["::", "::2"]],
];

for (const [text, inside, outside] of MEMBERS) {
  Deno.test(`parsePrefix() reads ${text}, and prefixHas() knows its edges`, () => {
    const prefix = parsePrefix(text);
    assert.ok(prefix);
    for (const address of inside) assert.equal(prefixHas(prefix, parseIp(address)!), true, address);
    for (const address of outside) {
      assert.equal(prefixHas(prefix, parseIp(address)!), false, address);
    }
  });
}

Deno.test("parsePrefix() refuses what is no prefix, and formatPrefix() drops what lies behind one", () => {
  for (const text of ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "1.2.3.4/8/9", "/8"]) {
    assert.equal(parsePrefix(text), undefined, text);
  }
  const written = { "10.1.2.3/8": "10.0.0.0/8", "fd00::1/8": "fd00::/8", "::1": "::1/128" };
  for (const [text, canonical] of Object.entries(written)) {
    assert.equal(formatPrefix(parsePrefix(text)!), canonical);
  }
});

Deno.test("parseAddressPort() reads what formatAddressPort() writes, and no names", () => {
  for (const text of ["192.0.2.1:3478", "[2001:db8::1]:0", "[::]:65535"]) {
    assert.equal(formatAddressPort(parseAddressPort(text)!), text);
  }
  for (
    const text of ["192.0.2.1", "192.0.2.1:65536", "2001:db8::1:1", "[192.0.2.1]:1", "a:1", ":1"]
  ) {
    assert.equal(parseAddressPort(text), undefined, text);
  }
});
