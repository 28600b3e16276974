import assert from "node:assert/strict";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { utf8 } from "../../src/base/bytes.ts";
import { parseUpgradeHead, type UpgradeHead } from "../../src/protocol/web_socket_handshake.ts";
import { Dice, mutated } from "../support/dice.ts";

const SEED = 20_261_121;
const HEAD = [
  "GET /a?b HTTP/1.1",
  "Host: signal.example.com",
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  "X-Forwarded-For: 1.2.3.4",
];

Deno.test(`node:http reads the same in all that is read here (seed ${SEED})`, async () => {
  const dice = new Dice(SEED);
  await using reference = await startReference();
  const seed = utf8(HEAD.join("\r\n"));
  let read = 0;
  for (let i = 0; i < 400; i++) {
    const text = String.fromCharCode(...mutated(dice, [seed]));
    const head = text.includes("\r\n\r\n") ? undefined : parseUpgradeHead(text);
    if (!head) continue;
    read++;
    assert.deepEqual({ ...head, headers: { ...head.headers } }, await reference.read(text), text);
  }
  assert.ok(read > 50, "some are read");
});

/** What node:http makes of a head. */
async function startReference() {
  const seen: IncomingMessage[] = [];
  const server = createServer();
  server.on("upgrade", (request, stream) => {
    seen.push(request);
    stream.destroy();
  });
  server.on("request", (_request, response) => response.end());
  server.on("clientError", (_error, stream) => stream.destroy());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    async read(text: string): Promise<UpgradeHead | undefined> {
      using connection = await Deno.connect({ hostname: "127.0.0.1", port });
      await connection.write(Uint8Array.from(`${text}\r\n\r\n`, (char) => char.charCodeAt(0)));
      // The server may have hung up by then.
      await connection.closeWrite().catch(() => {});
      await connection.read(new Uint8Array(1_000)).catch(() => null);
      const request = seen.pop();
      return request && { url: request.url ?? "", headers: { ...request.headers } };
    },
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())),
  };
}
