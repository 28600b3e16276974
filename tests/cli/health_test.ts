import { deepEqual, equal, match } from "node:assert/strict";
import { createServer as createHttpServer } from "node:http";
import { createServer } from "../../src/mod.ts";
import { freePort } from "../support/free_port.ts";
import { hasOpenssl, makeSelfSigned } from "../support/self_signed.ts";
import { startedRelay } from "../support/started_relay.ts";
import { startedSignal } from "../support/started_signal.ts";
import { runCairn } from "./run_cairn.ts";

const LOOPBACK = "127.0.0.1";

/** Ports at which nothing listens, so that other programs of this machine do not count. */
const nowhere = () => ({
  CAIRN_SIGNAL_LISTEN_ADDR: `0.0.0.0:${freePort()}`,
  CAIRN_RELAY_LISTEN_ADDR: `0.0.0.0:${freePort()}`,
  CAIRN_SERVER_LISTEN_ADDR: `0.0.0.0:${freePort()}`,
  CAIRN_MGMT_PORT: String(freePort()),
  CAIRN_HEALTH_TIMEOUT: "1m",
});

Deno.test("cairn health finds whichever role runs here by the settings, and exits with 0", async () => {
  const env = nowhere();
  const nobody = await runCairn(["health"], { env });
  equal(nobody.code, 1);
  match(nobody.stdout, /^problem: no role answers on this machine \(asked http:/);

  await using relay = await startedRelay({ users: [] });
  const relayEnv = { ...env, CAIRN_RELAY_LISTEN_ADDR: `${LOOPBACK}:${relay.port}` };
  const one = await runCairn(["health"], { env: relayEnv });
  deepEqual([one.code, one.stderr], [0, ""]);
  match(one.stdout, /^ok: relay at turn:127\.0\.0\.1:\d+ answers, and sees 127\.0\.0\.1:\d+\n$/);
  const all = await runCairn(["health", "up"], { env: relayEnv });
  equal(all.code, 1, "cairn up is more than its relay");
  match(all.stdout, /problem: signal at http:.*\/readyz cannot be reached/);
});

Deno.test("cairn health asks the server, with and without its management API", async () => {
  const folder = await Deno.makeTempDir({ prefix: "cairn-health-" });
  try {
    for (const enabled of [true, false]) {
      const server = createServer({
        storagePath: `${folder}/server`,
        listenAddr: `${LOOPBACK}:0`,
        management: { enabled, port: 0 },
      });
      await server.start();
      const { links, management } = server.addresses;
      const env = {
        ...nowhere(),
        CAIRN_SERVER_LISTEN_ADDR: `${LOOPBACK}:${links.port}`,
        ...(management && { CAIRN_MGMT_PORT: String(management.port) }),
        CAIRN_MGMT_ENABLED: String(enabled),
      };
      const { code, stdout } = await runCairn(["health", "server"], { env });
      await server.close();
      deepEqual([code, stdout.replace(/:\d+/g, "")], [
        0,
        enabled
          ? "ok: server at http://127.0.0.1/health works\n"
          : "ok: server at http://127.0.0.1/ listens\n",
      ]);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test({
  name: "cairn health takes the certificate of a role on this machine for whatever name",
  ignore: !hasOpenssl,
  async fn() {
    await using tls = await makeSelfSigned();
    await using signal = await startedSignal({ authTokens: ["token"], tls });
    const { port } = signal;
    const env = { ...nowhere(), CAIRN_SIGNAL_LISTEN_ADDR: `${LOOPBACK}:${port}` };
    const own = await runCairn(["health", "signal"], {
      env: { ...env, CAIRN_SIGNAL_TLS_CERT: tls.certPath, CAIRN_SIGNAL_TLS_KEY: tls.keyPath },
    });
    const named = await runCairn(["health", "--url", `wss://${LOOPBACK}:${port}`], { env });
    equal(own.code, 0, own.stdout);
    equal(named.code, 1, "as anybody else would see it");
    match(named.stdout, /^problem: what is at wss:.* cannot be reached \(.*certificate/i);
  },
});

Deno.test("cairn health --url asks what it names, and knows what is not cairn", async () => {
  const stranger = createHttpServer((_request, response) => response.end("Welcome to nginx!"));
  await new Promise<void>((resolve) => stranger.listen(0, LOOPBACK, resolve));
  const address = stranger.address();
  const port = typeof address === "object" && address ? address.port : 0;
  await using signal = await startedSignal();
  const url = (
    port: number,
  ) => ["health", "--timeout", "1m", "--url", `http://${LOOPBACK}:${port}`];
  const [right, wrong] = [await runCairn(url(signal.port)), await runCairn(url(port))];
  stranger.closeAllConnections();
  await new Promise((resolve) => stranger.close(resolve));
  equal(right.code, 0, right.stdout);
  equal(wrong.code, 1);
  match(wrong.stdout, /is no role of cairn \(HTTP status 200\)/);
  equal((await runCairn(["health", "--url", "ftp://localhost"])).code, 2);
  equal((await runCairn(["health", "servr"])).code, 2);
});

Deno.test("cairn health ends within its time when something takes connections and says nothing", async () => {
  using silent = Deno.listen({ hostname: LOOPBACK, port: 0 });
  const asked = ["health", "--timeout", "1s", "--url", `http://${LOOPBACK}:${silent.addr.port}`];
  const { code, stdout } = await runCairn(asked);
  equal(code, 1);
  match(stdout, /does not answer within 1 s|cannot be reached \(no answer\)/);
});
