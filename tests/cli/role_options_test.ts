import assert from "node:assert/strict";
import { serverOptions } from "../../src/cli/server.ts";
import { type CommandName, Settings } from "../../src/cli/settings.ts";
import { signalOptions } from "../../src/cli/signal.ts";
import { CairnError } from "../../src/base/errors.ts";
import { SIGNAL_LIMITS } from "../../src/roles/signal/signal_options.ts";

const PEER = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG";

Deno.test("serverOptions() takes every documented variable", () => {
  const { approvedPeers, ...options } = serverOptions(settings("server", {
    CAIRN_DATA_DIR: "/srv/cairn",
    CAIRN_MGMT_ENABLED: "no",
    CAIRN_MGMT_TOKEN: "your-secret-token",
    CAIRN_MGMT_BIND: "::",
    CAIRN_MGMT_PORT: "9191",
    CAIRN_MGMT_HOSTS: "cairn.example.com, home",
    CAIRN_MGMT_METRICS_PER_PEER: "true",
    CAIRN_PSK: "my-shared-key",
    CAIRN_APPROVED_PEERS: PEER,
    CAIRN_FORWARD_ENABLED: "0",
    CAIRN_FORWARD_MAX_PER_PEER: "5",
    CAIRN_FORWARD_MAX_AGE: "12h",
    CAIRN_FORWARD_MAX_TOTAL: "512MB",
    CAIRN_ROSTER: "false",
    CAIRN_RELAY_CAPACITY: "10",
    CAIRN_RELAY_PEER_RATE: "2MB",
    CAIRN_SIGNAL_SERVERS: "ws://signaling:8443,wss://b",
    CAIRN_SIGNAL_PUBLIC_URLS: "wss://signal.example.com",
    CAIRN_SIGNAL_AUTH_TOKEN: "first,second",
    CAIRN_MDNS: "true",
    CAIRN_TURN_SERVERS: "turn:relay:3478",
    CAIRN_TURN_USERNAME: "cairn",
    CAIRN_TURN_PASSWORD: "password of the relay",
    CAIRN_KV_URL: "https://kv.example.com",
    CAIRN_SERVER_LISTEN_ADDR: "127.0.0.1:9",
    CAIRN_SERVER_PUBLIC_URL: "wss://cairn.example.com",
    CAIRN_SERVER_TLS_CERT: "/c.pem",
    CAIRN_SERVER_TLS_KEY: "/k.pem",
  }));
  assert.deepEqual(options, {
    storagePath: "/srv/cairn",
    listenAddr: "127.0.0.1:9",
    publicUrl: "wss://cairn.example.com",
    management: {
      enabled: false,
      bind: "::",
      port: 9191,
      token: "your-secret-token",
      hosts: ["cairn.example.com", "home"],
      metricsPerPeer: true,
    },
    psk: "my-shared-key",
    forward: {
      enabled: false,
      maxPerPeer: 5,
      maxAgeMs: 43_200_000,
      maxTotalBytes: 512 * 2 ** 20,
    },
    roster: false,
    relayCapacity: 10,
    relayPeerRate: 2 * 2 ** 20,
    signalServers: ["ws://signaling:8443", "wss://b"],
    signalHints: ["wss://signal.example.com"],
    signalAuthToken: "first",
    mdns: true,
    turnServers: ["turn:relay:3478"],
    turnCredentials: { username: "cairn", password: "password of the relay" },
    kvUrl: "https://kv.example.com",
    tls: { certPath: "/c.pem", keyPath: "/k.pem" },
  });
  assert.deepEqual(approvedPeers?.map(String), [PEER]);
});

Deno.test("signalOptions() takes every documented variable, for signal and for up", () => {
  const env = {
    CAIRN_SIGNAL_LISTEN_ADDR: "0.0.0.0:8080",
    CAIRN_SIGNAL_TLS_CERT: "/certs/cert.pem",
    CAIRN_SIGNAL_TLS_KEY: "/certs/key.pem",
    CAIRN_SIGNAL_AUTH_TOKEN: "your-secret-token,another",
    CAIRN_SIGNAL_ALLOW_QUERY_TOKEN: "yes",
    CAIRN_SIGNAL_ALLOWED_ORIGINS: "https://App.example.com:443, chrome-extension://abc",
    CAIRN_SIGNAL_TRUSTED_PROXIES: "10.0.0.0/8,::1",
    CAIRN_SIGNAL_METRICS_ADDR: "127.0.0.1:9100",
    CAIRN_SIGNAL_DRAIN_TIME: "0",
    CAIRN_SIGNAL_MAX_FRAME: "1KB",
    CAIRN_SIGNAL_TOPICS_PER_CONNECTION: "1",
    CAIRN_SIGNAL_CONNECTIONS_PER_TOPIC: "2",
    CAIRN_SIGNAL_CONNECTIONS_PER_ADDRESS: "3",
    CAIRN_SIGNAL_CONNECTION_RATE: "4",
    CAIRN_SIGNAL_MAX_CONNECTIONS: "5",
    CAIRN_SIGNAL_MESSAGE_RATE: "6",
    CAIRN_SIGNAL_BYTE_RATE: "7",
    CAIRN_SIGNAL_MAX_BUFFERED: "8",
    CAIRN_SIGNAL_PING_INTERVAL: "9s",
    CAIRN_SIGNAL_HANDSHAKE_TIMEOUT: "10s",
    CAIRN_SIGNAL_ERROR_BUDGET: "11",
    CAIRN_SIGNAL_MAX_RECORDS: "12",
    CAIRN_SIGNAL_MAX_RECORD_BYTES: "13",
    CAIRN_SIGNAL_RECORDS_PER_ADDRESS: "14",
    CAIRN_SIGNAL_RECORD_TTL: "0",
  };
  for (const command of ["signal", "up"] as const) {
    assert.deepEqual(signalOptions(settings(command, env)), {
      listenAddr: "0.0.0.0:8080",
      tls: { certPath: "/certs/cert.pem", keyPath: "/certs/key.pem" },
      authTokens: ["your-secret-token", "another"],
      allowQueryToken: true,
      allowedOrigins: ["https://app.example.com", "chrome-extension://abc"],
      trustedProxies: ["10.0.0.0/8", "::1"],
      metricsAddr: "127.0.0.1:9100",
      drainTime: 0,
      limits: {
        maxFrameBytes: 1_024,
        topicsPerConnection: 1,
        connectionsPerTopic: 2,
        connectionsPerAddress: 3,
        connectionsPerMinute: 4,
        maxConnections: 5,
        messagesPerSecond: 6,
        bytesPerSecond: 7,
        maxBufferedBytes: 8,
        pingInterval: 9_000,
        handshakeTimeout: 10_000,
        errorBudget: 11,
        maxRecords: 12,
        maxRecordBytes: 13,
        recordsPerAddress: 14,
        recordTtl: 0,
      },
    });
  }
});

Deno.test("without settings a signaling server has the defaults of its role", () => {
  assert.deepEqual(signalOptions(settings("signal", {})), {
    listenAddr: "0.0.0.0:443",
    authTokens: [],
    allowQueryToken: false,
    drainTime: 5_000,
    limits: SIGNAL_LIMITS,
  });
});

Deno.test("A certificate without its key is refused, and the other way round", () => {
  const onlyKey = settings("signal", { CAIRN_SIGNAL_TLS_KEY: "/k.pem" });
  assert.throws(() => signalOptions(onlyKey), (error) => {
    return error instanceof CairnError && error.code === "invalid-option" &&
      /CAIRN_SIGNAL_TLS_KEY is set without --tls-cert or CAIRN_SIGNAL_TLS_CERT/.test(error.message);
  });
});

Deno.test("TURN credentials are a name and a password, or a secret, and nothing in between", () => {
  const read = (env: Readonly<Record<string, string>>) =>
    serverOptions(settings("server", { CAIRN_DATA_DIR: "/srv/cairn", ...env })).turnCredentials;
  const [name, password] = [{ CAIRN_TURN_USERNAME: "n" }, { CAIRN_TURN_PASSWORD: "p" }];
  const secret = { CAIRN_TURN_SECRET: "s" };
  assert.equal(read({}), undefined);
  assert.deepEqual(read({ ...name, ...password }), { username: "n", password: "p" });
  assert.deepEqual(read(secret), { secret: "s" });
  const refusal = (env: Readonly<Record<string, string>>, message: RegExp) =>
    assert.throws(() => read(env), { code: "invalid-option", message });
  refusal(name, /CAIRN_TURN_USERNAME is set without --turn-password or CAIRN_TURN_PASSWORD/);
  refusal(password, /CAIRN_TURN_PASSWORD is set without --turn-username or CAIRN_TURN_USERNAME/);
  refusal({ ...name, ...password, ...secret }, /in place of a name and a password; keep one/);
});

function settings(command: CommandName, env: Readonly<Record<string, string>>): Settings {
  return new Settings(command, new Map(), {
    env: (name) => env[name],
    names: () => Object.keys(env),
    readTextFile: (path) => assert.fail(`nothing reads ${path}`),
  });
}
