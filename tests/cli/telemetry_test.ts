import { equal, match, ok } from "node:assert/strict";
import { CairnProcess } from "../support/processes.ts";
import { freePort } from "../support/free_port.ts";
import { ForeignClient } from "../support/foreign_client.ts";
import { within } from "../support/deadline.ts";
import { runCairn } from "./run_cairn.ts";

const TOKEN = "canary-token-of-the-test";

Deno.test("Deno's telemetry tells a collector of requests, and no token", async () => {
  const deadline = AbortSignal.timeout(300_000);
  await using collector = new Collector();
  const port = freePort();
  await using signal = new CairnProcess(["signal"], {
    deadline,
    env: {
      CAIRN_SIGNAL_LISTEN_ADDR: `127.0.0.1:${port}`,
      CAIRN_SIGNAL_AUTH_TOKEN: TOKEN,
      RUST_LOG: "trace",
      OTEL_DENO: "true",
      OTEL_SERVICE_NAME: "signal-of-the-test",
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_BSP_SCHEDULE_DELAY: "200",
    },
  });
  for await (const line of signal.log) if (line.includes("Signaling server listens")) break;
  const headers = { authorization: `Bearer ${TOKEN}` };
  equal(await statusOf(`http://127.0.0.1:${port}/`, { headers }), 426);
  const client = await ForeignClient.open(`ws://127.0.0.1:${port}/?access_token=${TOKEN}`, {
    headers,
  });
  client.socket.close();
  await client.closed;
  equal(await statusOf(`http://127.0.0.1:${port}/healthz`), 200);
  await within(deadline, collector.has(`http://127.0.0.1:${port}/healthz`), () => "the span");
  equal(await signal.end(), 0);

  const told = collector.received.join("\n");
  match(told, /signal-of-the-test/);
  match(told, /"http\.response\.status_code"[^}]*\{[^}]*426/);
  ok(!told.includes(TOKEN), told);
});

Deno.test("cairn signal does not take tokens in addresses while Deno exports these", async () => {
  const refused = await runCairn(["signal", "--allow-query-token"], {
    env: { OTEL_DENO: "true", CAIRN_SIGNAL_AUTH_TOKEN: TOKEN },
  });
  equal(refused.code, 2, refused.stderr);
  match(
    refused.stderr,
    /^error: OTEL_DENO exports .* --allow-query-token .*OTEL_DENO_TRACING=false/m,
  );

  const env = { CAIRN_SIGNAL_ALLOW_QUERY_TOKEN: "true", CAIRN_SIGNAL_AUTH_TOKEN: TOKEN };
  const checked = await runCairn(["config", "check", "signal"], {
    env: { ...env, OTEL_DENO: "1" },
  });
  match(checked.stdout + checked.stderr, /OTEL_DENO exports/);
  const metricsOnly = await runCairn(["config", "check", "signal"], {
    env: { ...env, OTEL_DENO: "1", OTEL_DENO_TRACING: "false" },
  });
  equal(metricsOnly.code, 0, metricsOnly.stderr);
});

async function statusOf(url: string, init?: RequestInit): Promise<number> {
  const response = await fetch(url, init);
  await response.body?.cancel();
  return response.status;
}

/** Takes what is sent to an OpenTelemetry collector, over HTTP. */
class Collector implements AsyncDisposable {
  readonly received: string[] = [];
  #heard = () => {};
  readonly #server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    async (request) => {
      this.received.push(await request.text());
      this.#heard();
      return new Response();
    },
  );

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  /** Resolves once it was told so. */
  async has(text: string): Promise<void> {
    while (!this.received.some((one) => one.includes(text))) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#heard = resolve;
      await promise;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}
