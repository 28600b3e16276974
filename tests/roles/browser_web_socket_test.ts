/** What the WebSocket of a page does that no other does. */

import { deepEqual } from "node:assert/strict";
import { browserScript } from "../../tasks/browser_script.ts";
import { Chromium, chromiumPath } from "../support/chromium.ts";
import { hasOpenssl, makeSelfSigned } from "../support/self_signed.ts";

const ignore = chromiumPath === undefined || !hasOpenssl;
const note = ignore ? " (SKIPPED: Chromium or openssl is not installed)" : "";
/** Of a network that nobody has (RFC 5737). */
const NOWHERE = "ws://192.0.2.1:8443";

Deno.test(`A page of https: says that it may not open ws:${note}`, { ignore }, async () => {
  const script = await browserScript(new URL("../support/web_socket_page.ts", import.meta.url));
  await using certificate = await makeSelfSigned();
  await using server = Deno.serve({
    ...{ hostname: "127.0.0.1", port: 0, onListen() {} },
    cert: certificate.cert,
    key: await Deno.readTextFile(certificate.keyPath),
  }, ({ url }) => {
    const isScript = url.endsWith("/page.js");
    const body = isScript ? script : `<script type="module" src="page.js"></script>`;
    const type = isScript ? "text/javascript" : "text/html";
    return new Response(body, { headers: { "content-type": type } });
  });
  const url = `https://127.0.0.1:${server.addr.port}/`;
  await using browser = await Chromium.open(url, { certificate: certificate.cert });
  deepEqual(await browser.run(`page.failure("${NOWHERE}")`), [
    "unreachable",
    `${NOWHERE} may not be opened by a page of https:, which needs wss:`,
  ]);
});
