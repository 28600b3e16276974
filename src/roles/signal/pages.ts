import type { IncomingMessage, ServerResponse } from "node:http";
import { answerHealth, type Unreadiness } from "../health_pages.ts";
import type { HttpListener } from "../http.ts";
import type { Admission } from "./admission.ts";
import type { SignalMetrics } from "./signal_metrics.ts";
import type { Switchboard } from "./switchboard.ts";

/** Answers what is no upgrade; a client whose handshake failed may ask here why. */
export function answer(
  request: IncomingMessage,
  response: ServerResponse,
  admission: Admission,
  unreadiness: Unreadiness,
): void {
  if (answerHealth(request, response, unreadiness)) return;
  const refusal = admission.judge(request, admission.keyOf(request));
  if (refusal) response.writeHead(refusal.status, refusal.headers).end();
  else response.writeHead(426, { "upgrade": "websocket" }).end("This is a WebSocket server\n");
}

/** Adds what is not counted but looked at. */
export function describe(
  { registry }: SignalMetrics,
  parts: { admission: Admission; switchboard: Switchboard; listener: HttpListener },
): void {
  const { admission, switchboard, listener } = parts;
  registry.gauge(
    "cairn_signal_connections",
    "Connections that are open",
    () => admission.connections,
  );
  registry.gauge(
    "cairn_signal_topics",
    "Topics that somebody listens to",
    () => switchboard.topicCount,
  );
  registry.gauge(
    "cairn_signal_records",
    "Records that clients of the JSON dialects keep",
    () => switchboard.recordCount,
  );
  registry.gauge(
    "cairn_signal_record_bytes",
    "Bytes that the records of the JSON dialects weigh",
    () => switchboard.recordBytes,
  );
  registry.gauge(
    "cairn_signal_certificate_end_timestamp_seconds",
    "When the TLS certificate in use ends",
    () => listener.certificate && listener.certificate.validToDate.getTime() / 1000,
  );
}
