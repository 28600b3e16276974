import assert from "node:assert/strict";
import { parseTurnUri } from "../../../src/protocol/turn/turn_uri.ts";

const URIS: [text: string, host: string, port: number, transport: string][] = [
  ["turn:relay.example.com", "relay.example.com", 3478, "udp"],
  ["turn:192.0.2.1:3479", "192.0.2.1", 3479, "udp"],
  ["turn:[2001:db8::1]:3479?transport=udp", "2001:db8::1", 3479, "udp"],
  ["turn:relay:80?transport=tcp", "relay", 80, "tcp"],
  ["turns:relay", "relay", 5349, "tls"],
  ["TURNS:relay:443?transport=TCP", "relay", 443, "tls"],
];

for (const [text, host, port, transport] of URIS) {
  Deno.test(`parseTurnUri() reads ${text}`, () => {
    assert.deepEqual(parseTurnUri(text), { host, port, transport });
  });
}

Deno.test("parseTurnUri() refuses other schemes, paths, users, ports and DTLS", () => {
  const refused = [
    ...["", "turn:", "turn://relay", "stun:relay", "relay:3478", "turn:u@relay", "turn:a b"],
    ...["turn:relay:0", "turn:relay:65536", "turn:relay/x", "turn:2001:db8::1", "turn:relay?a=b"],
    ...["turn:relay?transport=sctp", "turns:relay?transport=udp", " turn:relay", "turn:relay:"],
  ];
  for (const text of refused) assert.equal(parseTurnUri(text), undefined, text);
});
