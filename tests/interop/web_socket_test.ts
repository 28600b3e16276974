/* The server's WebSockets against a client that is none of ours: npm:ws. */

import assert from "node:assert/strict";
// @ts-types="@types/ws"
import { WebSocket } from "ws";
import { listen } from "../../src/roles/http.ts";
import type { CloseInfo } from "../../src/roles/web_socket.ts";
import { acceptWebSockets } from "../../src/roles/web_socket_server.ts";

const LENGTHS = [0, 1, 125, 126, 127, 65_535, 65_536, 300_000];
const TEXTS = ["", "κόσμε", "\ufeff", "\u0000", "😀".repeat(1_000)];

Deno.test("npm:ws gets back what it sends, whole or in fragments, and its pings", async () => {
  await using echo = await startEcho();
  const client = await echo.connect();
  const received: (string | Uint8Array)[] = [];
  const pongs: string[] = [];
  client.on("message", (data, isBinary) => {
    assert.ok(data instanceof Uint8Array);
    received.push(isBinary ? new Uint8Array(data) : data.toString());
  });
  client.on("pong", (data) => pongs.push(data.toString()));
  const sent: (string | Uint8Array)[] = [];
  for (const message of [...LENGTHS.map(bytesOf), ...TEXTS]) {
    for (const parts of [1, 2, 7]) {
      const size = Math.ceil(message.length / parts) || 1;
      for (let part = 0; part < parts; part++) {
        const piece = message.slice(part * size, (part + 1) * size);
        // A character may not be cut: npm:ws would send two halves that are no text.
        const whole = typeof message === "string" ? (part === 0 ? message : "") : piece;
        client.send(whole, { fin: part === parts - 1 });
        client.ping(`${sent.length}.${part}`);
      }
      sent.push(message);
    }
  }
  const done = new Promise((resolve) => client.once("close", resolve));
  client.close(4000, "all sent");
  await done;
  assert.deepEqual(received, sent);
  assert.equal(pongs.length, sent.length / 3 * (1 + 2 + 7));
  assert.deepEqual(await echo.closed.at(-1), { code: 4000, reason: "all sent" });
});

Deno.test("npm:ws and the server read each other's close codes and reasons", async () => {
  await using echo = await startEcho();
  for (const code of [1000, 1001, 1003, 1008, 1011, 1012, 1013, 3000, 4999]) {
    const client = await echo.connect();
    const closed = new Promise((resolve) => {
      client.once("close", (code, reason) => resolve(`${code} ${reason}`));
    });
    client.send(`close ${code}`);
    assert.equal(await closed, `${code} as you wish`);
    const other = await echo.connect();
    const ended = new Promise((resolve) => other.once("close", (code) => resolve(code)));
    other.close(code, "mine");
    assert.equal(await ended, code);
  }
  const silent = await echo.connect();
  const ended = new Promise((resolve) => silent.once("close", (code) => resolve(code)));
  silent.close();
  assert.equal(await ended, 1005);
  assert.deepEqual(await echo.closed.at(-1), { code: 1005, reason: "" });
});

function bytesOf(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => i * 7);
}

/** Sends everything back; `close <code>` closes with that code. */
async function startEcho() {
  /** How each connection ended, in the order in which they began. */
  const closed: Promise<CloseInfo>[] = [];
  const listener = await listen({
    host: "127.0.0.1",
    port: 0,
    prepare: (server) => {
      acceptWebSockets({
        server,
        limits: { maxFrameBytes: 1_048_576, maxBufferedBytes: 64 * 1_048_576 },
        handler: (_request, accept) =>
          accept((socket) => {
            socket.onFrame = (frame) => socket.send(frame);
            socket.onText = (text) => {
              const code = /^close (\d+)$/.exec(text)?.[1];
              if (code === undefined) socket.sendText(text);
              else socket.close(Number(code), "as you wish");
            };
            closed.push(new Promise((resolve) => socket.onClose = resolve));
          }),
      });
    },
  });
  return {
    closed,
    async connect(): Promise<WebSocket> {
      const client = new WebSocket(`ws://127.0.0.1:${listener.address.port}`);
      await new Promise((resolve) => client.once("open", resolve));
      // It offers compression, which the server must not take.
      assert.equal(client.extensions, "");
      return client;
    },
    [Symbol.asyncDispose]: () => listener.close(),
  };
}
