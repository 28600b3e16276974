/* Signaling servers that a real nats-server joins. */

import assert from "node:assert/strict";
import { concatBytes, toHex, utf8 } from "../../../src/base/bytes.ts";
import { encodeBusMessage } from "../../../src/protocol/signal/bus_message.ts";
import { encodeSignalFrame } from "../../../src/protocol/signal/signal_frame.ts";
import { parseBusServers } from "../../../src/roles/signal/bus_access.ts";
import { connectNats } from "../../../src/roles/signal/nats_connection.ts";
import { collectedLog } from "../../support/collected_log.ts";
import type { ForeignClient } from "../../support/foreign_client.ts";
import {
  accessTo,
  joinedSignal,
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

Deno.test(
  `clients of two servers on one bus meet, and nothing comes twice or back${note}`,
  options,
  async () => {
    await using nats = await NatsServer.start();
    await using one = await joinedSignal(nats);
    await using other = await joinedSignal(nats);
    const [ann, bob] = [await one.client(), await one.client()];
    const [cid, dan] = [await other.client(), await other.client()];
    for (const client of [ann, bob, cid]) await client.subscribe("abc");
    await dan.subscribe("other");
    await nats.hasSubscriptions(3);
    ann.send(relayOf("abc", "1"));
    assert.equal(toHex(await bob.next()), toHex(relayOf("abc", "1")));
    assert.equal(toHex(await cid.next()), toHex(relayOf("abc", "1")));
    cid.send(relayOf("abc", "2"));
    for (const client of [ann, bob]) {
      assert.equal(toHex(await client.next()), toHex(relayOf("abc", "2")));
    }
    for (const client of [ann, bob, cid, dan]) await client.hasNothing();
  },
);

Deno.test(
  `a server subscribes on the bus to what its clients listen to, and to no more${note}`,
  options,
  async () => {
    await using nats = await NatsServer.start();
    await using signal = await joinedSignal(nats);
    const [ann, bob] = [await signal.client(), await signal.client()];
    for (const client of [ann, bob]) await client.subscribe("abc");
    await ann.subscribe("b");
    await nats.hasSubscriptions(2);
    assert.equal(await metricOf(signal, "bus_topics"), 2);
    ann.send(encodeSignalFrame({ kind: "Unsubscribe", topic: "b" }));
    await ann.settled();
    assert.equal(await metricOf(signal, "bus_topics"), 1);
    ann.socket.close();
    bob.socket.close();
    await untilMetric(signal, "bus_topics", 0);
    await nats.hasSubscriptions(0);
  },
);

Deno.test(
  `with the bus lost a server serves its own clients and says so; then it joins again${note}`,
  options,
  async () => {
    await using nats = await NatsServer.start();
    await using one = await joinedSignal(nats);
    await using other = await joinedSignal(nats);
    const [ann, bob, cid] = [await one.client(), await one.client(), await other.client()];
    for (const client of [bob, cid]) await client.subscribe("abc");
    await nats.hasSubscriptions(2);
    await met(ann, cid, "abc");
    await bob.next();
    await nats.kill();
    for (const signal of [one, other]) await untilMetric(signal, "bus_connected", 0);
    assert.deepEqual(await readiness(one.port), [503, "the bus is lost\n"]);
    ann.send(relayOf("abc", "local"));
    assert.equal(toHex(await bob.next()), toHex(relayOf("abc", "local")));
    await cid.hasNothing();
    await bob.subscribe("begun while it was lost");
    await nats.start();
    await nats.hasSubscriptions(3);
    ann.send(relayOf("abc", "again"));
    assert.equal(toHex(await cid.next()), toHex(relayOf("abc", "again")));
    await met(cid, bob, "begun while it was lost", relayOf("abc", "again"));
    assert.equal(await metricOf(other, "bus_gaps_total"), 1, "what was said while it was lost");
    assert.equal(await metricOf(one, 'bus_dropped_total{reason="bus lost"}'), 1);
  },
);

Deno.test(
  `a server starts where no bus is, and joins when it is there${note}`,
  options,
  async () => {
    await using nats = await NatsServer.start();
    await nats.kill();
    await using signal = await startedSignal({ ...MEASURED, bus: accessTo(nats) });
    const ann = await signal.client();
    await ann.subscribe("abc");
    assert.equal(await metricOf(signal, "bus_connected"), 0);
    await nats.start();
    await untilMetric(signal, "bus_connected", 1);
    await nats.hasSubscriptions(1);
  },
);

Deno.test(
  `a bus that hangs takes no more memory than is bounded, and no client waits${note}`,
  options,
  async () => {
    await using nats = await NatsServer.start();
    const limits = { messagesPerSecond: 100_000, bytesPerSecond: 2 ** 30 };
    await using signal = await joinedSignal(nats, limits);
    const [ann, bob] = [await signal.client(), await signal.client()];
    await bob.subscribe("abc");
    nats.signal("SIGSTOP");
    const frame = encodeSignalFrame({
      kind: "Relay",
      topic: "abc",
      payload: new Uint8Array(60_000),
    });
    for (let i = 0; i < 200; i++) {
      ann.send(frame);
      await bob.next();
    }
    const slow = await metricOf(signal, 'bus_dropped_total{reason="bus slow"}');
    const published = await metricOf(signal, "bus_published_total");
    assert.ok(slow > 0 && published * frame.length <= 8_388_608, `${published} sent, ${slow} not`);
    nats.signal("SIGCONT");
  },
);

Deno.test(`what is on the bus and none of ours reaches nobody${note}`, options, async () => {
  await using nats = await NatsServer.start();
  await using signal = await joinedSignal(nats);
  const ann = await signal.client();
  await ann.subscribe("abc");
  const stranger = await connectNats({ servers: `127.0.0.1:${nats.port}`, reconnect: false });
  let subject = "";
  const heard = Promise.withResolvers<void>();
  stranger.subscribe("cairn.>", {
    callback(_, message) {
      subject = message.subject;
      heard.resolve();
    },
  });
  await stranger.flush();
  const bob = await signal.client();
  bob.send(relayOf("abc", "1"));
  await heard.promise;
  await ann.next();
  const origin = utf8("a server");
  const good = encodeBusMessage(origin, 7, relayOf("abc", "good"));
  for (
    const bytes of [
      new Uint8Array(0),
      relayOf("abc", "no head"),
      encodeBusMessage(origin, 1, relayOf("another", "topic")),
      encodeBusMessage(origin, 2, encodeSignalFrame({ kind: "Subscribe", topic: "abc" })),
      concatBytes(good, Uint8Array.of(0)),
      encodeBusMessage(origin, 3, relayOf("abc", "x".repeat(70_000))),
      good,
      good,
    ]
  ) stranger.publish(subject, bytes);
  assert.equal(toHex(await ann.next()), toHex(relayOf("abc", "good")));
  await untilMetric(signal, 'bus_dropped_total{reason="repeated"}', 1);
  assert.equal(await metricOf(signal, 'bus_dropped_total{reason="malformed"}'), 6);
  await ann.hasNothing();
  await stranger.close();
});

Deno.test(
  `a bus lets in who has its password; of a wrong one the log tells nothing${note}`,
  options,
  async () => {
    await using nats = await NatsServer.start("--user", "canary-user", "--pass", "canary,pass");
    await using log = await collectedLog("trace");
    {
      const bus = accessTo(nats, "canary-user:canary%2Cpass@");
      await using _right = await startedSignal({ ...MEASURED, bus });
      await untilHolds(
        () => log.lines.some((line) => line.includes("Joined the bus")),
        () => "joining",
      );
      await using _wrong = await startedSignal({
        ...MEASURED,
        bus: accessTo(nats, "canary:canary@"),
      });
      const refused = () =>
        log.lines.some((line) => /The bus fails.*Authorization Violation/i.test(line));
      await untilHolds(refused, () => `being refused, in ${log.lines.join("\n")}`);
    }
    for (const line of log.lines) assert.doesNotMatch(line, /canary/, line);
  },
);

Deno.test("the addresses of a bus are read with what they say about who asks", () => {
  assert.deepEqual(parseBusServers("nats://a, nats://u%40x:p%3A@b:1234/"), {
    servers: ["a:4222", "b:1234"],
    isTls: false,
    login: { user: "u@x", password: "p:" },
  });
  assert.deepEqual(parseBusServers("tls://secret@[::1]"), {
    servers: ["[::1]:4222"],
    isTls: true,
    login: { token: "secret" },
  });
  for (
    const text of [
      "",
      "nats://",
      "a:4222",
      "ws://a",
      "nats://a,tls://b",
      "nats://a/x",
      "nats://%:a@b",
      "nats://:password@a",
      "nats://u:p@a,nats://:password@b",
    ]
  ) assert.equal(parseBusServers(text), undefined, text);
});

Deno.test("a file of credentials that is not there stops the start", async () => {
  await assert.rejects(
    startedSignal({ bus: { ...parseBusServers("nats://a")!, credentialsPath: "/nowhere.creds" } }),
    { code: "invalid-option", message: /\/nowhere\.creds \(ENOENT\)/ },
  );
});

/** Resolves when a relay of `sender` has reached `listener`, who may get `other` before. */
async function met(
  sender: ForeignClient,
  listener: ForeignClient,
  topic: string,
  other?: Uint8Array,
): Promise<void> {
  sender.send(relayOf(topic, "met"));
  let frame = toHex(await listener.next());
  if (other && frame === toHex(other)) frame = toHex(await listener.next());
  assert.equal(frame, toHex(relayOf(topic, "met")));
}
