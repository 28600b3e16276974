import { createRoute, z } from "@hono/zod-openapi";
import { METRICS_CONTENT_TYPE } from "../../metrics.ts";
import { HISTORY_STEPS, type HistorySample as Sample } from "../history.ts";
import type { EventStreams } from "./event_streams.ts";
import type { ManagedServer } from "./managed_server.ts";
import { type Api, json, newApi, refusals, refuseHead } from "./route.ts";
import {
  AuditQuery,
  AuditTrail,
  HistoryAnswer,
  HistoryQuery,
  type HistorySample,
  RecentEvents,
} from "./shapes.ts";

const tags = ["server"];

const events = createRoute({
  method: "get",
  path: "/events",
  summary: "What happens, as it happens",
  description: "Server-sent events. `Last-Event-ID` asks for what was missed; an event `missed` " +
    "says that some of it is gone. A listener that does not keep up is dropped.",
  tags,
  middleware: refuseHead,
  responses: {
    200: {
      description: "Until either side ends it",
      content: { "text/event-stream": { schema: { type: "string" } } },
    },
    ...refusals(503),
  },
});

const recent = createRoute({
  method: "get",
  path: "/events/recent",
  summary: "What happened lately",
  description: "The latest 256 events since the start, without `queue.changed`.",
  tags,
  responses: { 200: json(RecentEvents, "The oldest first"), ...refusals() },
});

const history = createRoute({
  method: "get",
  path: "/history",
  summary: "How the server fared",
  description:
    "Every 10 s for the last hour, or every 10 min for the last week; begins anew when " +
    "the server is started.",
  tags,
  request: { query: HistoryQuery },
  responses: { 200: json(HistoryAnswer, "What is known of it"), ...refusals(422) },
});

const metrics = createRoute({
  method: "get",
  path: "/metrics",
  summary: "Numbers for Prometheus",
  tags,
  responses: {
    200: {
      description: "In its text format",
      content: { "text/plain": { schema: z.string() } },
    },
    ...refusals(),
  },
});

const audit = createRoute({
  method: "get",
  path: "/audit",
  summary: "Who changed what, and when",
  tags,
  request: { query: AuditQuery },
  responses: { 200: json(AuditTrail, "The latest first"), ...refusals(422) },
});

/** What can be watched. */
export function observationRoutes(server: ManagedServer, streams: EventStreams): Api {
  const api = newApi();

  api.openapi(events, (context) => {
    const hangUp = () => context.env?.incoming?.socket.destroy();
    return context.body(streams.open(context.req.header("last-event-id"), hangUp), 200, {
      "content-type": "text/event-stream",
      // Asks a proxy in front not to collect events.
      "x-accel-buffering": "no",
    });
  });

  api.openapi(recent, (context) => {
    const { events, lastId } = server.events.recent();
    return context.json({
      events: events.map(({ id, at, type, data }) => ({ id, at: toSeconds(at), type, data })),
      last_id: lastId,
    }, 200);
  });

  api.openapi(history, (context) => {
    const { range, after = -1 } = context.req.valid("query");
    const samples = server.history.samples(range).map(sampleView).filter(({ at }) => at > after);
    return context.json({ step_secs: HISTORY_STEPS[range] / 1000, samples }, 200);
  });

  api.openapi(metrics, async (context) => {
    return context.text(await server.metrics(), 200, { "content-type": METRICS_CONTENT_TYPE });
  });

  api.openapi(audit, async (context) => {
    const { limit, before } = context.req.valid("query");
    const entries = await server.audit.entries(limit, before);
    return context.json({
      entries: entries.map(({ id, at, actor, action, peerId, detail }) => ({
        id,
        at: new Date(at).toISOString(),
        actor,
        action,
        peer_id: peerId,
        detail,
      })),
    }, 200);
  });

  return api;
}

function sampleView(sample: Sample): z.infer<typeof HistorySample> {
  return {
    at: toSeconds(sample.at),
    connected_peers: sample.connectedPeers,
    waiting_messages: sample.waitingMessages,
    stored_bytes: sample.storedBytes,
    relay_pairs: sample.relayPairs,
    free_bytes: Number.isFinite(sample.freeBytes) ? sample.freeBytes : null,
    relayed_bytes: sample.relayedBytes,
  };
}

function toSeconds(milliseconds: number): number {
  return Math.floor(milliseconds / 1000);
}
