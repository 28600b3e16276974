import { createRoute, z } from "@hono/zod-openapi";
import { fromHex } from "../../../base/bytes.ts";
import { byteStream } from "../../backup/byte_stream.ts";
import { exportPeer } from "../peer_export.ts";
import type { ManagedServer } from "./managed_server.ts";
import { Refusal } from "./problem.ts";
import { type Api, audited, json, newApi, refusals, refuseHead } from "./route.ts";
import { parsedPeerId, PeerParam } from "./shapes.ts";

/** A reader of an export that takes nothing for so long is given up. */
const STALLED = 60_000;

const peerId = z.string().openapi({ description: "Peer ID" });

const MessageParam = z.object({
  id: z.string().regex(/^[0-9a-f]{32}$/i, { error: "Not the id of a message: 32 hex digits" })
    .openapi({
      param: { name: "id", in: "path" },
      description: "As `GET /queue/{id}` lists it",
    }),
});

/** `GET /messages/{id}/trace`. */
export const MessageTraces = z.object({
  traces: z.array(z.object({
    from: peerId,
    to: peerId,
    bytes: z.int().min(0).nullable().openapi({ description: "null when no longer known" }),
    state: z.enum(["waiting", "delivered", "ended"]),
    steps: z.array(z.object({
      step: z.enum(["accepted", "stored", "offered", "delivered", "ended"]).openapi({
        description: "`stored`: on the disk, and its sender told; `offered`: sent to its reader",
      }),
      at: z.iso.datetime(),
      reason: z.string().nullable().openapi({ description: "Why it ended undelivered" }),
    })),
  })).openapi({ description: "Each pair of peers may have a message of the id" }),
}).openapi("MessageTraces");

const trace = createRoute({
  method: "get",
  path: "/messages/{id}/trace",
  summary: "The way of a message, without its content",
  description:
    "The latest 65,536 steps of all messages since the start of the server; from before " +
    "it, since when a message waits, or when and how it ended.",
  tags: ["queues"],
  request: { params: MessageParam },
  responses: { 200: json(MessageTraces, "In order"), ...refusals(404, 422) },
});

const exported = createRoute({
  method: "get",
  path: "/peers/{id}/export",
  summary: "What the server holds of one peer",
  description: "Lines of JSON: `pairing`, `waiting-for-it` with the body as it was encrypted for " +
    "this peer, `sent-by-it` without, `audit`, and `end`, without which it is not complete.",
  tags: ["peers"],
  middleware: refuseHead,
  request: { params: PeerParam },
  responses: {
    200: {
      description: "Until `end`",
      content: { "text/x-ndjson": { schema: { type: "string" } } },
    },
    ...refusals(404, 422),
  },
});

/** What is known of one message, and of one peer. */
export function inquiryRoutes(server: ManagedServer): Api {
  const api = newApi();

  api.openapi(trace, async (context) => {
    const msgId = fromHex(context.req.valid("param").id.toLowerCase());
    const traces = await server.trace?.of(msgId) ?? [];
    if (traces.length === 0) {
      throw new Refusal(404, "not-found", "No message of this id is known any more");
    }
    return context.json({
      traces: traces.map(({ from, to, size, state, steps }) => ({
        from: from.toString(),
        to: to.toString(),
        bytes: size ?? null,
        state,
        steps: steps.map(({ step, at, reason }) => ({
          step,
          at: new Date(at).toISOString(),
          reason,
        })),
      })),
    }, 200);
  });

  api.openapi(exported, async (context) => {
    const peer = parsedPeerId(context.req.valid("param").id);
    if (!server.book.has(peer)) {
      throw new Refusal(404, "not-paired", "No peer of this id is paired");
    }
    const lines = await audited(server, context, "peer.export", peer, () => {
      return exportPeer(server, peer);
    });
    const stream = byteStream(lines, { stallMs: STALLED, onEnd: () => {} });
    return context.body(stream, 200, { "content-type": "text/x-ndjson" });
  });

  return api;
}
