import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { AcceptWatch } from "../../src/roles/accept_watch.ts";
import { listen } from "../../src/roles/http.ts";
import { FakeTime } from "../support/fake_time.ts";
import { untilHolds } from "../support/rested.ts";
import { hasOpenssl, makeSelfSigned } from "../support/self_signed.ts";

const LOCAL = { host: "127.0.0.1", port: 0 };
/** More than one may listen there. */
const SHARED = { ...LOCAL, reusePort: true };
const OFTEN = 20;
/** Longer than a busy process takes to see who has connected. */
const SELDOM = 500;
const FILES = 80;
const WITHIN_MS = 120_000;
const ATTEMPT_MS = 2_000;

Deno.test("AcceptWatch ends its own connections, and hands over those of clients", async () => {
  using time = new FakeTime();
  const taken = Promise.withResolvers<Socket>();
  let accepted = 0;
  const server = createServer((socket) => {
    accepted++;
    watch.accepted(socket, taken.resolve);
  });
  const address = await addressOf(server);
  const watch = new AcceptWatch({ interval: OFTEN, listenAgain: () => Promise.resolve() });
  watch.start(address);
  for (let round = 1; round <= 4; round++) {
    time.pass(OFTEN);
    await untilHolds(() => accepted === round, () => `connection ${round} of its own`);
    await time.elapse(OFTEN);
  }
  const client = connect(address);
  await once(client, "connect");
  const connection = await taken.promise;
  assert.equal(connection.remotePort, client.localPort);
  watch.close();
  client.destroy();
  connection.destroy();
  server.close();
  await once(server, "close");
});

Deno.test("AcceptWatch listens again, also after that failed, when nothing is accepted", async () => {
  const ignored: Socket[] = [];
  const server = createServer((socket) => ignored.push(socket));
  const address = await addressOf(server);
  const revived = Promise.withResolvers<unknown>();
  let attempts = 0;
  const watch = new AcceptWatch({
    interval: OFTEN,
    listenAgain(address) {
      if (++attempts === 1) return Promise.reject(new Error("No file descriptor is left"));
      revived.resolve(address);
      return Promise.resolve();
    },
  });
  watch.start(address);
  assert.deepEqual(await revived.promise, address);
  watch.close();
  for (const socket of ignored) socket.destroy();
  server.close();
  await once(server, "close");
});

Deno.test("listen() tells nobody of its own connections", async () => {
  using time = new FakeTime();
  const others: unknown[] = [];
  const listener = await listen({
    ...LOCAL,
    checkInterval: OFTEN,
    prepare: (server) =>
      server.on("connection", (socket: Socket) => others.push(socket.remotePort)),
  });
  const { host, port } = listener.address;
  const clients: unknown[] = [];
  for (let round = 0; round < 10; round++) {
    // It comes behind the listener's own.
    time.pass(OFTEN);
    const client = connect(port, host);
    await once(client, "connect");
    clients.push(client.localPort);
    client.end("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    const [answer] = await once(client, "data");
    assert.match(String(answer), /^HTTP\/1\.1 404 /);
    client.resume();
    await once(client, "close");
    await time.elapse(OFTEN);
  }
  await listener.close();
  assert.deepEqual(others, clients);
});

Deno.test("AcceptWatch tells a deaf listener from others that share its address", async () => {
  for (const [deaf, interval] of [["this one", OFTEN], ["another", SELDOM]] as const) {
    const ignored: Socket[] = [];
    const own = createServer((socket) => {
      if (deaf === "this one") ignored.push(socket);
      else watch.accepted(socket, () => assert.fail("Nobody else connects"));
    });
    const address = await addressOf(own, SHARED);
    const other = createServer((socket) => {
      if (deaf === "another") ignored.push(socket);
      else socket.on("error", () => {}).on("data", () => socket.destroy());
    });
    await addressOf(other, { ...SHARED, port: address.port });
    const revived = Promise.withResolvers<void>();
    let rounds = 0;
    const watch = new AcceptWatch({
      interval,
      isShared: true,
      listenAgain: () => Promise.resolve(revived.resolve()),
    });
    const heard = Promise.withResolvers<void>();
    own.on("connection", () => ++rounds === 2 && heard.resolve());
    watch.start(address);
    if (deaf === "this one") await revived.promise;
    else await heard.promise;
    watch.close();
    for (const socket of ignored) socket.destroy();
    for (const server of [own, other]) server.close();
    await Promise.all([own, other].map((server) => once(server, "close")));
  }
});

for (
  const { tls, listeners } of [
    { tls: false, listeners: 1 },
    { tls: true, listeners: 1 },
    { tls: false, listeners: 3 },
    { tls: true, listeners: 3 },
  ]
) {
  Deno.test({
    name: `${listeners} listeners of listen() accept again once there are file descriptors, ${
      tls ? "TLS" : "TCP"
    }`,
    ignore: Deno.build.os !== "linux" || tls && !hasOpenssl,
    fn: async () => {
      await using certificate = tls ? await makeSelfSigned() : undefined;
      await using server = await HttpProcess.start(listeners, certificate);
      const { port } = server;
      using client = Deno.createHttpClient({ caCerts: certificate ? [certificate.cert] : [] });
      const url = `${tls ? "https" : "http"}://localhost:${port}`;
      const open = await fetch(`${url}/wait`, { client });
      const crowd = await Promise.all(
        Array.from({ length: 2 * FILES }, () => Deno.connect({ hostname: "127.0.0.1", port })),
      );
      for (const connection of crowd) connection.close();
      const deadline = performance.now() + WITHIN_MS;
      // With several, the system chooses one each time: all of them by so many.
      const enough = listeners === 1 ? 1 : 8 * listeners;
      for (let inARow = 0; inARow < enough;) {
        inARow = await pageWithin(ATTEMPT_MS, url, certificate?.cert) === "here" ? inARow + 1 : 0;
        assert.ok(performance.now() < deadline, "it accepts no connection");
      }
      assert.equal(await open.text(), "wait no more");
    },
  });
}

/** A server of `listen()` in a process that may have few files open. */
class HttpProcess implements AsyncDisposable {
  readonly port: number;
  readonly #child: Deno.ChildProcess;
  readonly #output: ReadableStreamDefaultReader<string>;

  private constructor(
    port: number,
    child: Deno.ChildProcess,
    output: ReadableStreamDefaultReader<string>,
  ) {
    this.port = port;
    this.#child = child;
    this.#output = output;
  }

  static async start(
    listeners: number,
    tls: { readonly certPath: string; readonly keyPath: string } | undefined,
  ): Promise<HttpProcess> {
    const child = new Deno.Command("sh", {
      args: [
        ...["-c", `ulimit -n ${FILES}; exec "$@"`, "sh", Deno.execPath(), "run", "-A", "--no-lock"],
        ...["--unstable-kv", "--unstable-net"],
        new URL("../support/http_process.ts", import.meta.url).pathname,
        String(10 * OFTEN),
        String(listeners),
        ...(tls ? [tls.certPath, tls.keyPath] : []),
      ],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const output = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    const { value } = await output.read();
    return new HttpProcess(Number(value), child, output);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.stdin.close();
    await this.#output.cancel();
    await this.#child.status;
  }
}

async function addressOf(server: Server, place = LOCAL): Promise<{ host: string; port: number }> {
  server.listen(place);
  await once(server, "listening");
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  return { host: address.address, port: address.port };
}

/** A page over a connection of its own, or `undefined` when it does not come. */
async function pageWithin(ms: number, url: string, cert?: string): Promise<string | undefined> {
  using client = Deno.createHttpClient({ caCerts: cert === undefined ? [] : [cert] });
  try {
    return await (await fetch(url, { client, signal: AbortSignal.timeout(ms) })).text();
  } catch {
    return undefined;
  }
}
