/* node:http in Deno keeps the time limits on which roles/http.ts relies. */

import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { utf8 } from "../../src/base/bytes.ts";
import { hasOpenssl, makeSelfSigned } from "../support/self_signed.ts";

const TIMEOUTS = {
  handshakeTimeout: 100,
  headersTimeout: 100,
  requestTimeout: 200,
  keepAliveTimeout: 100,
  connectionsCheckingInterval: 20,
};

const STALLING = {
  "nothing": "",
  "half of its headers": "GET / HTTP/1.1\r\nHost: x\r\n",
  "half of its body": "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc",
  "one request and no other": "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
};

for (const [what, bytes] of Object.entries(STALLING)) {
  Deno.test(`node:http ends a connection on which a client sends ${what}`, async () => {
    await using server = await start(createServer(TIMEOUTS, answer));
    await endsAfter(server.port, bytes);
  });
}

Deno.test({
  name: "node:https ends a connection on which no TLS handshake comes",
  ignore: !hasOpenssl,
  fn: async () => {
    await using tls = await makeSelfSigned();
    const cert = await Deno.readTextFile(tls.certPath);
    const key = await Deno.readTextFile(tls.keyPath);
    await using server = await start(createTlsServer({ ...TIMEOUTS, cert, key }, answer));
    await endsAfter(server.port, "");
  },
});

const answer: Parameters<typeof createServer>[1] = (request, response) => {
  request.on("error", () => {}).on("end", () => response.end("ok")).resume();
};

async function endsAfter(port: number, bytes: string): Promise<void> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  if (bytes) await connection.write(utf8(bytes));
  const buffer = new Uint8Array(1_024);
  try {
    while (await connection.read(buffer) !== null);
  } catch (error) {
    assert.ok(error instanceof Deno.errors.ConnectionReset);
  }
}

async function start(server: Server) {
  server.on("clientError", (_error, socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())),
  };
}
