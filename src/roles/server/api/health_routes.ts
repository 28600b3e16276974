import { createRoute, z } from "@hono/zod-openapi";
import type { ManagedServer } from "./managed_server.ts";
import { type Api, json, newApi, refusals } from "./route.ts";
import { Health, HealthDetails } from "./shapes.ts";
import type { TokenGate } from "./token_auth.ts";

const health = createRoute({
  method: "get",
  path: "/health",
  summary: "Whether the server is up",
  description: "Without a token only `status`.",
  tags: ["server"],
  security: [{}, { bearer: [] }],
  responses: {
    200: json(z.union([HealthDetails, Health]), "It is"),
    ...refusals(),
  },
});

/** The one route that answers without a token. */
export function healthRoutes(server: ManagedServer, gate: TokenGate): Api {
  return newApi().openapi(health, async (context) => {
    const freeBytes = await server.freeBytes();
    const status = server.isShortOfSpace(freeBytes) ? "degraded" as const : "healthy" as const;
    if (context.req.header("authorization") === undefined) return context.json({ status }, 200);
    gate.admit(context);
    const peers = server.book.list();
    const totals = server.accounts?.totals() ?? { messages: 0, bytes: 0, maxBytes: 0 };
    return context.json({
      status,
      peer_id: server.peerId.toString(),
      version: server.version,
      uptime_secs: Math.max(0, Math.floor((server.host.monotonic() - server.startedAt) / 1000)),
      connected_peers: peers.filter(({ peerId }) => server.isConnected(peerId)).length,
      total_peers: peers.length,
      pairing_requests: server.pairing.requests().length,
      pending_messages: totals.messages,
      storage_used_bytes: totals.bytes,
      storage_limit_bytes: totals.maxBytes,
      storage_free_bytes: Number.isFinite(freeBytes) ? freeBytes : null,
      forward_enabled: server.accounts !== undefined,
      forward_max_age_secs: Math.floor(server.retention / 1000),
    }, 200);
  });
}
