import { createRoute, type z } from "@hono/zod-openapi";
import type { PeerId } from "../../../protocol/crypto/peer_id.ts";
import type { MailboxAccounts, QueueStatus } from "../mailbox_accounts.ts";
import type { ManagedServer } from "./managed_server.ts";
import { Refusal } from "./problem.ts";
import { type Api, audited, json, newApi, refusals } from "./route.ts";
import {
  parsedPeerId,
  PeerParam,
  Purged,
  Queue,
  QueueDetails,
  QueueQuery,
  Queues,
  QueueTotals,
  RelayStats,
} from "./shapes.ts";

const tags = ["queues"];

const queues = createRoute({
  method: "get",
  path: "/queues",
  summary: "The peers for whom messages wait",
  tags,
  responses: { 200: json(Queues, "All of them"), ...refusals() },
});

const totals = createRoute({
  method: "get",
  path: "/queue",
  summary: "The same, with the bytes of all together",
  tags,
  responses: { 200: json(QueueTotals, "All of them"), ...refusals() },
});

const one = createRoute({
  method: "get",
  path: "/queue/{id}",
  summary: "What waits for one peer",
  tags,
  request: { params: PeerParam, query: QueueQuery },
  responses: { 200: json(QueueDetails, "Without contents"), ...refusals(404, 422) },
});

const purge = createRoute({
  method: "post",
  path: "/queue/{id}/purge",
  summary: "Drop what waits for one peer",
  description: "The senders are told that their messages were not delivered.",
  tags,
  request: { params: PeerParam },
  responses: { 200: json(Purged, "Dropped"), ...refusals(404, 422, 507) },
});

const relay = createRoute({
  method: "get",
  path: "/relay/stats",
  summary: "What the personal relay carries",
  tags: ["relay"],
  responses: { 200: json(RelayStats, "At present"), ...refusals() },
});

/** What waits, and what the relay carries. */
export function queueRoutes(server: ManagedServer): Api {
  const api = newApi();

  api.openapi(queues, async (context) => {
    const waiting = await server.accounts?.queues() ?? [];
    return context.json({ queues: waiting.map(queueView) }, 200);
  });

  api.openapi(totals, async (context) => {
    const waiting = await server.accounts?.queues() ?? [];
    const bytes = server.accounts?.totals().bytes ?? 0;
    return context.json({ queues: waiting.map(queueView), total_storage_bytes: bytes }, 200);
  });

  api.openapi(one, async (context) => {
    const { peerId, accounts } = mailboxOf(server, context.req.valid("param").id);
    const queue = (await accounts.queues()).find((queue) => queue.peerId.equals(peerId));
    const messages = await accounts.messages(peerId, context.req.valid("query").limit);
    return context.json({
      ...queueView(queue ?? emptyQueue(peerId)),
      messages: messages.map(({ msgId, from, size, acceptedAt }) => ({
        msg_id: msgId,
        from: from.toString(),
        bytes: size,
        accepted_at: Math.floor(acceptedAt / 1000),
      })),
    }, 200);
  });

  api.openapi(purge, async (context) => {
    const { peerId, accounts } = mailboxOf(server, context.req.valid("param").id);
    const drop = () => accounts.purge(peerId);
    const purged = await audited(server, context, "queue.purge", peerId, drop);
    server.events.publish({ type: "queue.purged", data: { peer_id: peerId.toString(), purged } });
    return context.json({ purged }, 200);
  });

  api.openapi(relay, (context) => {
    return context.json({
      relay: {
        capacity: server.relay.capacity,
        active_connections: server.relay.active(),
        bytes_relayed: server.relay.bytesRelayed(),
        per_peer: server.relay.perPeer().map(({ peerId, bytesRelayed, activeStreams }) => ({
          peer_id: peerId.toString(),
          bytes_relayed: bytesRelayed,
          active_streams: activeStreams,
        })),
      },
    }, 200);
  });

  return api;
}

/** @throws {Refusal} 404 for a peer that is not paired, and when no mailbox is kept. */
function mailboxOf(
  server: ManagedServer,
  id: string,
): { peerId: PeerId; accounts: MailboxAccounts } {
  const peerId = parsedPeerId(id);
  if (!server.book.has(peerId)) {
    throw new Refusal(404, "not-paired", "No peer of this id is paired");
  }
  const { accounts } = server;
  if (!accounts) throw new Refusal(404, "no-mailbox", "This server keeps no messages");
  return { peerId, accounts };
}

function emptyQueue(peerId: PeerId): QueueStatus {
  return { peerId, pendingMessages: 0, oldestMessageAgeSecs: 0, totalBytes: 0 };
}

function queueView(queue: QueueStatus): z.infer<typeof Queue> {
  return {
    peer_id: queue.peerId.toString(),
    pending_messages: queue.pendingMessages,
    oldest_message_age_secs: queue.oldestMessageAgeSecs,
    total_bytes: queue.totalBytes,
  };
}
