import { createRoute, z } from "@hono/zod-openapi";
import { METRICS_CONTENT_TYPE } from "../../metrics.ts";
import type { EventStreams } from "./event_streams.ts";
import type { ManagedServer } from "./managed_server.ts";
import { type Api, json, newApi, refusals, refuseHead } from "./route.ts";
import { AuditQuery, AuditTrail } from "./shapes.ts";

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
