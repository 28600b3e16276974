/* What the batching engine does that portable sockets cannot, and that it can be trusted. */

import assert from "node:assert/strict";
import { parseIp } from "../../../src/base/address.ts";
import { equalBytes, readU16, utf8 } from "../../../src/base/bytes.ts";
import { AttributeType, decodeXorAddress } from "../../../src/protocol/stun/attributes.ts";
import { decodeStunMessage, MessageClass, Method } from "../../../src/protocol/stun/message.ts";
import { cairnCommand } from "../../cli/run_cairn.ts";
import { within } from "../../support/deadline.ts";
import { freePort } from "../../support/free_port.ts";
import { MarkingProxy, type Seen } from "../../support/marking_proxy.ts";
import { startedRelay } from "../../support/started_relay.ts";
import { TEST_UDP_ENGINE } from "../../support/test_udp_engine.ts";

const WITHIN_MS = 180_000;
const LOOPBACK = parseIp("127.0.0.1")!;
const ignore = Deno.build.os !== "linux" || TEST_UDP_ENGINE === "portable";
/** Expedited forwarding, and ECN-capable transport. */
const MARK = 46 << 2 | 2;

Deno.test("2-TR-121 2-TR-122 DSCP and ECN are copied, both ways", { ignore }, async () => {
  await using relay = await startedRelay();
  await using proxy = new MarkingProxy(relay.port);
  const client = await relay.client({ port: proxy.port });
  const relayed = await client.allocate();
  await using peer = new MarkingProxy(relayed.port);
  const channel = await client.bind({ address: LOOPBACK, port: peer.backPort });
  for (const mark of [0, MARK, 0x28]) {
    proxy.trafficClass = mark;
    const there = utf8(`there ${mark}`);
    await client.send(channel, there);
    assert.equal((await seen(peer, (bytes) => equalBytes(bytes, there))).trafficClass, mark);

    peer.trafficClass = mark;
    const back = utf8(`back ${mark}`);
    const socket = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
    await socket.send(back, { transport: "udp", hostname: "127.0.0.1", port: peer.port });
    socket.close();
    assert.deepEqual((await client.received()).data, back);
    const marked = await seen(proxy, (bytes) => equalBytes(bytes.subarray(4), back));
    assert.equal(marked.trafficClass, mark);
  }
});

Deno.test(
  "2-PE-102 a peer's port that nobody listens on comes back as an ICMP error",
  { ignore },
  async () => {
    await using relay = await startedRelay();
    await using proxy = new MarkingProxy(relay.port);
    const client = await relay.client({ port: proxy.port });
    await client.allocate();
    const port = freePort();
    await client.permit(LOOPBACK);
    // Errors that nobody reads must neither stop the port nor end it.
    for (let i = 0; i < 40; i++) {
      await client.indicate(
        { address: LOOPBACK, port },
        utf8("anybody?"),
      );
    }
    const { bytes } = await seen(proxy, (bytes) => {
      const message = decodeStunMessage(bytes);
      return message?.method === Method.Data && message.get(AttributeType.Icmp) !== undefined;
    });
    const message = decodeStunMessage(bytes);
    assert.equal(message?.messageClass, MessageClass.Indication);
    const peer = decodeXorAddress(
      message.get(AttributeType.XorPeerAddress)!,
      message.transactionId,
    );
    assert.deepEqual(peer && { ...peer }, { address: LOOPBACK, port });
    // Destination unreachable (3): port unreachable (3).
    assert.equal(readU16(message.get(AttributeType.Icmp)!, 2), 3 << 9 | 3);

    const listener = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port });
    await client.indicate({ address: LOOPBACK, port }, utf8("now?"));
    assert.deepEqual((await listener.receive())[0], utf8("now?"));
    listener.close();
  },
);

Deno.test(
  "a burst of datagrams of one length arrives whole and in order, both ways",
  { ignore },
  async () => {
    await using relay = await startedRelay();
    const client = await relay.client();
    const relayed = await client.allocate();
    const peer = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
    assert.ok(peer.addr.transport === "udp");
    const channel = await client.bind({ address: LOOPBACK, port: peer.addr.port });
    const row = Array.from(
      { length: 100 },
      (_, i) => new Uint8Array(i % 50 === 49 ? 30 : 160).fill(i),
    );
    for (const data of row) await client.send(channel, data);
    for (const data of row) assert.deepEqual((await peer.receive())[0], data);
    const to = { transport: "udp", hostname: "127.0.0.1", port: relayed.port } as const;
    for (const data of row) await peer.send(data, to);
    for (const data of row) assert.deepEqual((await client.received()).data, data);
    peer.close();
  },
);

Deno.test("no byte is ever wrong while the collector runs all the time", { ignore }, async () => {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", "--no-check", "--no-lock", "--unstable-net", "--v8-flags=--expose-gc"],
      new URL("../../support/udp_soak.ts", import.meta.url).pathname,
      "1000",
    ],
    stdout: "piped",
    signal: AbortSignal.timeout(WITHIN_MS),
  }).output();
  const { sent, returned, wrong, oversize, refused } = JSON.parse(new TextDecoder().decode(stdout));
  assert.ok(sent >= 1_000 && oversize > 0);
  assert.deepEqual({ returned, wrong, refused }, { returned: sent, wrong: 0, refused: oversize });
});

for (
  const [engine, workers, permission, expected] of [
    ["auto", [], [], /portable engine, as the batching one cannot be used: Requires ffi access/],
    ["portable", [], ["--allow-ffi"], /UDP engine: portable/],
    ["portable", ["--workers", "2"], ["--allow-ffi"], /One thread does all the work: workers/],
    ["auto", [], ["--allow-ffi"], ignore ? /UDP engine: portable/ : /UDP engine: batch/],
    ["auto", ["--workers", "2"], ["--allow-ffi"], ignore ? /workers: 0/ : /workers: 2/],
  ] as const
) {
  const options = ["--udp-engine", engine, ...workers];
  Deno.test(`cairn relay ${options.join(" ")} ${permission} says what it came to`, async () => {
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "--no-prompt", "--no-lock", "--unstable-kv", "--unstable-net"],
        ...["--allow-net", "--allow-read", "--allow-env", "--allow-sys", ...permission],
        new URL("../../../main.ts", import.meta.url).pathname,
        ...["relay", "--listen-addr", "127.0.0.1:0", ...options],
      ],
      env: { NO_COLOR: "1", CAIRN_LOG_FORMAT: "pretty" },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
      signal: AbortSignal.timeout(WITHIN_MS),
    }).spawn();
    let text = "";
    let isAsked = false;
    for await (const part of child.stderr.pipeThrough(new TextDecoderStream())) {
      text += part;
      // Once: what it says at its end may be read when it is gone.
      if (isAsked || !/Relay listens on.*\n/.test(text)) continue;
      isAsked = true;
      child.kill("SIGTERM");
    }
    await child.status;
    assert.match(text, expected);
  });
}

Deno.test("cairn relay --udp-engine batch does not start without FFI, and says what helps", async () => {
  const { stderr } = await cairnCommand(["relay", "--udp-engine", "batch"], {
    script: new URL("../../support/without_ffi.ts", import.meta.url),
  }).output();
  assert.match(new TextDecoder().decode(stderr), /"batch" cannot be used.*--udp-engine/);
});

async function seen(proxy: MarkingProxy, isIt: (bytes: Uint8Array) => boolean): Promise<Seen> {
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), WITHIN_MS);
  try {
    const found = proxy.seen(({ bytes }) => isIt(bytes));
    return await within(deadline.signal, found, () => "a datagram at the proxy");
  } finally {
    clearTimeout(timer);
  }
}
