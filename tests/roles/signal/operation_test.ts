/* What an operator sees of a signaling server: pages, metrics, its end, and its log. */

import assert from "node:assert/strict";
import { fromHex } from "../../../src/base/bytes.ts";
import { drain } from "../../../src/roles/signal/drain.ts";
import { collectedLog } from "../../support/collected_log.ts";
import { FakeTime } from "../../support/fake_time.ts";
import { RawWebSocket } from "../../support/raw_web_socket.ts";
import { startedSignal } from "../../support/started_signal.ts";

const RELAY_ABC = fromHex("a16552656c6179a265746f70696363616263677061796c6f6164420102");
const METRICS = { metricsAddr: "127.0.0.1:0" };

Deno.test("metrics are on their own address only, in Prometheus's format", async () => {
  await using signal = await startedSignal({ ...METRICS, authTokens: ["secret"] });
  assert.deepEqual(await page(signal.port, "/metrics"), [401, ""]);
  const response = await fetch(`http://127.0.0.1:${signal.metricsPort}/metrics`);
  assert.equal(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  const text = await response.text();
  for (const line of text.trimEnd().split("\n")) {
    assert.match(
      line,
      /^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{(version="[\d.]+"|[a-z]+="[A-Za-z ]+")\})? -?[\d.e+-]+)$/,
    );
  }
  assert.deepEqual(await page(signal.metricsPort, "/other"), [404, "Not found\n"]);
  assert.deepEqual(await page(signal.metricsPort, "/readyz"), [200, "ok\n"]);
});

Deno.test("everything that is let in, passed on, dropped or refused is counted by its reason", async () => {
  const limits = { connectionsPerTopic: 1, topicsPerConnection: 2, connectionsPerAddress: 4 };
  await using signal = await startedSignal({ ...METRICS, authTokens: ["secret"], limits });
  const bearer = { headers: { authorization: "Bearer secret" } };
  const [ann, bob, cid, dan] = [
    await signal.client(bearer),
    await signal.client(bearer),
    await signal.client(bearer),
    await signal.client(bearer),
  ];
  await assert.rejects(signal.client());
  await assert.rejects(signal.client(bearer));
  await (await signal.page()).closed;
  await bob.subscribe("abc");
  await cid.subscribe("abc");
  await cid.subscribe("b");
  await cid.subscribe("c");
  await cid.subscribe("d");
  ann.send(RELAY_ABC);
  await bob.next();
  ann.send(fromHex("ff"));
  await ann.ask("{");
  await ann.ask('{"type":"query","topic":"abc"}');
  dan.send(new Uint8Array(70_000));
  await dan.closed;
  const text = (await page(signal.metricsPort, "/metrics"))[1];
  const expected = {
    "cairn_signal_accepted_total": 4,
    'cairn_signal_refused_total{reason="token"}': 2,
    'cairn_signal_refused_total{reason="address connections"}': 1,
    'cairn_signal_messages_total{kind="Subscribe"}': 5,
    'cairn_signal_messages_total{kind="Relay"}': 1,
    'cairn_signal_messages_total{kind="query"}': 1,
    "cairn_signal_deliveries_total": 1,
    'cairn_signal_dropped_total{reason="topic full"}': 1,
    'cairn_signal_dropped_total{reason="too many topics"}': 1,
    'cairn_signal_dropped_total{reason="malformed"}': 1,
    'cairn_signal_dropped_total{reason="malformed JSON"}': 1,
    'cairn_signal_ended_total{reason="too large"}': 1,
    "cairn_signal_topics": 3,
    "cairn_signal_records": 1,
  };
  for (const [name, value] of Object.entries(expected)) {
    assert.ok(text.includes(`\n${name} ${value}\n`), `${name} ${value} in\n${text}`);
  }
});

Deno.test("an ending server is not ready, lets nobody in, and closes with 1012, spread out", async () => {
  using time = new FakeTime();
  await using signal = await startedSignal({ ...METRICS, drainTime: 100_000 });
  const clients = await Promise.all(Array.from({ length: 12 }, () => signal.client()));
  assert.deepEqual(await page(signal.port, "/readyz"), [200, "ok\n"]);
  const ended = signal.close();
  const first = await Promise.race(clients.map(({ closed }) => closed));
  assert.deepEqual(first, { code: 1012, reason: "the server restarts" });
  assert.ok(clients.some(({ socket }) => socket.readyState === socket.OPEN));
  assert.deepEqual(await page(signal.port, "/readyz"), [503, "draining\n"]);
  assert.deepEqual(await page(signal.port, "/healthz"), [200, "ok\n"]);
  using refused = await RawWebSocket.open(signal.port);
  assert.match(refused.response, /^HTTP\/1\.1 503 Service Unavailable\r\nretry-after: 5\r\n/);
  for (let step = 0; step < 10; step++) await time.elapse(50);
  await ended;
  for (const { closed } of clients) assert.equal((await closed).code, 1012);
  await assert.rejects(page(signal.port, "/healthz"));
});

Deno.test("drain() closes each socket once, a few at a time", async () => {
  const closed: number[] = [];
  const sockets = Array.from({ length: 23 }, (_, i) => ({
    close(code: number) {
      assert.equal(code, 1012);
      closed.push(i);
    },
  }));
  const done = drain(sockets, 100_000);
  assert.ok(closed.length > 0 && closed.length < 10, `${closed.length} at once`);
  await done;
  assert.deepEqual(closed, sockets.map((_, i) => i));
  closed.length = 0;
  const atOnce = drain(sockets, 0);
  assert.equal(closed.length, 23);
  await atOnce;
  await drain([], 5_000);
});

Deno.test("no topic, address, token or payload comes into the log, not even at its most detailed", async () => {
  await using log = await collectedLog("trace");
  {
    await using signal = await startedSignal({
      authTokens: ["canary-token"],
      trustedProxies: ["127.0.0.1"],
      limits: { errorBudget: 3, connectionsPerAddress: 1 },
      drainTime: 0,
    });
    const headers = { authorization: "Bearer canary-token", "x-forwarded-for": "198.51.100.77" };
    const ann = await signal.client({ headers });
    await ann.subscribe("canary-topic");
    await ann.ask('{"type":"announce","topic":"canary-topic","addresses":["canary-address"]}');
    await ann.ask('{"type":"query","topic":"canary-topic"}');
    await assert.rejects(signal.client({ headers }));
    await assert.rejects(signal.client({ headers: { authorization: "Bearer canary-wrong" } }));
    await (await signal.page("https://canary-origin", "cairn.bearer.Y2FuYXJ5")).closed;
    for (let i = 0; i < 3; i++) ann.socket.send('{"type":"canary-type"');
    await ann.closed;
  }
  assert.ok(log.lines.some((line) => line.includes("Refused a connection")), "the log was read");
  for (const line of log.lines) {
    assert.doesNotMatch(line, /canary|Y2FuYXJ5|198\.51\.100\.77|127\.0\.0\.1/, line);
  }
});

async function page(port: number, path: string): Promise<[status: number, body: string]> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`);
  return [response.status, await response.text()];
}
