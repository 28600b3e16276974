/* How a signaling server stands with its bus, and whom it tells. */

import assert from "node:assert/strict";
import { systemHost } from "../../../src/base/host.ts";
import { BusStanding } from "../../../src/roles/signal/bus_standing.ts";
import { NatsBus } from "../../../src/roles/signal/nats_bus.ts";
import { startSignalWorkers } from "../../../src/roles/signal/signal_workers.ts";
import { MetricsRegistry } from "../../../src/roles/metrics.ts";
import { collectedLog } from "../../support/collected_log.ts";
import { FakeTime } from "../../support/fake_time.ts";
import {
  accessTo,
  MEASURED,
  metricOf,
  readiness,
  relayOf,
  untilMetric,
} from "../../support/joined_signal.ts";
import { NatsServer } from "../../support/nats_server.ts";
import { untilHolds } from "../../support/rested.ts";
import { startedSignal } from "../../support/started_signal.ts";

const { note, options } = NatsServer.forTests();
const MANY = 2_000;

Deno.test("one thread that has lost the bus is enough for the server to say so", () => {
  const memory = BusStanding.memory(2);
  const [one, other] = [new BusStanding(memory, 0), new BusStanding(memory, 1)];
  assert.equal(one.unreadiness, "the bus is lost");
  one.own = other.own = "joined";
  assert.equal(one.unreadiness, undefined);
  other.own = "refusing";
  assert.equal(one.unreadiness, "the bus refuses");
  assert.equal(one.own, "joined");
  one.own = "lost";
  assert.equal(other.unreadiness, "the bus is lost");
});

Deno.test(
  `threads of one server are ready together, on the address of the metrics too${note}`,
  options,
  async () => {
    await using nats = await NatsServer.start();
    const signal = await startSignalWorkers({
      ...MEASURED,
      listenAddr: "127.0.0.1:0",
      authTokens: [],
      bus: accessTo(nats),
    }, 2);
    try {
      const ports = [signal.address.port, signal.metricsAddress!.port];
      const isReady = async (status: number) => {
        for (const port of ports) if ((await readiness(port))[0] !== status) return false;
        return true;
      };
      await untilHolds(() => isReady(200), () => "both threads have joined");
      await nats.kill();
      await untilHolds(() => isReady(503), () => "the bus is lost");
      for (const port of ports) assert.equal((await readiness(port))[1], "the bus is lost\n");
      await nats.start();
      await untilHolds(() => isReady(200), () => "both threads have joined again");
    } finally {
      await signal.close();
    }
  },
);

for (
  const { what, config, reason } of [
    {
      what: "gives no right to",
      config: "authorization { users = [{ user: a, password: b, permissions: " +
        '{ publish: "other", subscribe: "other" } }] }',
      reason: /its account has not the right to (publish|subscribe) on cairn\.signal\.1\.\*/,
    },
    { what: "has no room for", config: "max_subscriptions: 1", reason: /maximum subscriptions/i },
  ]
) {
  Deno.test(
    `a bus that ${what} what clients want makes a server unready, and the log says why, once${note}`,
    options,
    async () => {
      await using nats = await NatsServer.startWith(config);
      await using log = await collectedLog("info");
      {
        await using signal = await startedSignal({ ...MEASURED, bus: accessTo(nats, "a:b@") });
        await untilMetric(signal, "bus_connected", 1);
        const [ann, bob] = [await signal.client(), await signal.client()];
        const topics = ["one", "two", "three", "four", "five"];
        for (const topic of topics) {
          await ann.subscribe(topic);
          bob.send(relayOf(topic, "first"));
          await ann.next();
        }
        await untilHolds(
          async () => await metricOf(signal, "bus_refused_total") >= topics.length - 1,
          () => "each is refused",
        );
        assert.deepEqual(await readiness(signal.port), [503, "the bus refuses\n"]);
        bob.send(relayOf("one", "still"));
        assert.deepEqual(await ann.next(), relayOf("one", "still"));
      }
      const told = log.lines.filter((line) => line.includes("The bus refuses"));
      assert.ok(told.length <= 2, `once for each reason: ${told.join("\n")}`);
      assert.match(told[0] ?? "", reason);
    },
  );
}

Deno.test(
  `what the bus refused is asked for again after a while, and may be had then${note}`,
  options,
  async () => {
    await using nats = await NatsServer.startWith("max_subscriptions: 2");
    const { bus, standing } = newBus(nats, { refusedRest: 50 });
    await using _ends = bus;
    bus.start(() => {});
    for (const topic of ["one", "two", "three"]) bus.join(topic);
    await untilHolds(() => standing.own === "refusing", () => "three are refused");
    bus.leave("two");
    await untilHolds(() => standing.own === "joined", () => "two are not");
    await nats.hasSubscriptions(2);
  },
);

Deno.test(
  `a server that joins the bus asks for its topics some at a time, and is ready when it has all${note}`,
  options,
  async () => {
    await using nats = await NatsServer.start();
    const { bus, standing } = newBus(nats);
    await using _ends = bus;
    for (let i = 0; i < MANY; i++) bus.join(`topic ${i}`);
    bus.start(() => {});
    const seen = new Set<number>();
    await untilHolds(() => {
      // What a client does while topics are asked for.
      if (seen.size === 3) bus.leave("topic 1999");
      seen.add(seen.size);
      return standing.own === "joined";
    }, () => "all are asked for");
    await nats.hasSubscriptions(seen.size > 3 ? MANY - 1 : MANY);
  },
);

Deno.test("a server ends at once while it waits for a bus that says nothing", async () => {
  using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  // No time passes: a bus that is given time would be waited for until the test is.
  using time = new FakeTime();
  const { bus } = newBus({ port: silent.addr.port }, { host: time });
  bus.start(() => {});
  using connection = await silent.accept();
  let hasEnded = false;
  void bus[Symbol.asyncDispose]().then(() => hasEnded = true);
  await untilHolds(() => hasEnded, () => "it ends");
  assert.equal(await connection.read(new Uint8Array(1)), null);
});

function newBus(
  place: { readonly port: number },
  options: Partial<ConstructorParameters<typeof NatsBus>[0]> = {},
) {
  const standing = new BusStanding(BusStanding.memory(1));
  const bus = new NatsBus({
    access: accessTo(place),
    maxFrameBytes: 65_536,
    host: systemHost,
    registry: new MetricsRegistry(),
    standing,
    ...options,
  });
  return { bus, standing };
}
