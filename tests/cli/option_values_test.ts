import assert from "node:assert/strict";
import * as value from "../../src/cli/option_values.ts";

const PEER = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG";

function reads<T>(kind: value.ValueKind<T>, cases: readonly (readonly [string, T])[]): void {
  for (const [text, expected] of cases) assert.deepEqual(kind.parse(text), expected, text);
}

function refuses(kind: value.ValueKind<unknown>, texts: readonly string[]): void {
  for (const text of texts) assert.equal(kind.parse(text), undefined, JSON.stringify(text));
}

Deno.test("listenAddress reads a host and a port, IPv6 in brackets", () => {
  for (
    const text of ["0.0.0.0:443", "[::]:443", "[::1]:0", "[fe80::1%eth0]:1", "localhost:65535"]
  ) {
    assert.equal(value.listenAddress.parse(text), text);
  }
  refuses(value.listenAddress, [
    ...["", "nope", "443", ":443", "0.0.0.0", "0.0.0.0:", "0.0.0.0:65536", "0.0.0.0:-1"],
    ...["::1:443", "[::1]", "http://a:1", "a b:1", "[a]:b", "1.2.3.4:4x"],
  ]);
});

Deno.test("host reads a name or an IP address without a port", () => {
  reads(value.host, [["127.0.0.1", "127.0.0.1"], ["::", "::"], ["[::1]", "::1"], ["a.b", "a.b"]]);
  refuses(value.host, ["", "127.0.0.1:80", "a b", "http://a", "[]"]);
});

Deno.test("boolean takes true, false, 1, 0, yes and no in any case", () => {
  reads(value.boolean, [
    ["true", true],
    ["1", true],
    ["YES", true],
    ["False", false],
    ["0", false],
    ["no", false],
  ]);
  refuses(value.boolean, ["", "on", "off", "2", "truee"]);
});

Deno.test("size reads bytes in powers of 1024", () => {
  reads(value.size, [
    ["1GB", 2 ** 30],
    ["512MB", 512 * 2 ** 20],
    ["64KiB", 65_536],
    ["2g", 2 ** 31],
    ["1 TB", 2 ** 40],
    ["1000000", 1_000_000],
    ["12B", 12],
  ]);
  refuses(value.size, ["", "0", "GB", "1.5GB", "-1", "1XB", "1GB1", "99999999999TB"]);
});

Deno.test("duration reads days, hours, minutes, seconds and plain seconds as milliseconds", () => {
  reads(value.duration, [
    ["7d", 604_800_000],
    ["12h", 43_200_000],
    ["30m", 1_800_000],
    ["10s", 10_000],
    ["90", 90_000],
    ["1d12h", 129_600_000],
    ["1h 30m", 5_400_000],
  ]);
  refuses(value.duration, ["", "0", "0s", "d", "1w", "1.5h", "-1s", "1dd"]);
});

Deno.test("count and port are whole numbers within their bounds", () => {
  reads(value.count, [["1", 1], ["10000", 10_000]]);
  refuses(value.count, ["", "0", "-1", "1.5", "1e3", "0x10", "99999999999999999"]);
  reads(value.port, [["0", 0], ["65535", 65_535]]);
  refuses(value.port, ["65536", "-1", "http", ""]);
});

Deno.test("tokens are separated by commas and can stand in a header", () => {
  reads(value.tokens, [["one", ["one"]], ["one, two=,", ["one", "two="]], ["p!ss~", ["p!ss~"]]]);
  refuses(value.tokens, ["", ",", "a b", "a\nb", "ä"]);
  refuses(value.token, ["", "a,b", "a b"]);
});

Deno.test("psk is refused under 12 bytes of UTF-8", () => {
  reads(value.psk, [["twelve-bytes", "twelve-bytes"], ["ääääää", "ääääää"]]);
  refuses(value.psk, ["", "elevenbytes", "twelve-bytes\nand more"]);
});

Deno.test("web socket and TURN addresses are checked by their scheme", () => {
  reads(value.webSocketUrls, [
    ["ws://a:8443,wss://b/x", ["ws://a:8443", "wss://b/x"]],
  ]);
  refuses(value.webSocketUrls, ["http://a", "a:8443", "ws://", "ws://a,nope", "ws://a#b", ""]);
  reads(value.webUrl, [["https://a.b:9090/", "https://a.b:9090"], [
    "http://[::1]",
    "http://[::1]",
  ]]);
  refuses(value.webUrl, [
    "a.b:9090",
    "ftp://a",
    "https://a/path",
    "https://user@a",
    "https://a?x",
    "",
  ]);
  reads(value.turnUrls, [
    ["turn:relay:3478", ["turn:relay:3478"]],
    ["turns:[::1]:5349?transport=tcp,turn:a", ["turns:[::1]:5349?transport=tcp", "turn:a"]],
  ]);
  refuses(value.turnUrls, ["relay:3478", "turn:", "turn://relay:3478", "turn:a?transport=sctp"]);
});

Deno.test("peerIds takes whole Peer IDs only", () => {
  assert.deepEqual(value.peerIds.parse(`${PEER}, ${PEER}`)?.map(String), [PEER, PEER]);
  refuses(value.peerIds, ["", "5Hb7...", PEER.slice(1), `${PEER} ${PEER}`]);
});
