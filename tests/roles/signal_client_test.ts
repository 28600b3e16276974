import assert from "node:assert/strict";
import { toHex } from "../../src/base/bytes.ts";
import { systemHost } from "../../src/base/host.ts";
import { decodeSignalFrame, encodeSignalFrame } from "../../src/protocol/signal/signal_frame.ts";
import { SignalClient, type SignalClientOptions } from "../../src/roles/signal_client.ts";
import { startSignal } from "../../src/roles/signal/run_signal.ts";
import type { SignalOptions } from "../../src/roles/signal/signal_options.ts";
import { listen } from "../../src/roles/http.ts";
import type { AcceptedWebSocket } from "../../src/roles/accepted_socket.ts";
import { acceptWebSockets } from "../../src/roles/web_socket_server.ts";
import { within } from "../support/deadline.ts";
import { FakeTime } from "../support/fake_time.ts";
import { ForeignClient } from "../support/foreign_client.ts";
import { hasOpenssl, makeSelfSigned } from "../support/self_signed.ts";

/** A topic on which a witness hears that a client's earlier frames have reached the server. */
const WITNESS = "witness";

Deno.test("subscribe() brings what others relay, until it is ended", async () => {
  await using signal = await start();
  await using client = connect(signal.url);
  const ann = await signal.foreign();
  const heard = new Heard();
  const leave = client.subscribe("abc", heard.listener);
  await signal.hasHandled(client);
  ann.send(relay("abc", 1));
  assert.equal(await heard.next(), "01");
  leave();
  await signal.hasHandled(client);
  ann.send(relay("abc", 2));
  await ann.settled();
  client.subscribe("other", heard.listener);
  await signal.hasHandled(client);
  ann.send(relay("other", 3));
  assert.equal(await heard.next(), "03");
});

Deno.test("relay() reaches others with the reference's bytes", async () => {
  await using signal = await start();
  await using client = connect(signal.url);
  const ann = await signal.foreign();
  await ann.subscribe("abc");
  client.relay("abc", Uint8Array.of(1, 2));
  assert.equal(
    toHex(await ann.next()),
    "a16552656c6179a265746f70696363616263677061796c6f6164420102",
  );
});

Deno.test("what is relayed before the connection waits for it, the newest 256", async () => {
  await using signal = await start();
  const ann = await signal.foreign();
  await ann.subscribe("abc");
  await using client = connect(signal.url, { started: false });
  for (let i = 0; i < 300; i++) client.relay("abc", Uint8Array.of(i >> 8, i & 0xff));
  client.start();
  for (let i = 44; i < 300; i++) {
    assert.deepEqual(await nextPayload(ann), Uint8Array.of(i >> 8, i & 0xff));
  }
  await signal.hasHandled(client);
  await ann.hasNothing();
});

Deno.test("a topic with several listeners is left with the last of them", async () => {
  await using signal = await start({ limits: { topicsPerConnection: 1 } });
  await using client = connect(signal.url);
  const ann = await signal.foreign();
  const [first, second] = [new Heard(), new Heard()];
  const leaveFirst = client.subscribe("abc", first.listener);
  const leaveSecond = client.subscribe("abc", second.listener);
  leaveFirst();
  leaveFirst();
  await signal.hasHandled(client);
  ann.send(relay("abc", 1));
  assert.equal(await second.next(), "01");
  assert.ok(first.isEmpty);
  leaveSecond();
  client.subscribe("other", first.listener);
  await signal.hasHandled(client);
  ann.send(relay("other", 2));
  assert.equal(await first.next(), "02");
});

Deno.test("a listener may leave while it is called", async () => {
  await using signal = await start();
  await using client = connect(signal.url);
  const ann = await signal.foreign();
  const [heard, other] = [new Heard(), new Heard()];
  const leave = client.subscribe("abc", (payload) => {
    leave();
    heard.listener(payload);
  });
  client.subscribe("abc", other.listener);
  await signal.hasHandled(client);
  ann.send(relay("abc", 1));
  ann.send(relay("abc", 2));
  assert.deepEqual([await other.next(), await other.next()], ["01", "02"]);
  assert.equal(await heard.next(), "01");
  assert.ok(heard.isEmpty);
});

Deno.test("after the server came back, everything is subscribed again", async () => {
  const first = await start();
  await using client = connect(first.url);
  const heard = new Heard();
  client.subscribe("abc", heard.listener);
  await first.hasHandled(client);
  const states: boolean[] = [];
  const lost = new Promise<void>((resolve) => {
    client.onStateChange = (connected) => {
      states.push(connected);
      if (!connected) resolve();
    };
  });
  await first[Symbol.asyncDispose]();
  await lost;
  assert.equal(client.connected, false);
  await using second = await start({ listenAddr: `127.0.0.1:${first.port}` });
  const ann = await second.foreign();
  await second.hasHandled(client);
  ann.send(relay("abc", 1));
  assert.equal(await heard.next(), "01");
  assert.deepEqual(states, [false, true]);
});

Deno.test("a client that starts before its server connects as soon as that is there", async () => {
  await using client = connect(await goneUrl());
  assert.equal((await client.failure).code, "unreachable");
  const port = Number(new URL(client.url).port);
  await using _signal = await start({ listenAddr: `127.0.0.1:${port}` });
  await client.whenConnected(new AbortController().signal);
  assert.equal(client.connected, true);
  assert.equal(client.lastError, undefined);
});

Deno.test("a refused token is said in a sentence, and the right one connects", async () => {
  await using signal = await start({ authTokens: ["right"] });
  await using wrong = connect(signal.url, { authToken: "wrong" });
  const error = await wrong.failure;
  assert.equal(error.code, "refused");
  assert.equal(error.message, "The signaling server refused the token; check the signaling token");
  assert.equal(wrong.connected, false);
  await using right = connect(signal.url, { authToken: "right" });
  await right.whenConnected(new AbortController().signal);
});

Deno.test({
  name: "over TLS the token is checked, and a refusal still recognised",
  ignore: !hasOpenssl,
  fn: async () => {
    await using tls = await makeSelfSigned();
    await using signal = await start({ tls, authTokens: ["right"] });
    const trust = { caCerts: [tls.cert] };
    await using wrong = connect(signal.url, { ...trust, authToken: "wrong" });
    assert.equal((await wrong.failure).code, "refused");
    await using right = connect(signal.url, { ...trust, authToken: "right" });
    await right.whenConnected(new AbortController().signal);
    await using suspicious = connect(signal.url, { authToken: "right" });
    assert.match(
      (await suspicious.failure).message,
      /certificate that this machine does not trust/,
    );
  },
});

Deno.test("whenConnected() ends with its signal, and with the client", async () => {
  await using client = connect(await goneUrl());
  const stop = new AbortController();
  const waiting = client.whenConnected(stop.signal);
  stop.abort(new Error("enough"));
  await assert.rejects(waiting, { message: "enough" });
  const forever = client.whenConnected(new AbortController().signal);
  const rejected = assert.rejects(forever, { name: "CairnError", code: "closed" });
  await client.close();
  await rejected;
});

Deno.test("close() ends an attempt that is under way, and one that was never started", async () => {
  using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const client = connect(`ws://127.0.0.1:${silent.addr.port}`);
  const connection = await silent.accept();
  await client.close();
  connection.close();
  await connect("ws://127.0.0.1:1", { started: false }).close();
});

Deno.test("a payload that no signaling server takes is refused at once", async () => {
  await using client = connect("ws://127.0.0.1:1", { started: false });
  assert.throws(() => client.relay("abc", new Uint8Array(65_536)), RangeError);
  client.relay("abc", new Uint8Array(65_000));
});

Deno.test("without a token where one is wanted, the sentence says to give one", async () => {
  await using signal = await start({ authTokens: ["right"] });
  await using client = connect(signal.url);
  const error = await client.failure;
  assert.equal(error.code, "refused");
  assert.equal(
    error.message,
    "The signaling server wants a token; give the one that it was started with",
  );
});

Deno.test("a server that says nothing any more is left for a new connection", async () => {
  const accepted: AcceptedWebSocket[] = [];
  const { promise: again, resolve } = Promise.withResolvers<void>();
  const asked: string[] = [];
  const listener = await listen({
    host: "127.0.0.1",
    port: 0,
    prepare: (server) =>
      void acceptWebSockets({
        server,
        limits: { maxFrameBytes: 1_024, maxBufferedBytes: 1_024 },
        handler: (_request, accept) =>
          accept((socket) => {
            socket.onText = (text) => void asked.push(text);
            if (accepted.push(socket) === 2) resolve();
          }, "cairn.signal.v1"),
      }),
  });
  const client = connect(`ws://127.0.0.1:${listener.address.port}`, { probeInterval: 5 });
  await again;
  assert.ok(asked.includes('{"type":"query","topic":""}'));
  await client.close();
  await listener.close();
});

Deno.test("a server of ours answers every look, also when it keeps no records", async () => {
  using time = new FakeTime();
  const deadline = AbortSignal.timeout(180_000);
  await using signal = await start({ limits: { recordTtl: 0 }, metricsAddr: "127.0.0.1:0" });
  await using client = connect(signal.url, { probeInterval: 1_000 });
  await client.whenConnected(new AbortController().signal);
  const lost: boolean[] = [];
  client.onStateChange = (connected) => lost.push(connected);
  for (let look = 0; look < 10; look++) {
    time.pass(1_000);
    // The server has answered when the first is handled; the client has read it by the second.
    for (let times = 0; times < 2; times++) {
      await within(deadline, signal.hasHandled(client), () => `a server at look ${look}: ${lost}`);
    }
  }
  const text = await (await fetch(signal.metricsUrl)).text();
  assert.ok(Number(/kind="query"\} (\d+)/.exec(text)?.[1]) >= 3, text);
  assert.deepEqual(lost, []);
});

Deno.test("hurry() cuts the pause between two attempts short", async () => {
  // In which no pause ends by itself.
  using _time = new FakeTime();
  const deadline = AbortSignal.timeout(180_000);
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await using client = connect(`ws://127.0.0.1:${listener.addr.port}`);
  (await within(deadline, listener.accept(), () => "the first attempt")).close();
  await within(deadline, client.failure, () => "its failure");
  client.hurry();
  (await within(deadline, listener.accept(), () => "the second attempt")).close();
});

/** What a subscription brings, in hex, one after the other. */
class Heard {
  readonly #payloads: Uint8Array[] = [];
  #wake = () => {};
  readonly listener = (payload: Uint8Array) => {
    this.#payloads.push(payload);
    this.#wake();
  };

  get isEmpty(): boolean {
    return this.#payloads.length === 0;
  }

  async next(): Promise<string> {
    for (;;) {
      const payload = this.#payloads.shift();
      if (payload) return toHex(payload);
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }
}

function relay(topic: string, ...payload: number[]): Uint8Array {
  return encodeSignalFrame({ kind: "Relay", topic, payload: Uint8Array.from(payload) });
}

async function nextPayload(client: ForeignClient): Promise<Uint8Array> {
  const frame = decodeSignalFrame(await client.next());
  assert.ok(frame.kind === "Relay");
  return frame.payload;
}

/** A SignalClient that always waits as briefly as it may, and tells of its first failure. */
function connect(
  url: string,
  options: Partial<SignalClientOptions> & { started?: boolean } = {},
) {
  let pausing = () => {};
  const firstPause = new Promise<void>((resolve) => pausing = resolve);
  const host = {
    ...systemHost,
    random: (length: number) => {
      pausing();
      return new Uint8Array(length);
    },
  };
  const client = new SignalClient({ url, host, ...options });
  if (options.started !== false) client.start();
  const failure = firstPause.then(() => {
    assert.ok(client.lastError);
    return client.lastError;
  });
  failure.catch(() => {});
  return Object.assign(client, {
    failure,
    [Symbol.asyncDispose]: () => client.close(),
  });
}

/** The URL of a server that has ended. */
async function goneUrl(): Promise<string> {
  const gone = await start();
  await gone[Symbol.asyncDispose]();
  return gone.url;
}

async function start(options: Partial<SignalOptions> = {}) {
  const signal = await startSignal({ listenAddr: "127.0.0.1:0", authTokens: [], ...options });
  const { port } = signal.address;
  const url = options.tls ? `wss://localhost:${port}` : `ws://127.0.0.1:${port}`;
  const foreigners: ForeignClient[] = [];
  const foreign = async () => {
    const client = await ForeignClient.open(url, {});
    foreigners.push(client);
    return client;
  };
  let witness: ForeignClient | undefined;
  return {
    port,
    url,
    metricsUrl: `http://127.0.0.1:${signal.metricsAddress?.port}/metrics`,
    foreign,
    /** Resolves when the server has handled all that `client` sent until now. */
    async hasHandled(client: SignalClient): Promise<void> {
      if (!witness) {
        witness = await foreign();
        await witness.subscribe(WITNESS);
      }
      client.relay(WITNESS, new Uint8Array(0));
      await witness.next();
    },
    async [Symbol.asyncDispose]() {
      for (const { socket } of foreigners) socket.close();
      await Promise.all(foreigners.map(({ closed }) => closed));
      await signal.close();
    },
  };
}
