import { createHash } from "node:crypto";
import { type Api, newApi } from "../api/route.ts";
import page from "./page.html" with { type: "text" };
import icon from "./icon.svg" with { type: "text" };
import script from "./page.js" with { type: "text" };
import style from "./page.css" with { type: "text" };

/**
 * What the page may do: load its own script and style, show QR codes, and ask its own server. With
 * `require-trusted-types-for` and no policy, not even its own script can turn text into HTML.
 */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join("; ");

const HEADERS = {
  "content-security-policy": POLICY,
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=()",
  "referrer-policy": "no-referrer",
  "x-frame-options": "DENY",
  // Asked about every time, so that a server that was upgraded shows the page that belongs to it.
  "cache-control": "no-cache",
};

const FILES: readonly (readonly [path: string, type: string, text: string])[] = [
  ["/", "text/html; charset=utf-8", page],
  ["/dashboard.js", "text/javascript; charset=utf-8", script],
  ["/dashboard.css", "text/css; charset=utf-8", style],
  ["/dashboard.svg", "image/svg+xml", icon],
];

/** The dashboard: files that are the same for everybody and hold nothing of this server. */
export function dashboardRoutes(): Api {
  const api = newApi();
  for (const [path, type, text] of FILES) {
    const etag = `"${createHash("sha256").update(text).digest("base64url").slice(0, 22)}"`;
    api.get(path, (context) => {
      const isKnown = context.req.header("if-none-match")?.includes(etag) ?? false;
      const headers = { ...HEADERS, etag };
      return isKnown
        ? context.body(null, 304, headers)
        : context.body(text, 200, { ...headers, "content-type": type });
    });
  }
  return api;
}
