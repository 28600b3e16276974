import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { ManagedScene } from "./managed_scene.ts";

const FILES = [
  ["/", /^text\/html/],
  ["/dashboard.js", /^text\/javascript/],
  ["/dashboard.css", /^text\/css/],
  ["/dashboard.svg", /^image\/svg/],
] as const;

for (const [path, type] of FILES) {
  Deno.test(`GET ${path} is the same for everybody and cannot be framed or sniffed`, async () => {
    const scene = new ManagedScene();
    const response = await scene.api.request(path);
    strictEqual(response.status, 200);
    match(response.headers.get("content-type") ?? "", type);
    const policy = response.headers.get("content-security-policy") ?? "";
    for (
      const rule of [
        "default-src 'none'",
        "script-src 'self'",
        "frame-ancestors 'none'",
        "form-action 'none'",
        "base-uri 'none'",
        "require-trusted-types-for 'script'",
      ]
    ) ok(policy.split("; ").includes(rule), rule);
    ok(!policy.includes("unsafe"));
    strictEqual(response.headers.get("x-content-type-options"), "nosniff");
    strictEqual(response.headers.get("x-frame-options"), "DENY");
    strictEqual(response.headers.get("referrer-policy"), "no-referrer");
    strictEqual(response.headers.get("cross-origin-resource-policy"), "same-origin");
    strictEqual(response.headers.get("set-cookie"), null);
    const text = await response.text();
    ok(!text.includes(scene.peerId.toString()) && !text.includes(scene.version));
  });
}

Deno.test("The dashboard names no other host and has no script of its own in the page", async () => {
  const scene = new ManagedScene();
  for (const [path] of FILES) {
    const text = await (await scene.api.request(path)).text();
    const hosts = [...text.matchAll(/(?:https?|wss?):\/\/[^\s"'`]+/g)].map(([url]) => url);
    deepStrictEqual(hosts.filter((url) => url !== "http://www.w3.org/2000/svg"), [], path);
  }
  const page = await (await scene.api.request("/")).text();
  deepStrictEqual(page.match(/<script[^>]*>[^<]+<|<style|\son\w+=|\sstyle=/g), null);
});

Deno.test("A browser that has the dashboard is told so, and a renewed one is not kept back", async () => {
  const scene = new ManagedScene();
  const first = await scene.api.request("/dashboard.js");
  await first.body?.cancel();
  strictEqual(first.headers.get("cache-control"), "no-cache");
  const etag = first.headers.get("etag") ?? "";
  const again = await scene.api.request("/dashboard.js", { headers: { "if-none-match": etag } });
  strictEqual(again.status, 304);
  strictEqual(await again.text(), "");
  const renewed = await scene.api.request("/", { headers: { "if-none-match": etag } });
  strictEqual(renewed.status, 200);
  await renewed.body?.cancel();
});

Deno.test("The dashboard is not served under the name of another site, nor to other methods", async () => {
  const scene = new ManagedScene();
  const foreign = await scene.api.request("/", { headers: { host: "evil.example" } });
  strictEqual(foreign.status, 403);
  strictEqual((await scene.api.request("/", { method: "HEAD" })).status, 200);
  const posted = await scene.ask("/", { method: "POST" });
  strictEqual(posted.status, 405);
  strictEqual(posted.headers.get("allow"), "GET, HEAD");
});
