/** The management API of a running `cairn server`, asked with curl and on the command line. */

import { deepEqual, equal, match, ok } from "node:assert/strict";
import type { z } from "@hono/zod-openapi";
import { AuditTrail, Peer, Peers } from "../../src/roles/server/api/shapes.ts";
import { EventListener } from "../support/event_listener.ts";
import { freePort } from "../support/free_port.ts";
import { hasOpenssl, makeSelfSigned } from "../support/self_signed.ts";
import {
  type BadInputScene,
  badInputTest,
  LOOPBACK,
  SECRETS,
  sentenceOf,
  serverArgs,
} from "./bad_input_scene.ts";

/** The documented calls, word for word. */
const DOCUMENTED = `
curl http://localhost:9090/health
curl -H "Authorization: Bearer your-secret-token" \\
http://localhost:9090/peers
curl -X POST \\
-H "Authorization: Bearer your-secret-token" \\
-H "Content-Type: application/json" \\
-d '{"peer_id": "5Hb7..."}' \\
http://localhost:9090/peers/approve
`;
const DOCUMENTED_TOKEN = "your-secret-token";
const SHORTENED = "5Hb7...";
const STRANGER = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG";
/** Where the pages lie beside this repository, while it is being built. */
const PAGE = new URL("../../../shared/documentation/server-node.txt", import.meta.url);

const hasCurl = await new Deno.Command("curl", { args: ["--version"], stdout: "null" }).output()
  .then(({ success }) => success, () => false);

Deno.test({
  name: "The documented calls of these tests are those of the page",
  ignore: await Deno.stat(PAGE).then(() => false, () => true),
  async fn() {
    deepEqual(curlLines(await Deno.readTextFile(PAGE)), curlLines(DOCUMENTED));
  },
});

badInputTest({
  name: "The documented curl calls work as they are written, the shortened id excepted",
  ignore: !hasCurl,
  async story(scene) {
    const port = freePort();
    const server = scene.start(serverArgs(`${scene.folder}/server`, port), {
      env: { CAIRN_MGMT_TOKEN: DOCUMENTED_TOKEN, RUST_LOG: "info" },
    });
    const { peer } = await scene.logged(server, /accepts links/);
    const shell = await Shell.open(scene, port);

    const [health = "", peers = "", approve = ""] = curlLines(DOCUMENTED);
    deepEqual(await shell.run(health), { status: 200, answer: { status: "healthy" } });
    deepEqual(await shell.run(peers), { status: 200, answer: [] });
    const shortened = await shell.run(approve);
    equal(shortened.status, 422);
    match(String(Reflect.get(Object(shortened.answer), "error")), /whole Peer ID/);
    deepEqual(await shell.run(approve.replace(SHORTENED, STRANGER)), {
      status: 200,
      answer: { status: "approved", peer_id: STRANGER },
    });
    const own = await shell.run(approve.replace(SHORTENED, String(peer)));
    equal(own.status, 409);
    const withoutToken = await shell.run(peers.replace(DOCUMENTED_TOKEN, "another"));
    equal(withoutToken.status, 401);
  },
});

badInputTest({
  name: "What waits is shown and dropped on the command line, and the records tell who did it",
  async story(scene) {
    const server = await scene.server(`${scene.folder}/server`);
    const { alice, bob } = await scene.paired(server, "alice", "bob");
    const [aliceId, bobId] = [await alice.id(), await bob.id()];
    const msgs = [await alice.sends(bobId, "one"), await alice.sends(bobId, "two")];
    equal(msgs.length, 2);
    const verb = (...words: string[]) =>
      scene.run(["server", ...words, "--mgmt-port", String(server.managementPort)], {
        CAIRN_MGMT_TOKEN: SECRETS.managementToken,
      });

    const all = await verb("queue");
    match(all.stdout, new RegExp(`^${bobId}  2 messages  \\d+ bytes  oldest \\d+s$`), all.stderr);
    const queue = JSON.parse((await verb("queue", "--json")).stdout);
    deepEqual([queue.queues.length, queue.queues[0].pending_messages], [1, 2]);
    equal(queue.total_storage_bytes, queue.queues[0].total_bytes);
    const one = (await verb("queue", bobId)).stdout.split("\n");
    equal(one.length, 2);
    match(one[0] ?? "", new RegExp(`^[0-9a-f]{32}  from ${aliceId}  \\d+ bytes  accepted 20`));
    equal(JSON.parse((await verb("queue", bobId, "--json")).stdout).messages.length, 2);

    const dropped = await verb("purge", bobId);
    equal(dropped.stdout, "2 messages dropped; their senders are told", dropped.stderr);
    equal((await verb("purge", bobId, "--json")).stdout, '{"purged":0}');
    equal((await verb("queue")).stdout, "");
    match(sentenceOf(await verb("purge", STRANGER)), /^No peer of this id is paired/);
    match(sentenceOf(await verb("queue", "Qm"), 2), /^PEER: "Qm" is not right; expected a whole/);

    const { entries } = await ask(server.managementPort, "/audit", AuditTrail);
    const changes = entries.map(({ actor, action, peer_id: peer }) => [actor, action, peer]);
    deepEqual(changes.slice(0, 2), [["cli", "queue.purge", bobId], ["cli", "queue.purge", bobId]]);
    deepEqual(
      changes.slice(2).sort(),
      [
        ["peer", "peer.pair", aliceId],
        ["peer", "peer.pair", bobId],
      ].sort(),
    );
  },
});

badInputTest({
  name: "A quota of one peer bounds what waits for it alone, and holds after a restart",
  async story(scene) {
    const folder = `${scene.folder}/server`;
    let server = await scene.server(folder);
    const { alice, bob, carol } = await scene.paired(server, "alice", "bob", "carol");
    const [bobId, carolId] = [await bob.id(), await carol.id()];
    const changed = await ask(server.managementPort, `/peers/${bobId}`, Peer, {
      method: "PATCH",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ name: "Bob's phone", quotas: { messages: 1 } }),
    });
    equal(changed.quotas?.messages, 1);
    await scene.stop(server.process);

    server = await scene.server(folder, { CAIRN_MGMT_METRICS_PER_PEER: "true" });
    alice.server = server;
    await alice.sends(bobId, "fits");
    const refused = await alice.run("send", bobId, "does not", "--timeout", "20s");
    equal(refused.code, 1);
    await alice.sends(carolId, "has a place of its own");
    const peers = await ask(server.managementPort, "/peers", Peers);
    deepEqual(
      peers.map(({ peer_id: peer, name, pending_messages: n }) => [peer, name, n])
        .filter(([, , waiting]) => waiting !== 0).sort(),
      [[bobId, "Bob's phone", 1], [carolId, null, 1]].sort(),
    );
    const metrics = await fetchText(server.managementPort, "/metrics");
    match(metrics, /^cairn_server_messages_accepted_total 2$/m);
    match(metrics, /^cairn_server_messages_refused_total\{reason="recipient queue full"\} [1-9]/m);
    match(metrics, new RegExp(`^cairn_server_peer_waiting_messages{peer="${bobId}"} 1$`, "m"));
  },
});

badInputTest({
  name: "Whoever listens to /events hears of pairings, links and what waits",
  async story(scene) {
    const server = await scene.server(`${scene.folder}/server`);
    const events = await EventListener.open(
      `http://${LOOPBACK}:${server.managementPort}/events`,
      { authorization: `Bearer ${SECRETS.managementToken}` },
      scene.deadline,
    );
    const alice = scene.peer("alice", server);
    await alice.pair();
    const aliceId = await alice.id();
    const hears = (wanted: string, peer: string) =>
      events.until((type, data) =>
        type === wanted && Reflect.get(Object(data), "peer_id") === peer
      );
    const paired = await hears("peer.paired", aliceId);
    equal(Reflect.get(Object(paired), "mechanism"), "psk");
    const bob = scene.peer("bob", server);
    await bob.pair();
    const bobId = await bob.id();
    await hears("peer.paired", bobId);
    await alice.sends(bobId, "for later");
    const changed = await hears("queue.changed", bobId);
    equal(Reflect.get(Object(changed), "pending_messages"), 1);
    deepEqual(await bob.reads(1), ["for later"]);
    await hears("peer.connected", bobId);
    await hears("peer.disconnected", bobId);
    equal((await bob.run("unpair", server.id)).code, 0);
    const unpaired = await hears("peer.unpaired", bobId);
    equal(Reflect.get(Object(unpaired), "by"), "peer");
    await events.leave();
  },
});

badInputTest({
  name: "With a certificate the management API speaks TLS, to curl and to the command line",
  ignore: !hasOpenssl || !hasCurl,
  async story(scene) {
    const tls = scene.use(await makeSelfSigned());
    const port = freePort();
    const server = scene.start([
      ...serverArgs(`${scene.folder}/server`, port),
      ...["--tls-cert", tls.certPath, "--tls-key", tls.keyPath],
    ], { env: { CAIRN_MGMT_TOKEN: SECRETS.managementToken, CAIRN_MGMT_BIND: "0.0.0.0" } });
    const { peer } = await scene.logged(server, /accepts links/);
    const shell = await Shell.open(scene, port);
    const { status } = await shell.run(
      `curl --cacert ${tls.certPath} https://localhost:9090/health`,
    );
    equal(status, 200);
    const plain = await shell.run("curl http://localhost:9090/health");
    equal(plain.status, 0, "nobody answers without TLS");
    const id = await scene.run(["server", "id", "--mgmt-url", `https://localhost:${port}`], {
      CAIRN_MGMT_TOKEN: SECRETS.managementToken,
      DENO_CERT: tls.certPath,
    });
    equal(id.stdout, peer, id.stderr);
    ok(!server.log.all.some((line) => line.includes("without TLS")));

    const renewed = scene.use(await makeSelfSigned());
    await Deno.copyFile(renewed.certPath, tls.certPath);
    await Deno.copyFile(renewed.keyPath, tls.keyPath);
    server.signal("SIGHUP");
    await scene.logged(server, /New connections get the renewed certificate/);
    const after = await shell.run(
      `curl --cacert ${renewed.certPath} https://localhost:9090/health`,
    );
    equal(after.status, 200);
  },
});

badInputTest({
  name: "Beyond loopback and without TLS the log warns",
  async story(scene) {
    const server = scene.start(serverArgs(`${scene.folder}/server`, freePort()), {
      env: { CAIRN_MGMT_BIND: "0.0.0.0" },
    });
    await scene.logged(server, /reachable from other machines without TLS/);
  },
});

badInputTest({
  name: "CAIRN_MGMT_ENABLED=false opens no port for management and makes no token",
  async story(scene) {
    const server = await scene.server(`${scene.folder}/server`, {
      CAIRN_MGMT_ENABLED: "false",
      CAIRN_MGMT_TOKEN: "",
    });
    const connected = await Deno.connect({ hostname: LOOPBACK, port: server.managementPort })
      .then((connection) => connection.close(), () => "refused");
    equal(connected, "refused");
    const files = await Array.fromAsync(Deno.readDir(`${scene.folder}/server`));
    deepEqual(files.filter(({ name }) => name.includes("token")), []);
    ok(!server.process.log.all.some((line) => line.includes("management")));
  },
});

/** Runs lines that name port 9090 against the server on another one. */
class Shell {
  private constructor(private readonly home: string) {}

  static async open(scene: BadInputScene, port: number): Promise<Shell> {
    const home = `${scene.folder}/curl`;
    await Deno.mkdir(home);
    await Deno.writeTextFile(
      `${home}/.curlrc`,
      `silent\nconnect-to = "localhost:9090:${LOOPBACK}:${port}"\nwrite-out = "\\n%{http_code}"\n`,
    );
    return new Shell(home);
  }

  /** The status is 0 when nobody answered. */
  async run(line: string): Promise<{ status: number; answer: unknown }> {
    const { stdout } = await new Deno.Command("sh", {
      args: ["-c", line],
      env: { CURL_HOME: this.home, NO_PROXY: "*" },
    }).output();
    const [, text = "", status] = /^([^]*)\n(\d{3})$/.exec(new TextDecoder().decode(stdout)) ?? [];
    return { status: Number(status), answer: text === "" ? undefined : JSON.parse(text) };
  }
}

/** The calls in a page, each on one line. */
function curlLines(page: string): string[] {
  return page.replaceAll(/\\\n\s*/g, "").split("\n").filter((line) => line.startsWith("curl "));
}

/** Asks with the token; the answer must have this shape. */
async function ask<Schema extends z.ZodType>(
  port: number,
  path: string,
  shape: Schema,
  init: RequestInit = {},
): Promise<z.infer<Schema>> {
  const response = await fetch(`http://${LOOPBACK}:${port}${path}`, {
    ...init,
    headers: { authorization: `Bearer ${SECRETS.managementToken}`, ...init.headers },
  });
  equal(response.status, 200);
  return shape.parse(await response.json());
}

async function fetchText(port: number, path: string): Promise<string> {
  const response = await fetch(`http://${LOOPBACK}:${port}${path}`, {
    headers: { authorization: `Bearer ${SECRETS.managementToken}` },
  });
  return await response.text();
}
