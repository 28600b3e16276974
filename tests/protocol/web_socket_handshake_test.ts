import assert from "node:assert/strict";
import {
  checkHandshake,
  parseUpgradeHead,
  type UpgradeHead,
} from "../../src/protocol/web_socket_handshake.ts";

const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const UPGRADE = [
  "Host: signal.example.com",
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  `Sec-WebSocket-Key: ${KEY}`,
];

Deno.test("parseUpgradeHead() reads what browsers and libraries send", () => {
  assert.deepEqual(parsed("GET /link?a=b HTTP/1.1", ...UPGRADE), {
    url: "/link?a=b",
    headers: {
      "host": "signal.example.com",
      "connection": "Upgrade",
      "upgrade": "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": KEY,
    },
  });
  const firefox = parsed(
    "GET / HTTP/1.1",
    ...UPGRADE.with(1, "connection:\tkeep-alive, upgrade \t").with(2, "UPGRADE:WebSocket"),
    "Cookie: a=\u00e9",
    "X-Empty:",
  );
  assert.equal(firefox?.headers["connection"], "keep-alive, upgrade");
  assert.equal(firefox?.headers["cookie"], "a=\u00e9");
  assert.equal(firefox?.headers["x-empty"], "");
});

Deno.test("parseUpgradeHead() joins what comes several times", () => {
  const head = parsed("GET / HTTP/1.1", ...UPGRADE, "X-Forwarded-For: a", "x-forwarded-for: b");
  assert.equal(head?.headers["x-forwarded-for"], "a, b");
  const polluted = parsed("GET / HTTP/1.1", ...UPGRADE, "__proto__: x", "constructor: y");
  assert.equal(polluted?.headers["constructor"], "y");
  assert.equal(polluted?.headers["origin"], undefined);
});

Deno.test("parseUpgradeHead() leaves all else to a complete parser", () => {
  const others: Record<string, string[]> = {
    "another method": ["POST / HTTP/1.1", ...UPGRADE],
    "another version": ["GET / HTTP/1.0", ...UPGRADE],
    "two spaces": ["GET  / HTTP/1.1", ...UPGRADE],
    "a target with a control character": ["GET /\u0000 HTTP/1.1", ...UPGRADE],
    "no upgrade": ["GET / HTTP/1.1", ...UPGRADE.toSpliced(2, 1)],
    "an upgrade to something else": ["GET / HTTP/1.1", ...UPGRADE.with(2, "Upgrade: h2c")],
    "an upgrade that the connection does not name": [
      "GET / HTTP/1.1",
      ...UPGRADE.with(1, "Connection: not-upgrade"),
    ],
    "no host": ["GET / HTTP/1.1", ...UPGRADE.slice(1)],
    "two hosts": ["GET / HTTP/1.1", ...UPGRADE, "Host: other.example.com"],
    "a body": ["GET / HTTP/1.1", ...UPGRADE, "Content-Length: 0"],
    "a body in chunks": ["GET / HTTP/1.1", ...UPGRADE, "Transfer-Encoding: chunked"],
    "a folded line": ["GET / HTTP/1.1", ...UPGRADE, "X-Folded: a", " b"],
    "a space behind a name": ["GET / HTTP/1.1", ...UPGRADE, "X-Spaced : a"],
    "a line without a colon": ["GET / HTTP/1.1", ...UPGRADE, "what"],
    "a line without a name": ["GET / HTTP/1.1", ...UPGRADE, ": what"],
    "a bare line feed": ["GET / HTTP/1.1", ...UPGRADE, "X: a\nY: b"],
    "a bare carriage return": ["GET / HTTP/1.1", ...UPGRADE, "X: a\rY: b"],
    "a control character": ["GET / HTTP/1.1", ...UPGRADE, "X: a\u0000"],
    "very many lines": ["GET / HTTP/1.1", ...UPGRADE, ...new Array<string>(100).fill("X: a")],
    "nothing": [],
  };
  for (const [what, lines] of Object.entries(others)) {
    assert.equal(parsed(...lines), undefined, what);
  }
});

Deno.test("parseUpgradeHead() takes no time for lines made to take much", () => {
  const spaces = " ".repeat(8_000);
  for (
    const line of [`X:${spaces}\u0001`, `X: a${spaces}b${spaces}\u0001`, `Connection: ${spaces}`]
  ) {
    const times = Array.from({ length: 5 }, () => {
      const start = performance.now();
      parsed("GET / HTTP/1.1", ...UPGRADE, line);
      return performance.now() - start;
    });
    // What else the machine does may hold up some of them, not all.
    assert.ok(Math.min(...times) < 1_000, `${times} ms`);
  }
});

Deno.test("checkHandshake() wants version, key, and subprotocols that are tokens", () => {
  const headers = { "sec-websocket-version": "13", "sec-websocket-key": KEY };
  assert.deepEqual(checkHandshake(headers), { key: KEY, offered: [] });
  const offer = (list: string) => checkHandshake({ ...headers, "sec-websocket-protocol": list });
  assert.deepEqual(offer("a, b.v1,c")?.offered, ["a", "b.v1", "c"]);
  for (const list of ["", "a,", "a b", "a,,b", "a\u00e9", '"a"']) {
    assert.equal(offer(list), undefined);
  }
  for (const version of [undefined, "", "8", "13, 13", "013"]) {
    assert.equal(checkHandshake({ ...headers, "sec-websocket-version": version }), undefined);
  }
  for (const key of [undefined, "", "short", `${KEY}=`, KEY.slice(0, -1), `${KEY}, ${KEY}`]) {
    assert.equal(checkHandshake({ ...headers, "sec-websocket-key": key }), undefined);
  }
});

function parsed(...lines: string[]): UpgradeHead | undefined {
  const head = parseUpgradeHead(lines.join("\r\n"));
  return head && { ...head, headers: { ...head.headers } };
}
