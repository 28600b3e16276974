import assert from "node:assert/strict";
import { utf8 } from "../../src/base/bytes.ts";
import { dial as dialFromBrowser } from "../../src/roles/browser_web_socket.ts";
import { type HttpListener, listen } from "../../src/roles/http.ts";
import {
  type CloseInfo,
  connectWebSocket,
  type FrameSocket,
  shortReason,
  type TextFrameSocket,
} from "../../src/roles/web_socket.ts";
import {
  type AcceptLimits,
  acceptWebSockets,
  type UpgradeHandler,
  type WebSocketAcceptor,
} from "../../src/roles/web_socket_server.ts";
import { clientFrame } from "../support/client_frames.ts";
import { RawWebSocket } from "../support/raw_web_socket.ts";
import { hasOpenssl, makeSelfSigned } from "../support/self_signed.ts";
import { startedSignal } from "../support/started_signal.ts";

const BINARY = 0x82;
/** Milliseconds for a connection, however busy the machine is. */
const PATIENT = 120_000;

Deno.test("messages flow both ways, unchanged, whatever their length", async () => {
  await using server = await startServer({ maxFrameBytes: 1_048_576 });
  const { near, far } = await server.pair();
  for (const length of [0, 1, 125, 126, 65_535, 65_536, 1_048_576]) {
    const message = crypto.getRandomValues(new Uint8Array(Math.min(length, 65_536)));
    const padded = new Uint8Array(length);
    padded.set(message);
    const received = nextFrame(far);
    near.send(padded);
    assert.deepEqual(await received, padded);
    const answered = nextFrame(near);
    far.send(padded);
    assert.deepEqual(await answered, padded);
  }
  await closeBoth(near, far);
});

Deno.test("a received message is a plain array, not a Buffer", async () => {
  await using server = await startServer();
  const { near, far } = await server.pair();
  const received = nextFrame(far);
  near.send(Uint8Array.of(1, 2, 3));
  assert.equal((await received).constructor, Uint8Array);
  await closeBoth(near, far);
});

Deno.test("messages that come before onFrame is set are kept in order", async () => {
  await using server = await startServer();
  const { near, far } = await server.pair();
  const marker = nextText(near);
  for (let i = 0; i < 3; i++) far.send(Uint8Array.of(i));
  far.sendText("all sent");
  await marker;
  const seen: number[] = [];
  near.onFrame = ([first]) => {
    seen.push(first!);
    near.onFrame = ([next]) => seen.push(next! + 10);
  };
  assert.deepEqual(seen, [0, 11, 12]);
  await closeBoth(near, far);
});

Deno.test("a remote that sends before anybody listens is bounded", async () => {
  await using server = await startServer();
  const { near, far } = await server.pair();
  const closed = nextClose(far);
  for (let i = 0; i < 100; i++) near.send(Uint8Array.of(i));
  await closed;
  await nextClose(near);
});

Deno.test("a close carries code and reason to the other side, from either end", async () => {
  await using server = await startServer();
  const first = await server.pair();
  first.near.close(1000, "done");
  assert.deepEqual(await nextClose(first.far), { code: 1000, reason: "done" });
  await nextClose(first.near);
  const second = await server.pair();
  second.far.close(1008, "too many errors");
  assert.deepEqual(await nextClose(second.near), { code: 1008, reason: "too many errors" });
  await nextClose(second.far);
});

Deno.test("onClose set after the end is called all the same, once", async () => {
  await using server = await startServer();
  const { near, far } = await server.pair();
  const nearClosed = nextClose(near);
  far.close(1000, "early");
  await nearClosed;
  assert.deepEqual(await nextClose(near), { code: 1000, reason: "early" });
  await nextClose(far);
});

Deno.test("sending on a closed socket does nothing", async () => {
  await using server = await startServer();
  const { near, far } = await server.pair();
  await closeBoth(near, far);
  near.send(Uint8Array.of(1));
  far.send(Uint8Array.of(1));
  far.close(1000, "again");
  near.close(1000, "again");
  near.destroy();
  far.destroy();
});

Deno.test("destroy() on the accepting side breaks the connection off", async () => {
  await using server = await startServer();
  const { near, far } = await server.pair();
  far.destroy();
  assert.equal((await nextClose(far)).code, 1006);
  assert.equal((await nextClose(near)).code, 1006);
});

Deno.test("destroy() on the connecting side reports the end at once", async () => {
  await using server = await startServer();
  const { near, far } = await server.pair();
  const closed = nextClose(near);
  near.destroy();
  assert.equal((await closed).code, 1006);
  await nextClose(far);
});

Deno.test("close codes that a client may not send become 1000, and long reasons short", async () => {
  await using server = await startServer();
  const { near, far } = await server.pair();
  near.close(1008, "ü".repeat(100));
  assert.deepEqual(await nextClose(far), { code: 1000, reason: "ü".repeat(61) });
  await nextClose(near);
});

Deno.test("shortReason() cuts at 123 bytes and never inside a character", () => {
  assert.equal(shortReason("a".repeat(200)), "a".repeat(123));
  assert.equal(shortReason("kept"), "kept");
  assert.ok(shortReason("😀".repeat(40)).isWellFormed());
});

Deno.test("a message beyond the limit closes its connection with 1009, and no other", async () => {
  await using server = await startServer({ maxFrameBytes: 1_000 });
  const victim = await server.pair();
  const other = await server.pair();
  victim.near.send(new Uint8Array(1_001));
  assert.equal((await nextClose(victim.near)).code, 1009);
  await nextClose(victim.far);
  const received = nextFrame(other.far);
  other.near.send(new Uint8Array(1_000));
  assert.equal((await received).length, 1_000);
  await closeBoth(other.near, other.far);
});

Deno.test("a text message closes a socket that carries none with 1003", async () => {
  await using server = await startServer();
  const { near, far } = await server.pair();
  near.sendText("hello");
  assert.equal((await nextClose(near)).code, 1003);
  await nextClose(far);
});

Deno.test("bytes that are no WebSocket frame end their connection only", async () => {
  await using server = await startServer({ closeTimeout: 20 });
  const other = await server.pair();
  for (const garbage of [new Uint8Array(64).fill(0xff), Uint8Array.of(BINARY, 1, 0)]) {
    const accepted = server.nextSocket();
    using raw = await RawWebSocket.open(server.port);
    const closed = nextClose(await accepted);
    await raw.write(garbage);
    await raw.readToEnd();
    await closed;
  }
  await closeBoth(other.near, other.far);
});

Deno.test("the subprotocol that the handler names is the client's", async () => {
  await using server = await startServer({}, (_request, accept) => {
    accept(server.onSocket, "cairn.link.v1");
  });
  const accepted = server.nextSocket();
  using raw = await RawWebSocket.open(server.port, {
    headers: { "sec-websocket-protocol": "other, cairn.link.v1" },
  });
  assert.match(raw.response, /^HTTP\/1\.1 101 /);
  assert.match(raw.response, /sec-websocket-protocol: cairn\.link\.v1\r\n/i);
  assert.doesNotMatch(raw.response, /sec-websocket-extensions/i);
  (await accepted).destroy();
});

Deno.test("frames that come in one piece with the handshake are read after it", async () => {
  await using server = await startServer();
  const accepted = server.nextSocket();
  using raw = await RawWebSocket.open(server.port, { behind: clientFrame(BINARY, utf8("early")) });
  assert.match(raw.response, /^HTTP\/1\.1 101 /);
  assert.deepEqual(await nextFrame(await accepted), utf8("early"));
});

for (const tls of [false, true]) {
  Deno.test({
    name: `a handshake that comes byte by byte over ${tls ? "TLS" : "TCP"} is completed too`,
    ignore: tls && !hasOpenssl,
    fn: async () => {
      await using certificate = tls ? await makeSelfSigned() : undefined;
      await using server = await startServer({}, undefined, certificate);
      const accepted = server.nextSocket();
      using raw = await RawWebSocket.open(server.port, {
        ...(certificate && { caCerts: [certificate.cert] }),
        pieces: 1,
        behind: clientFrame(BINARY, utf8("early")),
      });
      assert.match(raw.response, /^HTTP\/1\.1 101 /);
      assert.deepEqual(await nextFrame(await accepted), utf8("early"));
    },
  });
}

Deno.test("a connection that a proxy used for a page before may become a WebSocket", async () => {
  await using server = await startServer();
  const accepted = server.nextSocket();
  using raw = await RawWebSocket.open(server.port, {
    before: "HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
  });
  assert.match(raw.response, /^HTTP\/1\.1 404 .*\r\n\r\nHTTP\/1\.1 101 /s);
  const received = nextFrame(await accepted);
  await raw.send(BINARY, utf8("kept alive"));
  assert.deepEqual(await received, utf8("kept alive"));
});

for (const tls of [false, true]) {
  Deno.test({
    name: `pages are served beside WebSockets over ${tls ? "TLS" : "TCP"}, long heads too`,
    ignore: tls && !hasOpenssl,
    fn: async () => {
      await using certificate = tls ? await makeSelfSigned() : undefined;
      await using server = await startServer({}, undefined, certificate, 418);
      using client = Deno.createHttpClient({ caCerts: certificate ? [certificate.cert] : [] });
      const url = server.url.replace(/^ws/, "http");
      for (const method of ["GET", "POST"]) {
        const body = method === "POST" ? { body: new Uint8Array(200_000) } : {};
        const headers = { "x-long": "x".repeat(method === "POST" ? 1 : 12_000) };
        const response = await fetch(url, { client, method, headers, ...body });
        assert.equal(response.status, 418);
        await response.body?.cancel();
      }
    },
  });
}

Deno.test("a client that breaks the rules is told which", async () => {
  await using server = await startServer({ maxFrameBytes: 1_000 });
  const breaches: [code: number, ...frames: Uint8Array[]][] = [
    [1002, clientFrame(BINARY, utf8("x"), { mask: null })],
    [1002, clientFrame(0xc2, utf8("x"))],
    [1002, clientFrame(0x83, utf8("x"))],
    [1002, clientFrame(0x80, utf8("x"))],
    [1002, clientFrame(0x88, Uint8Array.of(0x03, 0xed))],
    [1007, clientFrame(0x81, Uint8Array.of(0xc0, 0x80))],
    [1009, clientFrame(0x02, new Uint8Array(600)), clientFrame(0x80, new Uint8Array(600))],
  ];
  for (const [code, ...frames] of breaches) {
    const accepted = server.nextSocket();
    using raw = await RawWebSocket.open(server.port);
    const closed = nextClose(await accepted);
    for (const frame of frames) await raw.write(frame);
    assert.deepEqual(await raw.read(4), Uint8Array.of(0x88, 2, code >> 8, code & 0xff));
    assert.equal((await raw.readToEnd()).end, "closed");
    await raw.send(0x88, new Uint8Array(0));
    await raw.finish();
    assert.equal((await closed).code, 1006);
  }
});

Deno.test("all that is sent in one turn leaves as one write", async () => {
  await using server = await startServer();
  const accepted = server.nextSocket();
  using raw = await RawWebSocket.open(server.port);
  const socket = await accepted;
  for (let i = 0; i < 100; i++) socket.sendText("0123456789");
  assert.equal((await raw.read(2_000)).length, 1_200);
});

Deno.test("an upgrade that is no WebSocket handshake gets an HTTP error", async () => {
  await using server = await startServer();
  for (const headers of [{ "sec-websocket-version": "7" }, { "sec-websocket-key": "short" }]) {
    using raw = await RawWebSocket.open(server.port, { headers });
    assert.match(raw.response, /^HTTP\/1\.1 400 /);
  }
});

for (const tls of [false, true]) {
  const transport = tls ? "TLS" : "TCP";
  Deno.test({
    name: `a reader that stalls over ${transport} is reset, and others go on`,
    ignore: tls && !hasOpenssl,
    fn: async () => {
      await using certificate = tls ? await makeSelfSigned() : undefined;
      const limits = { maxBufferedBytes: 100_000 };
      await using server = await startServer(limits, undefined, certificate);
      const caCerts = certificate && [certificate.cert];
      const other = await server.pair({ ...(caCerts && { caCerts }) });
      const accepted = server.nextSocket();
      using stalled = await RawWebSocket.open(server.port, { ...(caCerts && { caCerts }) });
      const socket = await accepted;
      let ended: CloseInfo | undefined;
      socket.onClose = (info) => ended = info;
      let sent = 0;
      for (let turn = 0; turn < 2_000 && !ended; turn++) {
        socket.send(new Uint8Array(60_000));
        sent += 60_000;
        await eventLoopTurn();
      }
      assert.deepEqual(ended, { code: 1006, reason: "slow reader" });
      const { length, end } = await stalled.readToEnd();
      assert.equal(end, "reset");
      assert.ok(length < sent);
      const received = nextFrame(other.near);
      other.far.send(Uint8Array.of(7));
      assert.deepEqual(await received, Uint8Array.of(7));
      await closeBoth(other.near, other.far);
    },
  });
}

Deno.test("a reader that is slow but reads gets everything, in order", async () => {
  await using server = await startServer({ maxBufferedBytes: 64_000_000 });
  const { near, far } = await server.pair();
  const lengths = Array.from({ length: 3_000 }, (_, i) => [3, 70_000, 200, 9_000][i % 4]!);
  const all = Promise.withResolvers<void>();
  let count = 0;
  near.onFrame = (frame) => {
    assert.equal(frame.length, lengths[count]);
    assert.equal(frame[0], count % 256);
    if (++count === lengths.length) all.resolve();
  };
  for (const [i, length] of lengths.entries()) {
    far.send(new Uint8Array(length).fill(i));
    if (i % 100 === 0) await eventLoopTurn();
  }
  assert.ok(far.bufferedBytes > 0, "it could not all leave at once");
  await all.promise;
  assert.equal(far.bufferedBytes, 0);
  await closeBoth(near, far);
});

Deno.test("many small messages to a reader that stalls are not free", async () => {
  await using server = await startServer({ maxBufferedBytes: 100_000 });
  const accepted = server.nextSocket();
  using _stalled = await RawWebSocket.open(server.port);
  const socket = await accepted;
  let ended = false;
  socket.onClose = () => ended = true;
  let sent = 0;
  for (; !ended && sent < 100; sent++) {
    for (let i = 0; i < 1_000; i++) socket.send(new Uint8Array(0));
    await eventLoopTurn();
  }
  assert.ok(ended);
  assert.ok(sent < 100);
});

Deno.test("who answers no ping is reset, who does stays", async () => {
  await using server = await startServer({ pingInterval: 20 });
  const alive = await server.pair();
  const accepted = server.nextSocket();
  using silent = await RawWebSocket.open(server.port);
  assert.deepEqual(await nextClose(await accepted), { code: 1006, reason: "no answer to pings" });
  assert.equal((await silent.readToEnd()).end, "reset");
  assert.equal(server.acceptor.size, 1);
  await closeBoth(alive.near, alive.far);
});

Deno.test("each of many is pinged in an interval", async () => {
  await using server = await startServer({ pingInterval: 100 });
  const clients = await Promise.all(
    Array.from({ length: 40 }, () => RawWebSocket.open(server.port)),
  );
  for (const ping of await Promise.all(clients.map((client) => client.read(2)))) {
    assert.deepEqual(ping, Uint8Array.of(0x89, 0));
  }
  for (const client of clients) client.close();
});

Deno.test("a close that the remote does not answer ends in a reset", async () => {
  await using server = await startServer({ closeTimeout: 20 });
  const accepted = server.nextSocket();
  using silent = await RawWebSocket.open(server.port);
  const socket = await accepted;
  socket.close(1000, "bye");
  assert.equal((await nextClose(socket)).code, 1006);
  assert.equal((await silent.readToEnd()).end, "reset");
});

Deno.test("beyond the limit of sockets an upgrade is answered with 503", async () => {
  await using server = await startServer({ maxSockets: 1 });
  const { near, far } = await server.pair();
  await assert.rejects(connectWebSocket(server.url), {
    code: "unreachable",
    message: `ws://127.0.0.1:${server.port} does not accept WebSockets at / (status 503)`,
  });
  await closeBoth(near, far);
  const again = await server.pair();
  await closeBoth(again.near, again.far);
});

Deno.test("a handler that never decides costs the client its connection", async () => {
  await using server = await startServer({ decisionTimeout: 20 }, () => {});
  using raw = await RawWebSocket.open(server.port);
  assert.equal(raw.response, "");
});

Deno.test("an acceptor that closes tells all with 1001 and refuses more", async () => {
  await using server = await startServer();
  const { near, far } = await server.pair();
  server.acceptor.close("going away");
  assert.deepEqual(await nextClose(near), { code: 1001, reason: "going away" });
  await nextClose(far);
  await assert.rejects(connectWebSocket(server.url), { code: "unreachable" });
});

Deno.test("connectWebSocket() sends the headers that it is given", async () => {
  let authorization: string | undefined;
  await using server = await startServer({}, (request, accept) => {
    authorization = request.headers.authorization;
    accept(server.onSocket);
  });
  const { near, far } = await server.pair({ headers: { authorization: "Bearer x" } });
  assert.equal(authorization, "Bearer x");
  await closeBoth(near, far);
});

for (const status of [401, 403]) {
  Deno.test(`connectWebSocket() explains status ${status}`, async () => {
    await using server = await startServer({}, (_request, _accept, refuse) => refuse(status));
    await assert.rejects(connectWebSocket(server.url), {
      name: "CairnError",
      code: "refused",
      message: `ws://127.0.0.1:${server.port} refused the token (HTTP status ${status})`,
    });
  });
}

Deno.test("connectWebSocket() explains that nothing listens", async () => {
  const server = await startServer();
  await server[Symbol.asyncDispose]();
  await assert.rejects(connectWebSocket(server.url), {
    code: "unreachable",
    message:
      `ws://127.0.0.1:${server.port} is not reachable; check the address and that the server runs`,
  });
});

Deno.test("connectWebSocket() gives up on a server that does not answer", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepted = listener.accept();
  await assert.rejects(
    connectWebSocket(`ws://127.0.0.1:${listener.addr.port}`, { timeout: 50 }),
    { code: "unreachable", message: /did not answer within 1 s; check the address$/ },
  );
  (await accepted).close();
});

Deno.test("connectWebSocket() gives up when its signal says so, before or during", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const url = `ws://127.0.0.1:${listener.addr.port}`;
  await assert.rejects(connectWebSocket(url, { signal: AbortSignal.abort() }), { code: "closed" });
  const giveUp = new AbortController();
  const accepted = listener.accept();
  const connecting = connectWebSocket(url, { signal: giveUp.signal });
  const connection = await accepted;
  giveUp.abort();
  await assert.rejects(connecting, { code: "closed" });
  connection.close();
});

Deno.test("by a browser's WebSocket messages flow both ways too", async () => {
  await using server = await startServer();
  const { signal } = new AbortController();
  const [near, far] = await Promise.all([
    dialFromBrowser(new URL(server.url), {}, signal),
    server.nextSocket(),
  ]);
  const received = nextFrame(far);
  near.send(Uint8Array.of(1, 2));
  assert.deepEqual(await received, Uint8Array.of(1, 2));
  const answered = nextText(near);
  far.sendText("ü");
  assert.equal(await answered, "ü");
  near.close(1008, "bye");
  assert.deepEqual(await nextClose(far), { code: 1000, reason: "bye" });
  await nextClose(near);
});

Deno.test("by a browser's WebSocket a bearer token goes as a subprotocol", async () => {
  await using signal = await startedSignal({ authTokens: ["tökén, of a page"], drainTime: 0 });
  const target = new URL(`ws://127.0.0.1:${signal.port}`);
  const { signal: attempt } = new AbortController();
  const dialWith = (token: string) => {
    const headers = { authorization: `Bearer ${token}` };
    return dialFromBrowser(target, { protocols: ["cairn.signal.v1"], headers }, attempt);
  };
  const socket = await dialWith("tökén, of a page");
  assert.equal(socket.protocol, "cairn.signal.v1");
  const answered = nextText(socket);
  socket.sendText('{"type":"query","topic":"abc"}');
  assert.match(await answered, /abc/);
  socket.close();
  assert.equal((await nextClose(await dialWith("another one"))).code, 4401);
});

Deno.test("by a browser's WebSocket a failure says little, and giving up ends the attempt", async () => {
  const gone = await startServer();
  await gone[Symbol.asyncDispose]();
  const { signal } = new AbortController();
  await assert.rejects(dialFromBrowser(new URL(gone.url), {}, signal), {
    code: "unreachable",
    message: /is not reachable or refuses; check the address and the token$/,
  });
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const giveUp = new AbortController();
  const url = new URL(`ws://127.0.0.1:${listener.addr.port}`);
  const connecting = dialFromBrowser(url, {}, giveUp.signal);
  const connection = await listener.accept();
  giveUp.abort(new Error("given up"));
  await assert.rejects(connecting, { message: "given up" });
  connection.close();
});

Deno.test("connectWebSocket() refuses what is not a WebSocket URL", async () => {
  for (const url of ["", "localhost:80", "http://localhost", "ws://"]) {
    await assert.rejects(connectWebSocket(url), { name: "CairnError", code: "invalid-option" });
  }
});

Deno.test({
  name: "connectWebSocket() over TLS: trusts what it is told to, explains the rest",
  ignore: !hasOpenssl,
  fn: async () => {
    await using certificate = await makeSelfSigned();
    await using server = await startServer({}, undefined, certificate);
    const trusting = { caCerts: [certificate.cert] };
    const { near, far } = await server.pair(trusting);
    await closeBoth(near, far);
    const port = server.port;
    await assert.rejects(connectWebSocket(`wss://127.0.0.1:${port}`), {
      code: "unreachable",
      message:
        /^wss:\/\/127\.0\.0\.1:\d+ has a certificate that this machine does not trust \(self-signed certificate\)/,
    });
    await assert.rejects(connectWebSocket(`ws://127.0.0.1:${port}`), {
      code: "unreachable",
      message: `ws://127.0.0.1:${port} does not speak WebSocket; if it uses TLS, write wss://`,
    });
    await using guarded = await startServer(
      {},
      (_request, _accept, refuse) => refuse(401),
      certificate,
      401,
    );
    await assert.rejects(connectWebSocket(guarded.url, trusting), {
      code: "refused",
      message: `wss://localhost:${guarded.port} refused the token (HTTP status 401)`,
    });
    await using plain = await startServer();
    await assert.rejects(connectWebSocket(`wss://127.0.0.1:${plain.port}`), {
      code: "unreachable",
      message: /does not speak TLS; check the address, or write ws:\/\/$/,
    });
  },
});

interface TestServer {
  readonly url: string;
  readonly port: number;
  readonly acceptor: WebSocketAcceptor;
  /** Hand this to `accept` in a handler of one's own. */
  readonly onSocket: (socket: TextFrameSocket) => void;
  nextSocket(): Promise<TextFrameSocket>;
  /** Both ends of a new connection. */
  pair(
    options?: Parameters<typeof connectWebSocket>[1],
  ): Promise<{ near: TextFrameSocket; far: TextFrameSocket }>;
  [Symbol.asyncDispose](): Promise<void>;
}

async function startServer(
  limits: Partial<AcceptLimits> = {},
  handler?: UpgradeHandler,
  tls?: { certPath: string; keyPath: string },
  statusOfPages = 404,
): Promise<TestServer> {
  const accepted: TextFrameSocket[] = [];
  let waiting: ((socket: TextFrameSocket) => void) | undefined;
  const onSocket = (socket: TextFrameSocket) => {
    if (waiting) waiting(socket);
    else accepted.push(socket);
    waiting = undefined;
  };
  const nextSocket = () => {
    const early = accepted.shift();
    if (early) return Promise.resolve(early);
    return new Promise<TextFrameSocket>((resolve) => waiting = resolve);
  };
  let acceptor: WebSocketAcceptor | undefined;
  const listener: HttpListener = await listen({
    host: "127.0.0.1",
    port: 0,
    ...(tls && { tls }),
    onRequest: (_request, response) => response.writeHead(statusOfPages).end(),
    prepare: (server) => {
      acceptor = acceptWebSockets({
        server,
        limits: { maxFrameBytes: 65_536, maxBufferedBytes: 4_194_304, ...limits },
        handler: handler ?? ((_request, accept) => accept(onSocket)),
      });
    },
  });
  assert.ok(acceptor);
  const { port } = listener.address;
  const url = tls ? `wss://localhost:${port}` : `ws://127.0.0.1:${port}`;
  return {
    url,
    port,
    acceptor,
    onSocket,
    nextSocket,
    async pair(options) {
      const connecting = connectWebSocket(url, { timeout: PATIENT, ...options });
      const [near, far] = await Promise.all([connecting, nextSocket()]);
      return { near, far };
    },
    [Symbol.asyncDispose]: () => listener.close(),
  };
}

function nextFrame(socket: FrameSocket): Promise<Uint8Array> {
  return new Promise((resolve) => socket.onFrame = resolve);
}

function nextText(socket: TextFrameSocket): Promise<string> {
  return new Promise((resolve) => socket.onText = resolve);
}

function nextClose(socket: FrameSocket): Promise<CloseInfo> {
  return new Promise((resolve) => socket.onClose = resolve);
}

async function closeBoth(near: FrameSocket, far: FrameSocket): Promise<void> {
  near.close();
  await Promise.all([nextClose(near), nextClose(far)]);
}

function eventLoopTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
