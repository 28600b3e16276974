import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import type { Host } from "../../../src/base/host.ts";
import { RelayUsers } from "../../../src/protocol/turn/credentials.ts";
import {
  createCredentialsApi,
  type CredentialsSource,
} from "../../../src/roles/relay/credentials_api.ts";

const NOW = 1_800_000_000;
const HOST: Host = {
  now: () => NOW * 1000 + 999,
  monotonic: () => 0,
  random: (length) => new Uint8Array(length).fill(0xab),
};
const SOURCE: CredentialsSource = {
  secret: "s3cret",
  token: "t0ken",
  uris: ["turn:192.0.2.1:3478", "turns:relay.example.com:443"],
};

Deno.test("GET /credentials answers as the reference does", async () => {
  const response = await ask("/credentials?ttl=600");
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "application/json");
  assert.equal(response.headers.get("cache-control"), "no-store");
  const username = `${NOW + 600}:abababababababab`;
  assert.deepEqual(await response.json(), {
    username,
    password: createHmac("sha1", "s3cret").update(username).digest("base64"),
    ttl: 600,
    uris: SOURCE.uris,
  });
});

Deno.test("what GET /credentials hands out opens the relay until it expires", async () => {
  const { username } = await (await ask("/credentials")).json();
  const users = new RelayUsers({ realm: "cairn", users: [], restSecrets: ["s3cret"] });
  assert.equal(users.byUsername(username)?.expiresAt, NOW + 3600 + 1);
});

/** Attack 29 of the checklist: a ttl that overflows or never ends. */
const TTLS: [query: string, ttl: number | undefined][] = [
  ["", 3600],
  ["?ttl=3600", 3600],
  ["?ttl=0", 60],
  ["?ttl=59", 60],
  ["?ttl=86401", 86_400],
  ["?ttl=18446744073709551615", 86_400],
  ["?ttl=", undefined],
  ["?ttl=-1", undefined],
  ["?ttl=1h", undefined],
  ["?ttl=1e9", undefined],
  ["?ttl=60.5", undefined],
  [`?ttl=${"9".repeat(400)}`, undefined],
];

for (const [query, ttl] of TTLS) {
  Deno.test(`GET /credentials${query.slice(0, 30)} ${ttl ? `lives ${ttl} s` : "is refused with 400"}`, async () => {
    const response = await ask(`/credentials${query}`);
    assert.equal(response.status, ttl === undefined ? 400 : 200);
    const body = await response.json();
    assert.equal(body.ttl, ttl);
    if (ttl !== undefined) assert.equal(parseInt(body.username), NOW + ttl);
  });
}

const AUTHORIZATIONS: [authorization: string | undefined, status: number][] = [
  ["Bearer t0ken", 200],
  ["bearer t0ken", 200],
  [undefined, 401],
  ["Basic t0ken", 401],
  ["t0ken", 401],
  ["Bearer", 401],
  ["Bearer s3cret", 403],
  ["Bearer t0ke", 403],
  ["Bearer t0ken ", 200],
  ["Bearer t0ken x", 403],
];

for (const [authorization, status] of AUTHORIZATIONS) {
  Deno.test(`GET /credentials with ${authorization ?? "no authorization"} answers ${status}`, async () => {
    const response = await ask("/credentials", authorization ?? null);
    assert.equal(response.status, status);
    const body = await response.text();
    if (status !== 200) assert.doesNotMatch(body, /t0ken|s3cret|password/);
  });
}

Deno.test("the API answers to nothing else, and to nothing without a secret", async () => {
  assert.equal((await ask("/")).status, 404);
  assert.equal((await ask("/credentials", undefined, { method: "POST" })).status, 405);
  const response = await createCredentialsApi(() => undefined).request("/credentials");
  assert.equal(response.status, 404);
});

function ask(
  path: string,
  authorization: string | null = `Bearer ${SOURCE.token}`,
  init: RequestInit = {},
): Promise<Response> {
  const headers = authorization === null ? {} : { authorization };
  return Promise.resolve(
    createCredentialsApi(() => SOURCE, HOST).request(path, { ...init, headers }),
  );
}
