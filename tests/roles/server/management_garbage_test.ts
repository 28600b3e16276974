import { deepEqual, equal, match, ok } from "node:assert/strict";
import { utf8 } from "../../../src/base/bytes.ts";
import { Dice, mutated } from "../../support/dice.ts";
import { AUTHORIZED, idOf, ManagedScene } from "./managed_scene.ts";

const REQUESTS = 1_500;
const METHODS = ["GET", "POST", "PATCH", "DELETE", "PUT", "OPTIONS"];
const SEEDS = [
  `{"peer_id":"${idOf("laptop")}"}`,
  '{"name":"laptop","quotas":{"messages":1,"bytes":null}}',
  '{"__proto__":{"name":"x"},"constructor":7,"name":"\\ud800"}',
  `${"[".repeat(3_000)}`,
  '{"quotas":{"bytes":1e400,"messages":-0}}',
  "",
].map(utf8);
const QUERIES = [
  "",
  "?",
  "?limit=0",
  "?limit=1e9",
  "?limit=&before=-1",
  "?format=%ff",
  "?before=NaN",
];
const HEADERS: readonly Readonly<Record<string, string>>[] = [
  {},
  { "content-type": "application/json" },
  { "content-type": "application/json; charset=utf-16" },
  { "content-type": "multipart/form-data; boundary=x" },
  { "accept": "image/svg+xml;q=NaN, */*;q=9999" },
  { "last-event-id": "-".repeat(2_000) },
  { "content-length": "5" },
  { "user-agent": "cairn-cli/\u00ff" },
];

Deno.test("The management API answers whatever its operator's programs send, and fails at nothing", async () => {
  const dice = new Dice(7);
  const pick = <T>(choices: readonly T[]): T => choices[dice.below(choices.length)]!;
  const scene = new ManagedScene();
  const document = await (await scene.ask("/openapi.json")).json();
  const paths = Object.keys(document.paths).filter((path) => path !== "/events");
  const ids = [idOf("phone"), idOf("stranger"), "..", "%", "%00", "%ff", "Qm", "a".repeat(5_000)];
  const statuses = new Map<number, number>();
  for (let count = 0; count < REQUESTS; count++) {
    const path = pick([...paths, "/", "//", "/%2e%2e/peers"]).replace(/\{\w+\}/, () => pick(ids));
    const method = pick(METHODS);
    const hasBody = method !== "GET";
    const response = await scene.api.request(`${path}${pick(QUERIES)}`, {
      method,
      headers: { ...AUTHORIZED, ...pick(HEADERS) },
      ...(hasBody && { body: Uint8Array.from(mutated(dice, SEEDS)) }),
    });
    const { status } = response;
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
    const answer = new Uint8Array(await response.arrayBuffer());
    ok(status < 500, `${method} ${path}: ${status}`);
    // The page holds nothing of this server; what it asks for does.
    const isPage = response.headers.get("content-type")?.startsWith("text/html");
    equal(response.headers.get("cache-control"), isPage ? "no-cache" : "no-store");
    if (status < 400) continue;
    const said: unknown = JSON.parse(new TextDecoder().decode(answer));
    deepEqual(Object.keys(Object(said)).sort(), ["code", "error"]);
    match(String(Reflect.get(Object(said), "code")), /^[a-z-]+$/);
  }
  for (const status of [200, 404, 405, 415, 422]) ok(statuses.has(status), `some got ${status}`);
});

Deno.test("The management API tells a stranger nothing but that a token is missing", async () => {
  const dice = new Dice(8);
  const scene = new ManagedScene();
  const answers = new Set<string>();
  for (
    const path of ["/peers", "/queue", "/nothing", "/openapi.json", "/metrics", "/peers/approve"]
  ) {
    for (const method of METHODS) {
      const body = method === "GET" ? null : Uint8Array.from(mutated(dice, SEEDS));
      const response = await scene.api.request(path, { method, body });
      equal(response.status, 401);
      answers.add(await response.text());
    }
  }
  equal(answers.size, 1);
  deepEqual(scene.audit.records, []);
});
