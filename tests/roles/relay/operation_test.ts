/* What an operator sees of a relay: its start, pages, metrics, log, reload and end. */

import assert from "node:assert/strict";
import type { LogRecord } from "@logtape/logtape";
import { parseIp, parsePrefix } from "../../../src/base/address.ts";
import { utf8 } from "../../../src/base/bytes.ts";
import type { RelayPolicyOptions } from "../../../src/roles/relay/relay_options.ts";
import { startRelay } from "../../../src/roles/relay/run_relay.ts";
import { collectedLog } from "../../support/collected_log.ts";
import { hasOpenssl, makeSelfSigned } from "../../support/self_signed.ts";
import { startedRelay } from "../../support/started_relay.ts";
import { bareAllocate, bindingRequest } from "../../support/stun_bytes.ts";

const V4 = parseIp("127.0.0.1")!;
/** An address of the loopback that the relay does not relay from. */
const OTHER = parseIp("127.0.0.9")!;
const LOOPBACK = parsePrefix("127.0.0.0/8")!;

Deno.test("with neither users nor secrets it is a STUN server, and says so loudly", async () => {
  await using log = await collectedLog("debug");
  await using relay = await startedRelay({ users: [], restSecrets: [] });
  const socket = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
  const to = { transport: "udp", hostname: "127.0.0.1", port: relay.port } as const;
  const binding = bindingRequest();
  for (const request of [bareAllocate(), binding]) await socket.send(request, to);
  // An answer to the first would come first.
  const [answer] = await socket.receive();
  assert.deepEqual(answer.subarray(8, 20), binding.subarray(8, 20));
  socket.close();
  const warning = log.records.find(({ level }) => level === "warning");
  assert.match(textOf(warning), /RELAYING IS OFF.*--credentials \(CAIRN_RELAY_CREDENTIALS\)/);
});

Deno.test("an address that no peer can send to is refused at the start, a private one warned of", async () => {
  for (const address of ["0.0.0.0", "224.0.0.1", "::", "255.255.255.255"]) {
    await assert.rejects(
      startedRelay({ externalIps: [parseIp(address)!] }),
      { code: "invalid-option", message: /--external-ip \(CAIRN_RELAY_EXTERNAL_IP\)/ },
    );
  }
  await using log = await collectedLog("debug");
  await using _relay = await startedRelay({ externalIps: [parseIp("10.1.2.3")!] });
  const warnings = log.records.filter(({ level }) => level === "warning").map(textOf);
  assert.match(warnings.join("\n"), /10\.1\.2\.3, which is private .*--external-ip/);
});

Deno.test("a port that is taken is named with its option", async () => {
  await using first = await startedRelay();
  const listenAddr = `127.0.0.1:${first.port}`;
  await assert.rejects(startedRelay({ listenAddr }), {
    code: "address-in-use",
    message: /--listen-addr \(CAIRN_RELAY_LISTEN_ADDR\)/,
  });
  await assert.rejects(startedRelay({ tcpAddr: listenAddr }), {
    code: "address-in-use",
    message: /--tcp-addr \(CAIRN_RELAY_TCP_ADDR\)/,
  });
});

Deno.test("18 the log has one line for an ended allocation, and no user's name in it", async () => {
  await using log = await collectedLog("debug");
  const username = "mallory\n\u001b[31m{client}";
  const users = [{ username: "user", password: "pass" }];
  await using relay = await startedRelay({ users, restSecrets: ["secret"] });
  const peer = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
  assert.ok(peer.addr.transport === "udp");
  const client = await relay.client();
  await client.allocate();
  const channel = await client.bind({ address: V4, port: peer.addr.port });
  await client.send(channel, utf8("12345"));
  await peer.receive();
  peer.close();
  await client.release();
  // What another thread has logged comes before its metrics.
  await relay.metrics();
  const [ended, ...more] = log.records.filter(({ message }) => message.join("").includes("ended"));
  assert.deepEqual(more, []);
  assert.match(
    textOf(ended),
    /^Allocation of 127\.0\.0\.1:\d+ over udp ended after \d+ s \(deleted\): user [0-9a-f]{12}, 5 bytes to peers, 0 bytes to the client$/,
  );
  const stranger = await relay.client({ username, password: "wrong" });
  await assert.rejects(stranger.allocate());
  assert.ok(!JSON.stringify(log.records).includes("mallory"));
});

Deno.test("metrics have no label that tells a user or an address", async () => {
  await using relay = await startedRelay();
  const client = await relay.client({ transport: "tcp" });
  await client.allocate();
  const text = await relay.metrics();
  for (const line of text.trimEnd().split("\n")) {
    assert.match(
      line,
      /^(# (HELP|TYPE) [a-z_0-9]+ .+|[a-z_0-9]+(\{(version="[\d.]+"|[a-z]+="[a-z0-9_ ]+")\})? -?[\d.e+-]+)$/,
    );
  }
  const expected = {
    "cairn_relay_allocations": 1,
    "cairn_relay_allocated_total": 1,
    "cairn_relay_connections": 1,
    "cairn_relay_relay_ports": 1,
    "cairn_relay_draining": 0,
    "cairn_relay_unauth_401_total": 1,
    'cairn_relay_errors_total{code="401"}': 1,
  };
  for (const [name, value] of Object.entries(expected)) {
    assert.ok(text.includes(`\n${name} ${value}\n`), `${name} ${value} in\n${text}`);
  }
});

Deno.test("an ending relay is not ready, grants nothing, and waits for its allocations", async () => {
  await using relay = await startedRelay({ drainTimeout: 60_000 });
  const page = (path: string) =>
    fetch(`http://127.0.0.1:${relay.metricsPort}${path}`)
      .then(async (response) => [response.status, await response.text()]);
  assert.deepEqual(await page("/healthz"), [200, "ok\n"]);
  assert.deepEqual(await page("/readyz"), [200, "ok\n"]);
  const [first, second] = [await relay.client(), await relay.client()];
  await first.allocate();
  let isEnded = false;
  const ended = relay.close().then(() => isEnded = true);
  assert.deepEqual(await page("/readyz"), [503, "draining\n"]);
  await assert.rejects(second.allocate(), { code: 508 });
  await first.permit(V4);
  assert.equal(isEnded, false);
  await first.release();
  await ended;
});

Deno.test("a relay that may not wait ends with its allocations", async () => {
  await using log = await collectedLog("debug");
  const relay = await startedRelay({ drainTimeout: 0 });
  const client = await relay.client();
  await client.allocate();
  await relay[Symbol.asyncDispose]();
  assert.match(log.records.map(textOf).join("\n"), /ended after \d+ s \(closed\)/);
});

Deno.test("a reload changes users and peers, and what is forbidden ends at once", async () => {
  let policy: RelayPolicyOptions = {
    users: [{ username: "user", password: "pass" }],
    restSecrets: [],
    allowPeers: [LOOPBACK],
    denyPeers: [],
  };
  await using relay = await startedRelay({ ...policy, reread: () => policy });
  const client = await relay.client();
  await client.allocate();
  await client.permit(OTHER);
  policy = { ...policy, users: [{ username: "other", password: "word" }], allowPeers: [] };
  relay.reload();
  // Other threads answer when they have heard of it.
  await relay.metrics();
  const former = await relay.client();
  await assert.rejects(former.allocate(), { code: 401 });
  const other = await relay.client({ username: "other", password: "word" });
  await other.allocate();
  await assert.rejects(other.permit(OTHER), { code: 403 });
  await client.indicate({ address: OTHER, port: 9 }, utf8("to a peer that is closed"));
  await relay.until(/dropped_total\{reason="(no_permission|forbidden)"\} 1$/m);
});

Deno.test("a reload that fails keeps what was", async () => {
  await using log = await collectedLog("debug");
  let users = [{ username: "user", password: "pass" }];
  const policy = () => ({ users, restSecrets: [], allowPeers: [], denyPeers: [] });
  await using relay = await startedRelay({ ...policy(), reread: policy });
  users = [{ username: "user", password: "pass" }, { username: "user", password: "again" }];
  relay.reload();
  assert.match(log.records.map(textOf).join("\n"), /Keeping the former credentials and lists/);
  await (await relay.client()).allocate();
});

Deno.test({
  name: "a renewed certificate is used for the next connection",
  ignore: !hasOpenssl,
  async fn() {
    await using tls = await makeSelfSigned();
    await using renewed = await makeSelfSigned();
    await using relay = await startedRelay({ tls });
    const open = (caCert: string) => relay.client({ transport: "tls", caCert });
    const before = await open(tls.cert);
    await before.allocate();
    await Deno.copyFile(renewed.certPath, tls.certPath);
    await Deno.copyFile(renewed.keyPath, tls.keyPath);
    relay.reload();
    await (await open(renewed.cert)).allocate();
    await assert.rejects(open(tls.cert).then((client) => client.allocate()));
    await before.permit(V4);
    assert.match(await relay.metrics(), /certificate_reloads_total\{outcome="reloaded"\} 1\n/);
  },
});

Deno.test("GET /credentials hands out what the relay takes", async () => {
  await using relay = await startedRelay({ apiAddr: "127.0.0.1:0" });
  const response = await fetch(`http://127.0.0.1:${relay.apiPort}/credentials?ttl=600`, {
    headers: { authorization: "Bearer secret" },
  });
  const { username, password, uris } = await response.json();
  assert.deepEqual(uris, [`turn:127.0.0.1:${relay.port}`], "nobody listens on ::1");
  await (await relay.client({ username, password })).allocate();
});

Deno.test("a relay that cannot start leaves no socket behind", async () => {
  const taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  assert.ok(taken.addr.transport === "tcp");
  await assert.rejects(startRelay({
    listenAddr: "127.0.0.1:0",
    tcpAddr: "127.0.0.1:0",
    metricsAddr: `127.0.0.1:${taken.addr.port}`,
    users: [],
    restSecrets: [],
    allowPeers: [],
    denyPeers: [],
  }));
  taken.close();
});

function textOf(record: LogRecord | undefined): string {
  return record?.message.map((part) => typeof part === "string" ? part : String(part)).join("") ??
    "";
}
