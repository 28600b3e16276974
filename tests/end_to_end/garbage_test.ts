/** Garbage on every listening port, while those who behave go on undisturbed. */

import { equal, ok } from "node:assert/strict";
import { concatBytes, toHex, utf8 } from "../../src/base/bytes.ts";
import { PeerId } from "../../src/protocol/crypto/peer_id.ts";
import { contactTopic } from "../../src/protocol/rendezvous/topics.ts";
import { encodeSignalFrame } from "../../src/protocol/signal/signal_frame.ts";
import { within } from "../support/deadline.ts";
import { ForeignClient } from "../support/foreign_client.ts";
import {
  brokenCbor,
  brokenHttp,
  brokenWebSocketFrames,
  upgradeRequest,
} from "../support/garbage.ts";
import { LOOPBACK, SECRETS } from "./bad_input_scene.ts";
import { siegeTest } from "./besieged_home.ts";
import { HostileLink } from "./hostile_link.ts";

const POLICY_VIOLATION = 1008;
const SILENT = 500;
/** Messages of 60,000 bytes: more than systems keep for somebody who does not read. */
const FLOOD = 300;

siegeTest("Garbage on the signaling port disturbs nobody", async (siege) => {
  const { garbage, signalPort, deadline } = siege;
  for (const bytes of brokenHttp(garbage, "/")) await pour(signalPort, [bytes], deadline);
  for (const bytes of brokenWebSocketFrames(garbage)) {
    for (const token of [SECRETS.signalToken, "another token"]) {
      await pour(signalPort, [utf8(upgradeRequest("/", token)), bytes], deadline);
    }
  }
});

siegeTest(
  "Senseless signal frames end their connection after a while and disturb nobody",
  async (siege) => {
    const { garbage, signalUrl, server, deadline } = siege;
    const open = () =>
      ForeignClient.open(signalUrl, {
        headers: { authorization: `Bearer ${SECRETS.signalToken}` },
      });
    const topic = toHex(garbage.bytes(32));
    const relay = encodeSignalFrame({ kind: "Relay", topic, payload: garbage.bytes(200) });
    const subscribe = encodeSignalFrame({ kind: "Subscribe", topic });
    for (let round = 0; round < 10; round++) {
      const client = await open();
      const broken = [
        ...brokenCbor(garbage),
        ...Array.from({ length: 40 }, () => garbage.mangled(garbage.one([relay, subscribe]))),
      ];
      for (const frame of broken) client.send(frame);
      const { code } = await within(deadline, client.closed, () => "the end of a senseless client");
      equal(code, POLICY_VIOLATION);
    }

    // More topics than one may have, on the way to the server's contact topic, where strangers meet.
    const client = await open();
    const contact = contactTopic(PeerId.from(server.id));
    const attempts = Array.from({ length: 100 }, () => garbage.bytes(16));
    await client.subscribe(contact);
    for (const attempt of [...attempts, ...attempts]) {
      const noise = garbage.bytes(garbage.one([0, 1, 31, 32, 33, 96, 16_384, 20_000]));
      const payload = concatBytes(attempt, Uint8Array.of(garbage.below(5)), noise);
      client.send(encodeSignalFrame({ kind: "Relay", topic: contact, payload }));
      client.send(encodeSignalFrame({ kind: "Relay", topic: contact, payload: garbage.bytes(9) }));
    }
    await client.settled();
    for (let n = 0; n < 1_100; n++) {
      client.send(encodeSignalFrame({ kind: "Subscribe", topic: `${topic} ${n}` }));
    }
    equal((await within(deadline, client.closed, () => "the end of a greedy client")).code, 1008);
  },
);

siegeTest(
  "A listener that reads nothing is let go of before it costs much memory",
  async (siege) => {
    const { garbage, signalPort, signalUrl, deadline } = siege;
    const headers = { authorization: `Bearer ${SECRETS.signalToken}` };
    const speaker = await ForeignClient.open(signalUrl, { headers });
    const subscribe = encodeSignalFrame({ kind: "Subscribe", topic: "flood" });
    const deaf: Deno.Conn[] = [];
    await using stack = new AsyncDisposableStack();
    for (let n = 0; n < 20; n++) {
      const connection = await Deno.connect({ hostname: LOOPBACK, port: signalPort });
      stack.defer(() => connection.close());
      deaf.push(connection);
      await connection.write(utf8(upgradeRequest("/", SECRETS.signalToken)));
      await connection.read(new Uint8Array(1_000));
      const head = Uint8Array.of(0x82, 0x80 | subscribe.length, 0, 0, 0, 0);
      await connection.write(concatBytes(head, subscribe));
    }
    const payload = garbage.bytes(60_000);
    for (let n = 0; n < FLOOD; n++) {
      speaker.send(encodeSignalFrame({ kind: "Relay", topic: "flood", payload }));
      await speaker.settled();
    }
    for (const connection of deaf) {
      ok(await drained(connection, deadline) < FLOOD * payload.length, "it was let go of before");
    }
    speaker.socket.terminate();
    await speaker.closed;
  },
);

siegeTest("Garbage on the link port and the management port disturbs nobody", async (siege) => {
  const { garbage, server, deadline } = siege;
  for (const port of [server.linkPort, server.managementPort]) {
    for (const path of ["/link", "/"]) {
      for (const bytes of brokenHttp(garbage, path)) await pour(port, [bytes], deadline);
    }
    for (const bytes of brokenWebSocketFrames(garbage)) {
      await pour(port, [utf8(upgradeRequest("/link")), bytes], deadline);
    }
  }
});

siegeTest("Connections that say nothing keep nobody out", async (siege) => {
  const { scene, garbage, server, signalPort, signalUrl, deadline } = siege;
  await using stack = new AsyncDisposableStack();
  for (const port of [signalPort, server.linkPort, server.managementPort]) {
    const connections = Array.from({ length: SILENT }, async () => {
      const connection = await Deno.connect({ hostname: LOOPBACK, port });
      stack.defer(() => connection.close());
      return connection;
    });
    for (const [index, connecting] of connections.entries()) {
      const connection = await connecting;
      // Some say the beginning of something.
      if (index % 5 !== 0) continue;
      const beginning = utf8(upgradeRequest("/link").slice(0, index));
      // Whoever has waited too long for it may have hung up by then.
      await connection.write(beginning).catch(unlessHungUp);
    }
  }
  for (let n = 0; n < 300; n++) {
    const link = await HostileLink.connect(server.linkUrl, deadline);
    stack.defer(() => link.close());
    // The first message of a handshake, and no third one.
    if (n % 2 === 0) link.sendFrame(garbage.bytes(32));
  }
  const carol = scene.peer("carol", server);
  const dave = scene.peer("dave", server, signalUrl);
  for (const newcomer of [carol, dave]) await newcomer.pair();
  await server.assertHealthy();
  await carol.sends(await dave.id(), "we came in");
  equal((await dave.reads(1)).join(), "we came in");
});

siegeTest(
  "Garbage on the socket of a listening peer disturbs neither it nor others",
  async (siege) => {
    const { garbage, alice, bob, deadline } = siege;
    const lines = [
      ...["{", "null", "[]", "5", "{}", '{"do":5}', '{"do":"constructor"}', '{"do":"send"}'],
      ...['{"do":"send","peer":"Qm","data":"***"}', '{"do":"pair-psk","psk":5,"peer":{}}'],
      `{"do":"send","peer":"${await bob.id()}","data":5,"channel":[]}`,
    ];
    const sayings = [
      ...lines.map((line) => utf8(`${line}\n`)),
      utf8(lines.join("\n")),
      garbage.bytes(10_000),
      new Uint8Array(3_000_000).fill(0x20), // a line without an end
    ];
    for (const saying of sayings) {
      using connection = await Deno.connect({
        transport: "unix",
        path: `${alice.folder}/peer.sock`,
      });
      const talk = async () => {
        for (let sent = 0; sent < saying.length;) {
          sent += await connection.write(saying.subarray(sent));
        }
        await connection.closeWrite();
        await drained(connection, deadline);
      };
      await within(deadline, talk().catch(unlessHungUp), () => "the end of a handover");
    }
    equal((await alice.run("list")).code, 0);
  },
);

/** Sends all of it, hangs up, and waits until the other side has done so, too. */
async function pour(
  port: number,
  parts: readonly Uint8Array[],
  deadline: AbortSignal,
): Promise<void> {
  using connection = await Deno.connect({ hostname: LOOPBACK, port });
  const talk = async () => {
    for (const [index, part] of parts.entries()) {
      if (index > 0 && await connection.read(new Uint8Array(65_536)) === null) return;
      for (let sent = 0; sent < part.length;) sent += await connection.write(part.subarray(sent));
    }
    await connection.closeWrite();
    await drained(connection, deadline);
  };
  const said = toHex(parts.at(-1)?.subarray(0, 60) ?? new Uint8Array(0));
  await within(deadline, talk().catch(unlessHungUp), () => `the end of a connection after ${said}`);
}

/** Reads what still comes, until the other side ends it; how many bytes that were. */
async function drained(connection: Deno.Conn, deadline: AbortSignal): Promise<number> {
  const buffer = new Uint8Array(65_536);
  let length = 0;
  const read = async () => {
    for (;;) {
      const more = await connection.read(buffer);
      if (more === null) return;
      length += more;
    }
  };
  await within(deadline, read().catch(unlessHungUp), () => "the end of a connection");
  return length;
}

function unlessHungUp(error: unknown): void {
  const { ConnectionReset, BrokenPipe, NotConnected } = Deno.errors;
  const isHungUp = [ConnectionReset, BrokenPipe, NotConnected].some((kind) =>
    error instanceof kind
  );
  if (!isHungUp) throw error;
}
