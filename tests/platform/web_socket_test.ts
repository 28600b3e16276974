/*
 * Facts about Deno and npm:ws that decided the design of roles/web_socket_client.ts and
 * roles/web_socket_server.ts. When one of these fails, a reason may have gone away.
 */

import assert from "node:assert/strict";
import type { Buffer } from "node:buffer";
import { createServer, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";
import type { Duplex } from "node:stream";
// @ts-types="@types/ws"
import { type WebSocket as PeerWebSocket, WebSocketServer } from "ws";
import { RawWebSocket } from "../support/raw_web_socket.ts";
import { hasOpenssl, makeSelfSigned } from "../support/self_signed.ts";

const MEBIBYTE = 1_048_576;

Deno.test("Deno.upgradeWebSocket takes frames far beyond any limit of ours", async () => {
  const received = Promise.withResolvers<number>();
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
    const { socket, response } = Deno.upgradeWebSocket(request);
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => received.resolve(data.byteLength);
    return response;
  });
  const client = new WebSocket(`ws://127.0.0.1:${server.addr.port}`);
  const closed = new Promise((resolve) => client.onclose = resolve);
  client.onopen = () => client.send(new Uint8Array(16 * MEBIBYTE));
  assert.equal(await received.promise, 16 * MEBIBYTE);
  client.close();
  await closed;
});

Deno.test("Deno.upgradeWebSocket's close() does not end a reader that stalls", async () => {
  const accepted = Promise.withResolvers<WebSocket>();
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
    const { socket, response } = Deno.upgradeWebSocket(request);
    accepted.resolve(socket);
    return response;
  });
  const stalled = await RawWebSocket.open(server.addr.port);
  const socket = await accepted.promise;
  let ended = false;
  const closed = new Promise<void>((resolve) => {
    socket.onclose = () => {
      ended = true;
      resolve();
    };
  });
  socket.onerror = (event) => event.preventDefault();
  if (socket.readyState !== WebSocket.OPEN) await new Promise((open) => socket.onopen = open);
  for (let i = 0; i < 32; i++) socket.send(new Uint8Array(MEBIBYTE));
  socket.close();
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.equal(ended, false);
  stalled.close();
  await closed;
});

for (const tls of [false, true]) {
  const transport = tls ? "TLS" : "TCP";
  for (const way of ["terminate", "resetAndDestroy"] as const) {
    Deno.test({
      name: way === "terminate"
        ? `npm:ws terminate() leaves what waits in the kernel to a stalled reader (${transport})`
        : `resetAndDestroy() of the TCP socket ends a stalled reader for real (${transport})`,
      ignore: tls && !hasOpenssl,
      fn: async () => {
        await using certificate = tls ? await makeSelfSigned() : undefined;
        await using server = await startServer(certificate);
        using stalled = await RawWebSocket.open(
          server.port,
          certificate ? { caCerts: [certificate.cert] } : {},
        );
        const { webSocket, connection } = await server.accepted;
        const closed = new Promise((resolve) => webSocket.on("close", resolve));
        for (let i = 0; i < 2_000 && webSocket.bufferedAmount < MEBIBYTE; i++) {
          webSocket.send(new Uint8Array(60_000));
          await new Promise((resolve) => setTimeout(resolve, 0));
        }
        if (way === "terminate") webSocket.terminate();
        else connection.resetAndDestroy();
        await closed;
        const { end, length } = await stalled.readToEnd();
        if (way === "resetAndDestroy") assert.equal(end, "reset");
        else assert.ok(length > MEBIBYTE);
      },
    });
  }
}

Deno.test("frames that npm:ws delivered are not overwritten by later ones", async () => {
  await using server = await startServer();
  const client = new WebSocket(`ws://127.0.0.1:${server.port}`);
  const opened = new Promise((resolve) => client.onopen = resolve);
  const { webSocket } = await server.accepted;
  const frames: Uint8Array[] = [];
  const all = new Promise<void>((resolve) => {
    webSocket.on("message", (data) => {
      assert.ok(data instanceof Uint8Array);
      frames.push(data);
      if (frames.length === 500) resolve();
    });
  });
  const closed = new Promise((resolve) => client.onclose = resolve);
  await opened;
  for (let i = 0; i < 500; i++) client.send(new Uint8Array(1 + i * 7 % 3_000).fill(i));
  await all;
  for (const [i, frame] of frames.entries()) {
    assert.ok(frame.length === 1 + i * 7 % 3_000 && frame.every((byte) => byte === i % 256));
  }
  client.close();
  await closed;
});

Deno.test("each piece that node:net reads has memory of its own, and no more than it needs", async () => {
  const server = createTcpServer();
  const pieces: Buffer[] = [];
  const ended = new Promise((resolve) => {
    server.on("connection", (socket) => {
      socket.on("data", (piece: Buffer) => pieces.push(piece)).on(
        "end",
        () => resolve(socket.end()),
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  using client = await Deno.connect({ hostname: "127.0.0.1", port });
  for (let i = 0; i < 200; i++) await client.write(new Uint8Array(50).fill(i));
  await client.closeWrite();
  await ended;
  const bytes = pieces.flatMap((piece) => [...piece]);
  assert.deepEqual(bytes, Array.from({ length: 10_000 }, (_, i) => Math.floor(i / 50)));
  for (const { length, buffer } of pieces) assert.equal(buffer.byteLength, length);
  await new Promise((resolve) => server.close(resolve));
});

/** A bare npm:ws server, with the TCP socket under each connection. */
async function startServer(tls?: { certPath: string; keyPath: string }) {
  const server: Server = tls
    ? createTlsServer({
      cert: await Deno.readTextFile(tls.certPath),
      key: await Deno.readTextFile(tls.keyPath),
    })
    : createServer();
  const accepted = Promise.withResolvers<{ webSocket: PeerWebSocket; connection: Socket }>();
  const webSockets = new WebSocketServer({ noServer: true, clientTracking: false });
  const connections: Socket[] = [];
  server.on("connection", (socket: Socket) => {
    socket.on("error", () => {});
    connections.push(socket);
  });
  server.on("upgrade", (request, stream: Duplex, head) => {
    webSockets.handleUpgrade(request, stream, head, (webSocket) => {
      webSocket.on("error", () => {});
      const connection = connections.at(-1);
      assert.ok(connection);
      accepted.resolve({ webSocket, connection });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    accepted: accepted.promise,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const connection of connections) connection.destroy();
      await closed;
    },
  };
}
