import { deepStrictEqual, match, notStrictEqual, rejects, strictEqual } from "node:assert/strict";
import { createApi, type ServerView } from "../../../src/roles/server/api/app.ts";
import { ensureManagementToken } from "../../../src/roles/server/api/token_auth.ts";
import { TestHost } from "./mailbox_scene.ts";

const TOKEN = "a token of the operator's own";
const peers = [
  { peer_id: "QmOne", name: "phone", connected: true, last_seen: 1_700_000_000 },
  { peer_id: "QmTwo", name: null, connected: false, last_seen: null },
];
const queues = [
  { peer_id: "QmTwo", pending_messages: 3, oldest_message_age_secs: 61, total_bytes: 99 },
];
const view: ServerView = {
  peerId: "QmServer",
  version: "1.2.3",
  startedAt: 1000,
  forwardEnabled: true,
  peers: () => peers,
  queues: () => queues,
  totals: () => ({ messages: 3, bytes: 99 }),
};
const host = new TestHost();
host.mono = 63_900;
const api = createApi(view, "secret-token", { host, hosts: ["cairn.example"] });
const authorized = { authorization: "Bearer secret-token" };

Deno.test("GET /health says without a token that the server is up, and nothing else", async () => {
  const response = await api.request("/health");
  strictEqual(response.status, 200);
  deepStrictEqual(await response.json(), { status: "healthy" });
});

Deno.test("GET /health has the details for the token", async () => {
  const response = await api.request("/health", { headers: authorized });
  strictEqual(response.status, 200);
  deepStrictEqual(await response.json(), {
    status: "healthy",
    peer_id: "QmServer",
    version: "1.2.3",
    uptime_secs: 62,
    connected_peers: 1,
    total_peers: 2,
    storage_used_bytes: 99,
    forward_enabled: true,
  });
});

Deno.test("GET /peers is an array, or an object on request", async () => {
  const array = await api.request("/peers", { headers: authorized });
  deepStrictEqual(await array.json(), peers);
  const object = await api.request("/peers?format=object", { headers: authorized });
  deepStrictEqual(await object.json(), { peers });
});

Deno.test("GET /queues lists what waits", async () => {
  const response = await api.request("/queues", { headers: authorized });
  deepStrictEqual(await response.json(), { queues });
});

for (
  const [what, path, authorization] of [
    ["no token", "/peers", undefined],
    ["no token at an unknown path", "/nothing", undefined],
    ["another token", "/peers", "Bearer secret-tokem"],
    ["another token at /health", "/health", "Bearer wrong"],
    ["an empty token", "/peers", "Bearer "],
    ["only the scheme", "/peers", "Bearer"],
    ["another scheme", "/peers", "Basic secret-token"],
    ["the bare token", "/peers", "secret-token"],
    ["the token and more", "/peers", "Bearer secret-token secret-token"],
  ] as const
) {
  Deno.test(`The management API turns away ${what}`, async () => {
    const response = await api.request(
      path,
      authorization === undefined ? {} : { headers: { authorization } },
    );
    strictEqual(response.status, 401);
    strictEqual(response.headers.get("www-authenticate"), 'Bearer realm="cairn"');
    const body = await response.json();
    strictEqual(body.code, "unauthorized");
    strictEqual(typeof body.error, "string");
  });
}

Deno.test("The management API takes the scheme in any case, as RFC 9110 says", async () => {
  const headers = { authorization: "bearer secret-token" };
  strictEqual((await api.request("/peers", { headers })).status, 200);
});

Deno.test("The management API answers unknown paths and methods in JSON", async () => {
  const missing = await api.request("/nothing", { headers: authorized });
  strictEqual(missing.status, 404);
  strictEqual((await missing.json()).code, "not-found");
  const wrong = await api.request("/peers", { method: "DELETE", headers: authorized });
  strictEqual(wrong.status, 405);
  strictEqual(wrong.headers.get("allow"), "GET, HEAD");
  strictEqual((await wrong.json()).code, "method-not-allowed");
  const head = await api.request("/peers", { method: "HEAD", headers: authorized });
  strictEqual(head.status, 200);
});

Deno.test("The management API forbids storing any answer", async () => {
  for (const path of ["/health", "/peers", "/nothing"]) {
    for (const headers of [{}, authorized]) {
      const response = await api.request(path, { headers });
      strictEqual(response.headers.get("cache-control"), "no-store", path);
      await response.body?.cancel();
    }
  }
});

for (
  const name of [
    "localhost",
    "localhost:9090",
    "LOCALHOST",
    "127.0.0.1:9090",
    "192.168.1.7",
    "[::1]",
    "[::1]:9090",
    "cairn.example",
    "Cairn.Example.:9090",
  ]
) {
  Deno.test(`The management API is reached as ${name}`, async () => {
    const response = await api.request("/health", { headers: { host: name } });
    strictEqual(response.status, 200);
    await response.body?.cancel();
  });
}

for (
  const name of [
    "evil.example",
    "evil.example:9090",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "cairn.example.evil.example",
    "[evil.example]",
    "localhost@evil.example",
    "1",
  ]
) {
  Deno.test(`The management API is not reached as ${name}`, async () => {
    const response = await api.request("/health", { headers: { host: name } });
    strictEqual(response.status, 403);
    strictEqual((await response.json()).code, "unknown-host");
  });
}

Deno.test("The management API hides what went wrong inside", async () => {
  const failing = createApi({
    ...view,
    queues: () => {
      throw new Error("a path of this machine");
    },
  }, "secret-token");
  const response = await failing.request("/queues", { headers: authorized });
  strictEqual(response.status, 500);
  const body = await response.json();
  strictEqual(body.code, "internal-error");
  strictEqual(body.error.includes("path"), false);
});

Deno.test("ensureManagementToken() makes one token that only this user can read", async () => {
  const folder = await Deno.makeTempDir();
  const first = await ensureManagementToken(folder);
  match(first.token, /^[\w-]{43}$/);
  deepStrictEqual([first.path, first.created], [`${folder}/mgmt_token`, true]);
  strictEqual((await Deno.stat(`${folder}/mgmt_token`)).mode! & 0o777, 0o600);
  deepStrictEqual(await ensureManagementToken(folder), { ...first, created: false });
  await Deno.writeTextFile(`${folder}/mgmt_token`, "");
  const replaced = await ensureManagementToken(folder);
  strictEqual(replaced.created, true);
  notStrictEqual(replaced.token, first.token);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("ensureManagementToken() prefers a configured token and writes nothing", async () => {
  const folder = await Deno.makeTempDir();
  const configured = { token: "operator", path: null, created: false };
  deepStrictEqual(await ensureManagementToken(folder, " operator\n"), configured);
  deepStrictEqual(await Array.fromAsync(Deno.readDir(folder)), []);
  await rejects(ensureManagementToken(folder, TOKEN), { code: "invalid-option" });
  strictEqual((await ensureManagementToken(folder, "")).created, true);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("ensureManagementToken() says which file it cannot read or write", async () => {
  const folder = await Deno.makeTempDir();
  await Deno.mkdir(`${folder}/mgmt_token`);
  await rejects(ensureManagementToken(folder), {
    code: "data-folder-unusable",
    message: /mgmt_token/,
  });
  await Deno.remove(folder, { recursive: true });
});
