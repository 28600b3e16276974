import type { IncomingMessage, ServerResponse } from "node:http";
import type { Host } from "../../base/host.ts";
import { type HttpListener, listen, type ListenAddress, parseListenAddress } from "../http.ts";
import { EventLoopLag, METRICS_CONTENT_TYPE } from "../metrics.ts";
import type { Admission } from "./admission.ts";
import type { SignalMetrics } from "./signal_metrics.ts";
import type { Switchboard } from "./switchboard.ts";

const PLAIN = { "content-type": "text/plain; charset=utf-8" };

/** Answers what is no upgrade; a client whose handshake failed may ask here why. */
export function answer(
  request: IncomingMessage,
  response: ServerResponse,
  admission: Admission,
): void {
  if (answerHealth(request, response, admission)) return;
  const refusal = admission.judge(request, admission.keyOf(request));
  if (refusal) response.writeHead(refusal.status, refusal.headers).end();
  else response.writeHead(426, { "upgrade": "websocket" }).end("This is a WebSocket server\n");
}

/** Serves `/metrics`, beside the health pages, on an address of its own. */
export async function serveMetrics(
  metricsAddr: string,
  metrics: SignalMetrics,
  admission: Admission,
  host: Host,
): Promise<{ readonly address: ListenAddress } & AsyncDisposable> {
  const lag = new EventLoopLag(() => host.monotonic());
  metrics.registry.gauge(
    "cairn_signal_event_loop_lag_seconds",
    "Longest time that the event loop was blocked since the last scrape",
    () => lag.takeWorst(),
  );
  try {
    const listener = await listen({
      ...parseListenAddress(metricsAddr),
      option: "--metrics-addr (CAIRN_SIGNAL_METRICS_ADDR)",
      onRequest: (request, response) => {
        if (answerHealth(request, response, admission)) return;
        if (isGet(request) && pathOf(request) === "/metrics") {
          response.writeHead(200, { "content-type": METRICS_CONTENT_TYPE })
            .end(metrics.registry.text());
        } else {
          response.writeHead(404, PLAIN).end("Not found\n");
        }
      },
    });
    return {
      address: listener.address,
      async [Symbol.asyncDispose]() {
        lag.close();
        await listener.close();
      },
    };
  } catch (error) {
    lag.close();
    throw error;
  }
}

/** Adds what is not counted but looked at. */
export function describe(
  { registry }: SignalMetrics,
  parts: { admission: Admission; switchboard: Switchboard; listener: HttpListener },
): void {
  const { admission, switchboard, listener } = parts;
  registry.gauge("cairn_signal_connections", "Connections", () => admission.connections);
  registry.gauge(
    "cairn_signal_topics",
    "Topics that somebody listens to",
    () => switchboard.topicCount,
  );
  registry.gauge(
    "cairn_signal_records",
    "Records of the JSON dialects",
    () => switchboard.recordCount,
  );
  registry.gauge(
    "cairn_signal_record_bytes",
    "What these records weigh",
    () => switchboard.recordBytes,
  );
  registry.gauge(
    "cairn_signal_certificate_end_timestamp_seconds",
    "When the TLS certificate in use ends",
    () => listener.certificate && listener.certificate.validToDate.getTime() / 1000,
  );
  registry.gauge(
    "cairn_signal_resident_memory_bytes",
    "Memory of the process",
    () => Deno.memoryUsage().rss,
  );
}

function answerHealth(
  request: IncomingMessage,
  response: ServerResponse,
  { isDraining }: Admission,
): boolean {
  if (!isGet(request)) return false;
  switch (pathOf(request)) {
    case "/healthz":
      response.writeHead(200, PLAIN).end("ok\n");
      return true;
    case "/readyz":
      response.writeHead(isDraining ? 503 : 200, PLAIN).end(isDraining ? "draining\n" : "ok\n");
      return true;
    default:
      return false;
  }
}

function isGet({ method }: IncomingMessage): boolean {
  return method === "GET" || method === "HEAD";
}

function pathOf({ url = "" }: IncomingMessage): string {
  return url.split("?", 1)[0] ?? "";
}
