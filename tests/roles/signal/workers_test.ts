/* A signaling server of several threads: its clients cannot tell it from one of a single thread. */

import assert from "node:assert/strict";
import { toHex, utf8 } from "../../../src/base/bytes.ts";
import { systemHost } from "../../../src/base/host.ts";
import { encodeSignalFrame } from "../../../src/protocol/signal/signal_frame.ts";
import { mergeMetrics } from "../../../src/roles/merged_metrics.ts";
import type { SignalOptions } from "../../../src/roles/signal/signal_options.ts";
import { startSignalWorkers } from "../../../src/roles/signal/signal_workers.ts";
import { FakeTime } from "../../support/fake_time.ts";
import { ForeignClient } from "../../support/foreign_client.ts";
import { untilHolds } from "../../support/rested.ts";

/** Enough that all of them on one of two threads would be a wonder. */
const MANY = 24;

Deno.test("clients of one topic meet on whichever threads they are, each message once", async () => {
  await using signal = await threads();
  const clients = await signal.clients(MANY);
  await Promise.all(clients.map((client) => client.subscribe("abc")));
  for (const [number, sender] of clients.entries()) {
    const frame = relay("abc", String(number));
    sender.send(frame);
    for (const client of clients) {
      if (client !== sender) assert.equal(toHex(await client.next()), toHex(frame));
    }
  }
  for (const client of clients) await client.hasNothing();
});

Deno.test("what a client sends comes in order, and no more once it is unsubscribed", async () => {
  await using signal = await threads();
  const [sender, ...listeners] = await signal.clients(MANY);
  for (const client of listeners) await client.subscribe("abc");
  for (let i = 0; i < 100; i++) sender!.send(relay("abc", String(i)));
  for (const client of listeners) {
    for (let i = 0; i < 100; i++) {
      assert.equal(toHex(await client.next()), toHex(relay("abc", String(i))));
    }
    client.send(encodeSignalFrame({ kind: "Unsubscribe", topic: "abc" }));
    await client.settled();
  }
  sender!.send(relay("abc", "nobody"));
  await sender!.settled();
  for (const client of listeners) await client.hasNothing();
});

Deno.test("JSON clients find what was kept on another thread, and are answered in order", async () => {
  await using signal = await threads();
  const clients = await signal.clients(MANY);
  const payload = utf8("newest").toBase64();
  for (const [number, client] of clients.entries()) {
    const announcement = {
      type: "announce",
      topic: "abc",
      "peer_id": "ann",
      addresses: [`${number}`],
    };
    await client.ask(JSON.stringify(announcement));
    client.socket.send(JSON.stringify({ type: "publish", topic: "abc", payload }));
    await client.settled();
  }
  for (const client of clients) {
    // A thread that takes longer than a second to answer is not waited for.
    await untilHolds(async () => {
      const found = JSON.parse(await client.ask('{"type":"query","topic":"abc"}'));
      const peers = found.peers?.map((peer: Record<string, string>) => peer["peer_id"]);
      return found.payload === payload && String(peers) === "ann";
    }, () => "what was kept");
    client.socket.send('{"type":"query","topic":"abc"}');
    client.socket.send('{"type":"announce","topic":"other","peer_id":"x","addresses":["a"]}');
    client.socket.send('{"type":"query","topic":"nothing"}');
    for (const topic of [/abc/, /other/, /nothing/]) assert.match(await client.nextText(), topic);
  }
});

Deno.test("the limits of an address and of all hold over all threads", async () => {
  await using few = await threads({ limits: { connectionsPerAddress: 5 } });
  await few.clients(5);
  for (let i = 0; i < 6; i++) await assert.rejects(few.clients(1), /429/);
  await using full = await threads({ limits: { maxConnections: 5 } });
  await full.clients(5);
  for (let i = 0; i < 6; i++) await assert.rejects(full.clients(1), /503/);
  // The next one may come after half a minute.
  await using fast = await threads({ limits: { connectionsPerMinute: 2 } });
  await fast.clients(2);
  for (let i = 0; i < 6; i++) await assert.rejects(fast.clients(1), /429/);
});

Deno.test("an address that only opens connections is stopped over all threads", async () => {
  // Nobody else ends them.
  const limits = { connectionsPerAddress: 1, handshakeTimeout: 600_000 };
  await using signal = await threads({ limits });
  const most = 2 * limits.connectionsPerAddress + 16;
  const more = 12;
  const open: Deno.TcpConn[] = [];
  const ends: Promise<unknown>[] = [];
  let refused = 0;
  for (let i = 0; i < most + more; i++) {
    const connection = await Deno.connect({ hostname: "127.0.0.1", port: signal.port });
    open.push(connection);
    ends.push(connection.read(new Uint8Array(1)).catch(() => {}).finally(() => refused++));
  }
  // One more than allowed may be let in by each thread in the same moment.
  await untilHolds(() => refused >= more - 2, () => `${refused} of ${more} are refused`);
  for (const connection of open) connection.close();
  await Promise.all(ends);
});

Deno.test("metrics are those of all threads together", async () => {
  await using signal = await threads({ metricsAddr: "127.0.0.1:0" });
  const clients = await signal.clients(MANY);
  for (const client of clients) await client.subscribe("abc");
  let text = "";
  // A thread that takes longer than two seconds is counted as it was before.
  await untilHolds(async () => {
    text = await signal.metrics();
    return text.includes(`\ncairn_signal_connections ${MANY}\n`);
  }, () => `all connections in ${text}`);
  assert.match(text, new RegExp(`\ncairn_signal_messages_total\\{kind="Subscribe"\\} ${MANY}\n`));
  for (const name of text.matchAll(/^# TYPE (\S+)/gm)) {
    assert.equal(text.split(`# TYPE ${name[1]} `).length, 2, `${name[1]} is there once`);
  }
});

Deno.test("an ending server says goodbye on all threads", async () => {
  await using signal = await threads();
  const clients = await signal.clients(MANY);
  await signal.close();
  for (const { closed } of clients) assert.equal((await closed).code, 1012);
  await assert.rejects(signal.clients(1));
});

Deno.test("what stops one thread stops the start, in the same words", async () => {
  await assert.rejects(startSignalWorkers({ ...OPTIONS, authTokens: [""] }, 2), {
    code: "invalid-option",
  });
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const listenAddr = `127.0.0.1:${taken.addr.port}`;
  await assert.rejects(startSignalWorkers({ ...OPTIONS, listenAddr }, 2), {
    code: "address-in-use",
  });
  await assert.rejects(startSignalWorkers({ ...OPTIONS, listenFd: 3 }, 2), /--workers/);
});

Deno.test("threads of two servers do not share a port: their clients would not meet", async () => {
  await using signal = await threads();
  const listenAddr = `127.0.0.1:${signal.port}`;
  await assert.rejects(startSignalWorkers({ ...OPTIONS, listenAddr }, 2), {
    code: "address-in-use",
    message: /CAIRN_SIGNAL_LISTEN_ADDR/,
  });
  const [ann, bob] = await signal.clients(2);
  await bob!.subscribe("abc");
  ann!.send(relay("abc", "undisturbed"));
  assert.equal(toHex(await bob!.next()), toHex(relay("abc", "undisturbed")));
});

Deno.test("a thread that fails is an error of the whole process, which ends by it", async () => {
  using time = new FakeTime();
  const failed = Promise.withResolvers<string>();
  const hear = (event: ErrorEvent) => {
    event.preventDefault();
    failed.resolve(event.message);
  };
  addEventListener("error", hear);
  const failing = started('setTimeout(() => { throw new Error("it broke"); });');
  const signal = await startSignalWorkers(OPTIONS, 1, systemHost, failing);
  try {
    assert.match(await failed.promise, /A thread failed: .*it broke/);
  } finally {
    removeEventListener("error", hear);
    let hasEnded = false;
    void signal.close().then(() => hasEnded = true);
    await untilHolds(() => hasEnded, () => "the end", () => time.elapse(1_000));
  }
});

Deno.test("a thread that says nothing holds up neither the metrics nor the end", async () => {
  using time = new FakeTime();
  const signal = await startSignalWorkers(
    { ...OPTIONS, metricsAddr: "127.0.0.1:0" },
    2,
    systemHost,
    started(""),
  );
  let page: string | undefined;
  void fetch(`http://127.0.0.1:${signal.metricsAddress?.port}/metrics`)
    .then((response) => response.text()).then((text) => page = text);
  const goesOn = () => time.elapse(1_000);
  await untilHolds(() => page !== undefined, () => "metrics", goesOn);
  assert.match(page ?? "", /\ncairn_signal_build_info/);
  let hasEnded = false;
  void signal.close().then(() => hasEnded = true);
  await untilHolds(() => hasEnded, () => "the end", goesOn);
});

Deno.test("merged metrics are sums, but for times and states", () => {
  const page = (connections: number, lag: number, end: number) =>
    `# TYPE c gauge\nc ${connections}\n# TYPE a_lag_seconds gauge\na_lag_seconds ${lag}\n` +
    `# TYPE b_timestamp_seconds gauge\nb_timestamp_seconds ${end}\n# TYPE d counter\nd{x="1 2"} 3\n`;
  assert.equal(
    mergeMetrics([page(1, 5, 70), page(2, 4, 60)]),
    page(3, 5, 60).replace('d{x="1 2"} 3', 'd{x="1 2"} 6'),
  );
});

const OPTIONS: SignalOptions = { listenAddr: "127.0.0.1:0", authTokens: [], drainTime: 0 };

/** Makes threads that say that they have started, then do as `then` says, and never anything else. */
function started(then: string): () => Worker {
  const address = '{ host: "127.0.0.1", port: 1 }';
  const code = `onmessage = ({ data: { control } }) => control.onmessage = ({ data }) => {
    control.onmessage = null;
    control.postMessage({ kind: "answer", id: data.id, answer: ${address} });
    ${then}
  };`;
  return () => new Worker(`data:text/javascript,${encodeURIComponent(code)}`, { type: "module" });
}

async function threads(options: Partial<SignalOptions> = {}) {
  const signal = await startSignalWorkers({ ...OPTIONS, ...options }, 2);
  const opened: ForeignClient[] = [];
  return {
    port: signal.address.port,
    close: () => signal.close(),
    async clients(count: number): Promise<ForeignClient[]> {
      const clients = await Promise.all(
        Array.from(
          { length: count },
          () => ForeignClient.open(`ws://127.0.0.1:${signal.address.port}`, {}),
        ),
      );
      opened.push(...clients);
      // The threads count them when they have answered the handshake.
      await Promise.all(clients.map((client) => client.settled()));
      return clients;
    },
    async metrics(): Promise<string> {
      return await (await fetch(`http://127.0.0.1:${signal.metricsAddress?.port}/metrics`)).text();
    },
    async [Symbol.asyncDispose]() {
      for (const { socket } of opened) socket.close();
      await Promise.all(opened.map(({ closed }) => closed));
      await signal.close();
    },
  };
}

function relay(topic: string, text: string): Uint8Array {
  return encodeSignalFrame({ kind: "Relay", topic, payload: utf8(text) });
}
