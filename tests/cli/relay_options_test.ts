import assert from "node:assert/strict";
import { formatIp, formatPrefix } from "../../src/base/address.ts";
import { relayOptions } from "../../src/cli/relay.ts";
import * as value from "../../src/cli/relay_values.ts";
import { Settings, type Surroundings } from "../../src/cli/settings.ts";

Deno.test("relayOptions() takes every documented variable", () => {
  const { reread: _, allowPeers, denyPeers, externalIps, relayIps, ...options } = relayOptions(
    settings({
      CAIRN_RELAY_LISTEN_ADDR: "127.0.0.1:3478",
      CAIRN_RELAY_TCP_ADDR: "127.0.0.1:3479",
      CAIRN_RELAY_PORT_RANGE: "50000-50100",
      CAIRN_RELAY_CREDENTIALS: "user:pass,user2:pa:ss",
      CAIRN_RELAY_REST_SECRET: "new, old",
      CAIRN_RELAY_TLS_CERT: "/c.pem",
      CAIRN_RELAY_TLS_KEY: "/k.pem",
      CAIRN_RELAY_TLS_ADDR: "127.0.0.1:5349",
      CAIRN_RELAY_API_ADDR: "127.0.0.1:8081",
      CAIRN_RELAY_API_TOKEN: "token",
      CAIRN_RELAY_REALM: "example.org",
      CAIRN_RELAY_URI: "turn:relay:3478,turns:relay",
      CAIRN_RELAY_EXTERNAL_IP: "198.41.0.4, 2a00::4",
      CAIRN_RELAY_RELAY_IP: "10.0.0.4",
      CAIRN_RELAY_ALLOW_PEERS: "10.0.0.0/8,::1",
      CAIRN_RELAY_DENY_PEERS: "8.8.8.8",
      CAIRN_RELAY_USER_QUOTA: "5",
      CAIRN_RELAY_MAX_BPS: "8M",
      CAIRN_RELAY_LEGACY_CHANNELS: "yes",
      CAIRN_RELAY_STRICT_EXPIRY: "true",
      CAIRN_RELAY_METRICS_ADDR: "127.0.0.1:9101",
      CAIRN_RELAY_DRAIN_TIMEOUT: "1m",
    }),
  );
  assert.deepEqual(options, {
    listenAddr: "127.0.0.1:3478",
    tcpAddr: "127.0.0.1:3479",
    tlsAddr: "127.0.0.1:5349",
    tls: { certPath: "/c.pem", keyPath: "/k.pem" },
    users: [{ username: "user", password: "pass" }, { username: "user2", password: "pa:ss" }],
    restSecrets: ["new", "old"],
    apiAddr: "127.0.0.1:8081",
    apiToken: "token",
    realm: "example.org",
    turnUris: ["turn:relay:3478", "turns:relay"],
    relayPorts: { min: 50_000, max: 50_100 },
    userQuota: 5,
    maxBitsPerSecond: 8_000_000,
    legacyChannels: true,
    strictExpiry: true,
    metricsAddr: "127.0.0.1:9101",
    drainTimeout: 60_000,
  });
  assert.deepEqual(externalIps?.map(formatIp), ["198.41.0.4", "2a00::4"]);
  assert.deepEqual(relayIps?.map(formatIp), ["10.0.0.4"]);
  assert.deepEqual(allowPeers.map(formatPrefix), ["10.0.0.0/8", "::1/128"]);
  assert.deepEqual(denyPeers.map(formatPrefix), ["8.8.8.8/32"]);
});

Deno.test("without settings a relay has the reference's defaults, and nobody to let in", () => {
  const { reread: _, ...options } = relayOptions(settings({}));
  assert.deepEqual(options, {
    listenAddr: "0.0.0.0:3478",
    tlsAddr: "0.0.0.0:443",
    realm: "cairn",
    relayPorts: { min: 49_152, max: 65_535 },
    users: [],
    restSecrets: [],
    allowPeers: [],
    denyPeers: [],
    userQuota: 32,
    maxBitsPerSecond: 0,
    legacyChannels: false,
    strictExpiry: false,
    drainTimeout: 10_000,
  });
});

Deno.test("a relay has an API for credentials where it has a secret to make them by", () => {
  const env = { CAIRN_RELAY_REST_SECRET: "s3cret" };
  assert.equal(relayOptions(settings(env)).apiAddr, "127.0.0.1:8080");
});

Deno.test("a relay's credentials, secrets and lists may come from files, which a reload reads again", () => {
  const files = new Map([
    ["/users", "user:pass\nuser2:pass2\n"],
    ["/secret", "s3cret\n"],
    ["/allow", "10.0.0.0/8\n192.168.0.0/16\n"],
  ]);
  const options = relayOptions(settings({
    CAIRN_RELAY_CREDENTIALS_FILE: "/users",
    CAIRN_RELAY_REST_SECRET_FILE: "/secret",
    CAIRN_RELAY_ALLOW_PEERS_FILE: "/allow",
  }, files));
  assert.deepEqual(options.users.map(({ username }) => username), ["user", "user2"]);
  assert.deepEqual(options.allowPeers.map(formatPrefix), ["10.0.0.0/8", "192.168.0.0/16"]);
  files.set("/users", "user3:pass3");
  files.set("/allow", "::1");
  const reread = options.reread?.() ?? assert.fail("it cannot be read again");
  assert.deepEqual(reread.users, [{ username: "user3", password: "pass3" }]);
  assert.deepEqual(reread.restSecrets, ["s3cret"]);
  assert.deepEqual(reread.allowPeers.map(formatPrefix), ["::1/128"]);
  files.set("/allow", "everybody");
  assert.throws(() => options.reread?.(), {
    code: "invalid-option",
    message: /^CAIRN_RELAY_ALLOW_PEERS_FILE: "everybody" is not right; expected IP addresses/,
  });
});

Deno.test("a port range goes from 1024 to 65535, in order", () => {
  assert.deepEqual(value.portRange.parse("1024-65535"), { min: 1_024, max: 65_535 });
  assert.deepEqual(value.portRange.parse("5000-5000"), { min: 5_000, max: 5_000 });
  for (const text of ["", "5000", "1023-2000", "2000-1999", "60000-65536", "1-2-3", "a-b"]) {
    assert.equal(value.portRange.parse(text), undefined, text);
  }
});

Deno.test("2-AL-78 own addresses are one of each family that somebody can send to", () => {
  for (const text of ["192.0.2.1", "2001:db8::1", "192.0.2.1,2001:db8::1", "127.0.0.1"]) {
    assert.equal(value.ownAddresses.parse(text)?.length, text.split(",").length, text);
  }
  const refused = [
    ...["", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "192.0.2.1,192.0.2.2"],
    ...["relay.example.com", "192.0.2.1:3478", "192.0.2.0/24", "192.0.2.1/198.51.100.1"],
  ];
  for (const text of refused) assert.equal(value.ownAddresses.parse(text), undefined, text);
});

Deno.test("a rate is counted in bits", () => {
  const rates = { "0": 0, "8000": 8_000, "500k": 500_000, "8M": 8_000_000, "1G": 1e9 };
  for (const [text, bits] of Object.entries(rates)) {
    assert.equal(value.bitRate.parse(text), bits, text);
  }
  for (const text of ["", "-1", "8MB", "1.5M", "fast"]) {
    assert.equal(value.bitRate.parse(text), undefined, text);
  }
});

Deno.test("users and secrets stand between commas or on lines", () => {
  assert.deepEqual(value.users.parse("a:1\r\nb:2,\n"), [
    { username: "a", password: "1" },
    { username: "b", password: "2" },
  ]);
  for (const text of ["", ",", "a", "a:", ":1", "a:1,b"]) {
    assert.equal(value.users.parse(text), undefined, text);
  }
  assert.deepEqual(value.secrets.parse("new\nold"), ["new", "old"]);
  assert.equal(value.secrets.parse("\n"), undefined);
});

function settings(
  env: Record<string, string>,
  files: ReadonlyMap<string, string> = new Map(),
): Settings {
  const surroundings: Surroundings = {
    env: (name) => env[name],
    names: () => Object.keys(env),
    readTextFile: (path) => files.get(path) ?? assert.fail(`there is no file ${path}`),
  };
  return new Settings("relay", new Map(), surroundings);
}
