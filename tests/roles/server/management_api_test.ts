// deno-lint-ignore-file camelcase -- the fields of the REST API are in snake case.
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { Validator } from "@seriousme/openapi-schema-validator";
import { Problem } from "../../../src/roles/server/api/shapes.ts";
import { AUTHORIZED, idOf, ManagedScene } from "./managed_scene.ts";

/** The shortened id of the documented example. */
const SHORTENED = "5Hb7...";

Deno.test("GET /health says without a token that the server is up, and nothing else", async () => {
  const scene = new ManagedScene();
  const up = await scene.api.request("/health");
  strictEqual(up.status, 200);
  deepStrictEqual(await up.json(), { status: "healthy" });
  scene.free = 10;
  deepStrictEqual(await (await scene.api.request("/health")).json(), { status: "degraded" });
});

Deno.test("GET /health has the details for the token", async () => {
  const scene = new ManagedScene();
  scene.pairing.ask("tablet");
  const response = await scene.ask("/health");
  strictEqual(response.status, 200);
  deepStrictEqual(await response.json(), {
    status: "healthy",
    peer_id: idOf("server"),
    version: "1.2.3",
    uptime_secs: 62,
    connected_peers: 1,
    total_peers: 2,
    pairing_requests: 1,
    pending_messages: 3,
    storage_used_bytes: 99,
    storage_limit_bytes: 2 ** 30,
    storage_free_bytes: 10 ** 9,
    forward_enabled: true,
    forward_max_age_secs: 604_800,
  });
});

Deno.test("GET /peers is an array, or an object on request", async () => {
  const scene = new ManagedScene();
  const quotas = { messages: 10_000, bytes: 2 ** 30, own: { messages: false, bytes: false } };
  const phone = {
    peer_id: idOf("phone"),
    name: null,
    connected: true,
    last_seen: 1_700_000_100,
    paired_at: 1_700_000_000,
    mechanism: "psk",
    pending_messages: 0,
    stored_bytes: 0,
    quotas,
  };
  const laptop = {
    ...phone,
    peer_id: idOf("laptop"),
    connected: false,
    last_seen: null,
    pending_messages: 3,
    stored_bytes: 99,
  };
  deepStrictEqual(await (await scene.ask("/peers")).json(), [phone, laptop]);
  const object = await scene.ask("/peers?format=object");
  deepStrictEqual(await object.json(), { peers: [phone, laptop] });
  await refused(await scene.ask("/peers?format=table"), 422, "invalid-request", /^format: /);
});

Deno.test("POST /peers/approve lets a peer pair, and is on record", async () => {
  const scene = new ManagedScene();
  const response = await scene.send("POST", "/peers/approve", { peer_id: idOf("tablet") });
  strictEqual(response.status, 200);
  deepStrictEqual(await response.json(), { status: "approved", peer_id: idOf("tablet") });
  deepStrictEqual(scene.pairing.approved, [idOf("tablet")]);
  deepStrictEqual(scene.audit.words, ["token peer.approve"]);
});

for (
  const [what, body] of [
    ["the shortened id of the documented example", { peer_id: SHORTENED }],
    ["no id", {}],
    ["a number", { peer_id: 7 }],
    ["an id that no key has", { peer_id: `Qm${"1".repeat(44)}` }],
    ["another field", { peer_id: idOf("tablet"), force: true }],
    ["an array", []],
    ["null", null],
  ] as const
) {
  Deno.test(`POST /peers/approve answers 422 to ${what}`, async () => {
    const scene = new ManagedScene();
    const response = await scene.send("POST", "/peers/approve", body);
    await refused(response, 422, "invalid-request", what.includes("id of") ? /whole Peer ID/ : /./);
    deepStrictEqual(scene.audit.words, []);
  });
}

Deno.test("POST /peers/approve answers 409 to the server's own id, and the record says why", async () => {
  const scene = new ManagedScene();
  const response = await scene.send("POST", "/peers/approve", { peer_id: idOf("server") });
  await refused(response, 409, "refused", /own Peer ID/);
  deepStrictEqual(scene.audit.words, ["token peer.approve", "token peer.approve.failed"]);
});

Deno.test("A body that is not JSON is refused", async () => {
  const scene = new ManagedScene();
  const json = { "content-type": "application/json" };
  const approve = (init: RequestInit) => scene.ask("/peers/approve", { method: "POST", ...init });
  await refused(await approve({ headers: json, body: "{" }), 422, "invalid-request", /not JSON/);
  await refused(await approve({ headers: json }), 422, "invalid-request");
  const form = await approve({ body: new URLSearchParams({ peer_id: idOf("tablet") }) });
  await refused(form, 415, "unsupported-media-type", /application\/json/);
  const large = await approve({ headers: json, body: " ".repeat(16 * 1024 + 1) });
  await refused(large, 413, "too-large");
});

for (const [method, path] of [["POST", "/unpair"], ["DELETE", ""]] as const) {
  Deno.test(`${method} /peers/{id}${path} ends a pairing once`, async () => {
    const scene = new ManagedScene();
    const request = () => scene.ask(`/peers/${idOf("phone")}${path}`, { method });
    const response = await request();
    strictEqual(response.status, 200);
    deepStrictEqual(await response.json(), { status: "unpaired", peer_id: idOf("phone") });
    await refused(await request(), 404, "not-paired");
    const shortened = await scene.ask(`/peers/${SHORTENED}${path}`, { method });
    await refused(shortened, 422, "invalid-request");
    deepStrictEqual(scene.audit.words, [
      "token peer.unpair",
      "token peer.unpair",
      "token peer.unpair.failed",
    ]);
  });
}

Deno.test("PATCH /peers/{id} names a peer and sets its quotas, each alone or both", async () => {
  const scene = new ManagedScene();
  const patch = (body: unknown, label = "phone") =>
    scene.send("PATCH", `/peers/${idOf(label)}`, body);
  const named = await (await patch({ name: " Anna's phone " })).json();
  strictEqual(named.name, "Anna's phone");
  for (const name of ["👩‍💻 desk", "تلفن همراه‌"]) {
    strictEqual((await (await patch({ name })).json()).name, name);
  }
  const limited = await (await patch({ quotas: { messages: 5 } })).json();
  deepStrictEqual(limited.quotas, {
    messages: 5,
    bytes: 2 ** 30,
    own: { messages: true, bytes: false },
  });
  const reset = await (await patch({ name: null, quotas: { messages: null, bytes: 0 } })).json();
  deepStrictEqual([reset.name, reset.quotas.messages, reset.quotas.bytes], [null, 10_000, 0]);
  deepStrictEqual(scene.audit.words, Array(5).fill("token peer.change"));
  strictEqual(scene.audit.records[3]?.detail, '{"quotas":{"messages":5}}');

  await refused(await patch({ name: "x" }, "stranger"), 404, "not-paired");
  for (
    const wrong of [
      { name: "" },
      { name: "a\u001b[31m" },
      { name: "x".repeat(65) },
      { name: "half of a pair \ud800" },
      { name: "another\u2028line" },
      { name: "\u202egnp.exe" },
      { name: "\u2066isolated" },
      { quotas: { messages: -1 } },
      { quotas: { messages: 1.5 } },
      { quotas: { bytes: "1GB" } },
      { quotas: { disk: 1 } },
    ]
  ) await refused(await patch(wrong), 422, "invalid-request");
  scene.accounts = undefined;
  await refused(await patch({ quotas: { messages: 1 } }), 409, "no-mailbox");
});

Deno.test("GET /pairing/requests shows who asks, and one can be turned down", async () => {
  const scene = new ManagedScene();
  scene.pairing.ask("tablet");
  scene.host.pass(10_500);
  const response = await scene.ask("/pairing/requests");
  deepStrictEqual(await response.json(), {
    requests: [{
      peer_id: idOf("tablet"),
      sas: "042137",
      requested_at: Math.floor(scene.pairing.requests()[0]!.requestedAt / 1000),
      expires_in_secs: 290,
      connected: true,
      was_unpaired: false,
    }],
  });
  const refuse = () => scene.ask(`/pairing/requests/${idOf("tablet")}/refuse`, { method: "POST" });
  strictEqual((await (await refuse()).json()).status, "refused");
  await refused(await refuse(), 404, "not-found");
});

Deno.test("POST /pairing/pin and /pairing/link make what one peer redeems", async () => {
  const scene = new ManagedScene();
  const pin = await scene.ask("/pairing/pin", { method: "POST" });
  strictEqual(pin.headers.get("cache-control"), "no-store");
  deepStrictEqual(await pin.json(), {
    pin: "98AF-XZ2P",
    expires_in_secs: 300,
    id: "offer-0",
    signal_servers: ["wss://signal.example.com:8443"],
  });
  const link = await scene.ask("/pairing/link", { method: "POST" });
  strictEqual((await link.json()).uri, "cairn://pair?pid=x");
  const { offers } = await (await scene.ask("/pairing/offers")).json();
  deepStrictEqual(offers.map(({ id, state }: { id: string; state: string }) => [id, state]), [
    ["offer-1", "open"],
    ["offer-0", "open"],
  ]);
  strictEqual(JSON.stringify(offers).includes("98AF"), false);
  const ended = await scene.ask("/pairing/offers/offer-0", { method: "DELETE" });
  strictEqual((await ended.json()).state, "withdrawn");
  const unknown = await scene.ask("/pairing/offers/offer-9", { method: "DELETE" });
  await refused(unknown, 404, "not-found");

  scene.pairing.maxOffers = 2;
  const another = await scene.ask("/pairing/pin", { method: "POST" });
  await refused(another, 409, "refused", /Too many/);
  strictEqual(JSON.stringify(scene.audit.records).includes("98AF"), false);
});

for (
  const [accept, type] of [
    ["*/*", "image/png"],
    ["image/*,*/*;q=0.8", "image/png"],
    ["image/png", "image/png"],
    ["image/svg+xml", "image/svg+xml"],
    ["application/json", "application/json"],
    ["application/json;q=0.5, image/svg+xml", "image/svg+xml"],
    ["text/html", "image/png"],
  ] as const
) {
  Deno.test(`GET /pairing/qr with Accept: ${accept} is ${type}`, async () => {
    const response = await new ManagedScene().ask("/pairing/qr", { headers: { accept } });
    strictEqual(response.status, 200);
    strictEqual(response.headers.get("content-type"), type);
    strictEqual(response.headers.get("cache-control"), "no-store");
    const start = [...(await response.bytes()).slice(0, 4)];
    const expected = {
      "image/png": "\x89PNG",
      "image/svg+xml": "<svg",
      "application/json": '{"qr',
    };
    strictEqual(String.fromCharCode(...start), expected[type]);
  });
}

Deno.test("GET /queues, /queue and /queue/{id} tell what waits", async () => {
  const scene = new ManagedScene();
  const waiting = {
    peer_id: idOf("laptop"),
    pending_messages: 3,
    oldest_message_age_secs: 61,
    total_bytes: 99,
  };
  deepStrictEqual(await (await scene.ask("/queues")).json(), { queues: [waiting] });
  deepStrictEqual(await (await scene.ask("/queue")).json(), {
    queues: [waiting],
    total_storage_bytes: 99,
  });
  const message = {
    msg_id: "00".repeat(16),
    from: idOf("phone"),
    bytes: 33,
    accepted_at: 1_700_000_000,
  };
  const one = await scene.ask(`/queue/${idOf("laptop")}?limit=2`);
  deepStrictEqual(await one.json(), { ...waiting, messages: [message, message] });
  const empty = await (await scene.ask(`/queue/${idOf("phone")}`)).json();
  deepStrictEqual([empty.pending_messages, empty.messages], [0, []]);
  await refused(await scene.ask(`/queue/${idOf("stranger")}`), 404, "not-paired");
  await refused(await scene.ask(`/queue/${SHORTENED}`), 422, "invalid-request", /Peer ID/);
  await refused(await scene.ask(`/queue/${idOf("phone")}?limit=1001`), 422, "invalid-request");
  scene.accounts = undefined;
  deepStrictEqual(await (await scene.ask("/queues")).json(), { queues: [] });
});

Deno.test("POST /queue/{id}/purge drops what waits for one peer", async () => {
  const scene = new ManagedScene();
  const purge = (id: string) => scene.ask(`/queue/${id}/purge`, { method: "POST" });
  deepStrictEqual(await (await purge(idOf("laptop"))).json(), { purged: 3 });
  deepStrictEqual(await (await purge(idOf("laptop"))).json(), { purged: 0 });
  await refused(await purge(idOf("stranger")), 404, "not-paired");
  deepStrictEqual(scene.audit.words, ["token queue.purge", "token queue.purge"]);
});

Deno.test("GET /relay/stats has the shape of the reference", async () => {
  const response = await new ManagedScene().ask("/relay/stats");
  deepStrictEqual(await response.json(), {
    relay: {
      capacity: 100,
      active_connections: 1,
      bytes_relayed: 7,
      per_peer: [{ peer_id: idOf("phone"), bytes_relayed: 7, active_streams: 1 }],
    },
  });
});

Deno.test("GET /audit shows the latest changes first, page by page", async () => {
  const scene = new ManagedScene();
  await scene.send("PATCH", `/peers/${idOf("phone")}`, { name: "phone" });
  await scene.ask(`/peers/${idOf("phone")}`, {
    method: "DELETE",
    headers: { "user-agent": "cairn-cli/1.2.3" },
  });
  const { entries } = await (await scene.ask("/audit")).json();
  deepStrictEqual(
    entries.map((entry: Record<string, unknown>) => [entry.id, entry.actor, entry.action]),
    [
      [2, "cli", "peer.unpair"],
      [1, "token", "peer.change"],
    ],
  );
  const older = await (await scene.ask("/audit?before=2&limit=1")).json();
  deepStrictEqual(older.entries.map(({ id }: { id: number }) => id), [1]);
  await refused(await scene.ask("/audit?limit=0"), 422, "invalid-request");
});

Deno.test("GET /metrics speaks the text format of Prometheus, for the token only", async () => {
  const scene = new ManagedScene();
  scene.registry.gauge("cairn_server_some", "Something", () => 1);
  const response = await scene.ask("/metrics");
  match(response.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
  match(await response.text(), /^cairn_server_some 1$/m);
  await refused(await scene.api.request("/metrics"), 401, "unauthorized");
});

Deno.test("GET /openapi.json is a valid OpenAPI 3.1 document that names every path", async () => {
  const response = await new ManagedScene().ask("/openapi.json");
  const document = await response.json();
  const validation = await new Validator().validate(document);
  deepStrictEqual(validation.errors, undefined);
  strictEqual(validation.valid, true);
  strictEqual(document.openapi, "3.1.0");
  deepStrictEqual(Object.keys(document.paths).sort(), [
    "/audit",
    "/backup",
    "/events",
    "/events/recent",
    "/health",
    "/history",
    "/messages/{id}/trace",
    "/metrics",
    "/pairing/link",
    "/pairing/offers",
    "/pairing/offers/{id}",
    "/pairing/pin",
    "/pairing/qr",
    "/pairing/requests",
    "/pairing/requests/{id}/refuse",
    "/peers",
    "/peers/approve",
    "/peers/{id}",
    "/peers/{id}/export",
    "/peers/{id}/unpair",
    "/queue",
    "/queue/{id}",
    "/queue/{id}/purge",
    "/queues",
    "/relay/stats",
  ]);
});

Deno.test("Unknown paths and methods are answered in JSON", async () => {
  const scene = new ManagedScene();
  await refused(await scene.ask("/nothing"), 404, "not-found");
  await refused(await scene.ask("/peers/"), 404, "not-found");
  const wrong = await scene.ask("/peers", { method: "DELETE" });
  strictEqual(wrong.headers.get("allow"), "GET, HEAD");
  await refused(wrong, 405, "method-not-allowed");
  const purge = await scene.ask(`/queue/${idOf("phone")}/purge`);
  strictEqual(purge.headers.get("allow"), "POST");
  await refused(purge, 405, "method-not-allowed");
  strictEqual((await scene.ask("/peers", { method: "HEAD" })).status, 200);
  for (const path of ["/events", "/pairing/qr"]) {
    const head = await scene.ask(path, { method: "HEAD" });
    deepStrictEqual([head.status, head.headers.get("allow")], [405, "GET"]);
  }
  deepStrictEqual([scene.streams.listeners, scene.pairing.made.length], [0, 0]);
  await refused(await scene.ask("/openapi.json", { method: "POST" }), 405, "method-not-allowed");
});

Deno.test("No answer may be stored, whatever it is", async () => {
  const scene = new ManagedScene();
  for (const path of ["/health", "/peers", "/nothing", "/pairing/qr", "/openapi.json"]) {
    for (const headers of [{}, AUTHORIZED]) {
      const response = await scene.api.request(path, { headers });
      strictEqual(response.headers.get("cache-control"), "no-store", path);
      await response.body?.cancel();
    }
  }
});

Deno.test("What went wrong inside is not told", async () => {
  const scene = new ManagedScene();
  scene.accounts!.queues = () => Promise.reject(new Error("a path of this machine"));
  await refused(await scene.ask("/queues"), 500, "internal-error", /^The server failed/);
});

async function refused(
  response: Response,
  status: number,
  code: string,
  message = /./,
): Promise<void> {
  const body = await response.json();
  strictEqual(response.status, status, JSON.stringify(body));
  ok(Problem.strict().safeParse(body).success, JSON.stringify(body));
  strictEqual(body.code, code);
  match(body.error, message);
}
