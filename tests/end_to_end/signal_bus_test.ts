/* Two processes of `cairn signal` that a real nats-server joins, over TLS and with a password. */

import assert from "node:assert/strict";
import { fromUtf8, utf8 } from "../../src/base/bytes.ts";
import { decodeSignalFrame, encodeSignalFrame } from "../../src/protocol/signal/signal_frame.ts";
import { within } from "../support/deadline.ts";
import { ForeignClient } from "../support/foreign_client.ts";
import { NatsServer } from "../support/nats_server.ts";
import { CairnProcess } from "../support/processes.ts";
import { hasOpenssl, makeSelfSigned } from "../support/self_signed.ts";

const isThere = NatsServer.isInstalled() && hasOpenssl;
const note = isThere ? "" : " (SKIPPED: nats-server or openssl is not installed)";
const TOPICS = 10_000;
/** Within what a connection may do at once. */
const TOPICS_PER_CLIENT = 500;
/** What waits for a reader may not be more. */
const AT_ONCE = 100;

Deno.test(
  `two processes on one bus: on ${TOPICS} topics every message comes once; one is killed, its clients move${note}`,
  { ignore: !isThere },
  async () => {
    await using certificate = await makeSelfSigned();
    const { certPath, keyPath } = certificate;
    const deadline = AbortSignal.timeout(300_000);
    const logins = ["--user", "signal", "--pass", "bus-password"];
    const tls = ["--tls", "--tlscert", certPath, "--tlskey", keyPath];
    await using nats = await NatsServer.start(...logins, ...tls);
    const env = {
      CAIRN_SIGNAL_LISTEN_ADDR: "127.0.0.1:0",
      CAIRN_SIGNAL_BUS: `tls://signal:bus-password@localhost:${nats.port}`,
      CAIRN_LOG_FORMAT: "json",
      DENO_CERT: certPath,
    };
    await using one = new CairnProcess(["signal"], { deadline, env });
    // Its threads meet without the bus, and must not hear the same over it once more.
    await using other = new CairnProcess(["signal", "--workers", "2"], { deadline, env });
    const ports = [await joined(one, 1), await joined(other, 2)] as const;
    const clients: ForeignClient[] = [];
    const open = async (port: number) => {
      const client = await ForeignClient.open(`ws://127.0.0.1:${port}`, {});
      clients.push(client);
      return client;
    };
    try {
      const groups = await Promise.all(
        Array.from({ length: TOPICS / TOPICS_PER_CLIENT }, async (_, group) => {
          const topics = Array.from(
            { length: TOPICS_PER_CLIENT },
            (_, i) => `topic ${group * TOPICS_PER_CLIENT + i}`,
          );
          const home = ports[group % 2]!;
          const listener = await open(home);
          await listen(listener, topics);
          return { topics, home, listener, sender: await open(ports[(group + 1) % 2]!) };
        }),
      );
      await nats.hasSubscriptions(TOPICS);
      const heard = Promise.all(groups.flatMap(({ listener, sender, topics }) => [
        say(sender, topics, "first"),
        hears(listener, topics, "first"),
      ]));
      await within(deadline, heard, () => "what was said on each topic");
      for (const { listener } of groups) await listener.hasNothing();

      await one.kill();
      const moved = groups.filter(({ home }) => home === ports[0]);
      for (const group of moved) {
        await within(deadline, group.listener.closed, () => "the end of a client's connection");
        group.listener = await open(ports[1]);
        await listen(group.listener, group.topics);
        await say(group.sender, group.topics, "second");
        await within(deadline, hears(group.listener, group.topics, "second"), () => "going on");
      }
    } finally {
      for (const { socket } of clients) socket.terminate();
      await Promise.all(clients.map(({ closed }) => closed));
    }
    assert.equal(await other.end(), 0);
    for (const line of [...one.log.all, ...other.log.all]) {
      assert.doesNotMatch(line, /bus-password/);
    }
  },
);

/** The port of a process that listens and of which all threads have joined the bus. */
async function joined({ log }: CairnProcess, threads: number): Promise<number> {
  let port: number | undefined;
  let count = 0;
  for await (const line of log) {
    if (line.includes("Signaling server listens")) port = Number(/"port":(\d+)/.exec(line)?.[1]);
    if (line.includes("Joined the bus")) count++;
    if (count === threads && port !== undefined) return port;
  }
  throw new Error(`It ended:\n${log.all.join("\n")}`);
}

async function listen(client: ForeignClient, topics: readonly string[]): Promise<void> {
  for (const topic of topics) client.send(encodeSignalFrame({ kind: "Subscribe", topic }));
  await client.settled();
}

async function say(client: ForeignClient, topics: readonly string[], text: string): Promise<void> {
  const payload = utf8(text);
  for (let start = 0; start < topics.length; start += AT_ONCE) {
    for (const topic of topics.slice(start, start + AT_ONCE)) {
      client.send(encodeSignalFrame({ kind: "Relay", topic, payload }));
    }
    await client.settled();
  }
}

/** Each topic once, in any order. */
async function hears(
  client: ForeignClient,
  topics: readonly string[],
  text: string,
): Promise<void> {
  const missing = new Set(topics);
  while (missing.size > 0) {
    const frame = decodeSignalFrame(await client.next());
    assert.ok(frame.kind === "Relay" && fromUtf8(frame.payload) === text);
    assert.ok(missing.delete(frame.topic), `${frame.topic} came twice`);
  }
}
