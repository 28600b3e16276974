import { deepStrictEqual, match, notStrictEqual, rejects, strictEqual } from "node:assert/strict";
import { ensureManagementToken } from "../../../src/roles/server/api/token_auth.ts";
import { ManagedScene } from "./managed_scene.ts";

const SPACED = "a token of the operator's own";

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
    const response = await new ManagedScene().api.request(
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
  strictEqual((await new ManagedScene().api.request("/peers", { headers })).status, 200);
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
    const response = await new ManagedScene().api.request("/health", { headers: { host: name } });
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
    const response = await new ManagedScene().api.request("/health", { headers: { host: name } });
    strictEqual(response.status, 403);
    strictEqual((await response.json()).code, "unknown-host");
  });
}

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
  await rejects(ensureManagementToken(folder, SPACED), { code: "invalid-option" });
  strictEqual((await ensureManagementToken(folder, "")).created, true);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("ensureManagementToken() takes no token from its file that a header cannot carry", async () => {
  const folder = await Deno.makeTempDir();
  for (const content of ["two words\n", "one\ntwo\n", "\u00fcber\n", "\u0000\u0000"]) {
    await Deno.writeTextFile(`${folder}/mgmt_token`, content);
    await rejects(ensureManagementToken(folder), {
      code: "data-folder-unusable",
      message: /mgmt_token holds no token.*remove the file, and another one is made$/,
    });
    strictEqual(await Deno.readTextFile(`${folder}/mgmt_token`), content);
  }
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
