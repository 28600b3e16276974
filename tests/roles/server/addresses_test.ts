import { deepEqual, equal } from "node:assert/strict";
import { linkCandidates } from "../../../src/roles/server/addresses.ts";

const INTERFACES = [
  { family: "IPv4", address: "127.0.0.1" },
  { family: "IPv4", address: "192.0.2.7" },
  { family: "IPv6", address: "::1" },
  { family: "IPv6", address: "fe80::1" },
  { family: "IPv6", address: "2001:db8::7" },
] as const;

const cases: [string, string, string[]][] = [
  ["one address", "192.0.2.7", ["ws://192.0.2.7:9091/link"]],
  ["an IPv6 address in brackets", "2001:db8::7", ["ws://[2001:db8::7]:9091/link"]],
  ["a name", "cairn.example", ["ws://cairn.example:9091/link"]],
  ["every IPv4 address for the IPv4 wildcard", "0.0.0.0", [
    "ws://127.0.0.1:9091/link",
    "ws://192.0.2.7:9091/link",
  ]],
  ["every address for the IPv6 wildcard, but none that needs a zone", "::", [
    "ws://127.0.0.1:9091/link",
    "ws://192.0.2.7:9091/link",
    "ws://[::1]:9091/link",
    "ws://[2001:db8::7]:9091/link",
  ]],
];

for (const [name, host, expected] of cases) {
  Deno.test(`linkCandidates() names ${name}`, () => {
    const listeners = [{ host, port: 9091, tls: false }];
    const candidates = linkCandidates({ publicUrl: undefined, listeners, interfaces: INTERFACES });
    deepEqual(candidates, expected.map((value) => ({ type: "ws", value })));
  });
}

Deno.test("linkCandidates() puts the public URL first and says nothing twice", () => {
  const candidates = linkCandidates({
    publicUrl: "wss://cairn.example/link",
    listeners: [
      { host: "0.0.0.0", port: 443, tls: true },
      { host: "192.0.2.7", port: 443, tls: true },
    ],
    interfaces: INTERFACES,
  });
  deepEqual(candidates.map(({ value }) => value), [
    "wss://cairn.example/link",
    "wss://127.0.0.1:443/link",
    "wss://192.0.2.7:443/link",
  ]);
});

Deno.test("linkCandidates() names sixteen at most, which is what an answer carries", () => {
  const interfaces = Array.from({ length: 40 }, (_, n) => (
    { family: "IPv4" as const, address: `192.0.2.${n}` }
  ));
  const candidates = linkCandidates({
    publicUrl: "wss://cairn.example/link",
    listeners: [{ host: "0.0.0.0", port: 9091, tls: false }],
    interfaces,
  });
  equal(candidates.length, 16);
  equal(candidates[0]?.value, "wss://cairn.example/link");
});
