/* JSON clients of a signaling server whose other threads take their time. */

import assert from "node:assert/strict";
import { systemHost } from "../../../src/base/host.ts";
import { MetricsRegistry } from "../../../src/roles/metrics.ts";
import { OwnConnections, OwnCounts } from "../../../src/roles/signal/address_counts.ts";
import { startSignal } from "../../../src/roles/signal/run_signal.ts";
import { meshMemory, WorkerMesh } from "../../../src/roles/signal/worker_mesh.ts";
import { FakeTime } from "../../support/fake_time.ts";
import { ForeignClient } from "../../support/foreign_client.ts";

const QUERY = '{"type":"query","topic":"abc"}';
const LARGE = JSON.stringify({ type: "query", topic: "x".repeat(60_000) });

Deno.test("what a client sends behind a query may not be more than waits for a slow reader", async () => {
  await using scene = await Scene.start();
  const { client } = scene;
  client.socket.send(QUERY);
  client.socket.send(LARGE);
  await client.settled();
  for (let i = 0; i < 3; i++) client.socket.send(LARGE);
  assert.equal((await client.closed).code, 4429);
});

Deno.test("a thread that does not answer is waited for a second; then all come in their order", async () => {
  await using scene = await Scene.start();
  const { client, time } = scene;
  for (const topic of ["one", "two"]) client.socket.send(QUERY.replace("abc", topic));
  client.socket.send('{"type":"announce","topic":"three","peer_id":"x","addresses":["a"]}');
  await client.settled();
  for (const expected of [/one/, /two/, /three/]) {
    await time.elapse(1_000);
    assert.match(await client.nextText(), expected);
  }
});

Deno.test("where no records are kept nobody is asked for them", async () => {
  await using scene = await Scene.start({ recordTtl: 0 });
  // The clock stands still: an answer of the other thread would be waited for in vain.
  assert.match(await scene.client.ask(QUERY), /abc/);
});

/** One of two threads, of which the other never says anything, and a client of it. */
class Scene implements AsyncDisposable {
  private constructor(
    readonly time: FakeTime,
    readonly client: ForeignClient,
    private readonly end: () => Promise<void>,
  ) {}

  static async start(limits: { recordTtl?: number } = {}): Promise<Scene> {
    const { port1, port2 } = new MessageChannel();
    const mesh = new WorkerMesh({
      memory: meshMemory(2),
      self: 0,
      ports: new Map([[1, port1]]),
      seed: 1,
      onDropped: () => {},
    });
    const time = new FakeTime();
    const signal = await startSignal(
      { listenAddr: "127.0.0.1:0", authTokens: [], drainTime: 0, limits },
      systemHost,
      {
        counts: new OwnCounts(1_000, () => 0),
        sockets: new OwnConnections(),
        mesh,
        bus: { server: new Uint8Array(7), number: 0 },
        standing: undefined,
        registry: new MetricsRegistry(),
      },
    );
    const client = await ForeignClient.open(`ws://127.0.0.1:${signal.address.port}`, {});
    return new Scene(time, client, async () => {
      client.socket.close();
      await client.closed;
      await signal.close();
      mesh.close();
      port2.close();
      time[Symbol.dispose]();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }
}
