import { createRoute, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { PeerId } from "../../../protocol/crypto/peer_id.ts";
import type { ManagedServer, PairedFacts } from "./managed_server.ts";
import { Refusal } from "./problem.ts";
import { type Api, audited, body, json, newApi, refusals, requireJson } from "./route.ts";
import {
  Approval,
  parsedPeerId,
  Peer,
  PeerChange,
  PeerOutcome,
  PeerParam,
  Peers,
  PeersObject,
  PeersQuery,
} from "./shapes.ts";

const tags = ["peers"];

const list = createRoute({
  method: "get",
  path: "/peers",
  summary: "The paired peers",
  description: "An array; with `format=object` an object that holds it.",
  tags,
  request: { query: PeersQuery },
  responses: { 200: json(z.union([Peers, PeersObject]), "All of them"), ...refusals(422) },
});

const approve = createRoute({
  method: "post",
  path: "/peers/approve",
  summary: "Let a peer pair",
  description: "One that asks is paired at once, any other as soon as it asks.",
  tags,
  middleware: requireJson,
  request: body(Approval),
  responses: { 200: json(PeerOutcome, "It may"), ...refusals(409, 413, 415, 422, 507) },
});

const unpairing = {
  tags,
  request: { params: PeerParam },
  responses: { 200: json(PeerOutcome, "It is unpaired"), ...refusals(404, 422, 507) },
};
const unpair = createRoute({
  method: "post",
  path: "/peers/{id}/unpair",
  summary: "End a pairing or an approval",
  description: "Deletes its keys and what waits for it, ends its links and tells it.",
  ...unpairing,
});
const remove = createRoute({
  method: "delete",
  path: "/peers/{id}",
  summary: "The same as unpair",
  ...unpairing,
});

const change = createRoute({
  method: "patch",
  path: "/peers/{id}",
  summary: "Name a peer, or set what may wait for it",
  tags,
  middleware: requireJson,
  request: { params: PeerParam, ...body(PeerChange) },
  responses: { 200: json(Peer, "As it is then"), ...refusals(404, 409, 413, 415, 422, 507) },
});

/** Who is paired, and with which rights. */
export function peerRoutes(server: ManagedServer): Api {
  const api = newApi();

  api.openapi(list, (context) => {
    const peers = server.book.list().map((pairing) => peerView(server, pairing));
    return context.json(context.req.valid("query").format === "object" ? { peers } : peers, 200);
  });

  api.openapi(approve, async (context) => {
    const peerId = parsedPeerId(context.req.valid("json").peer_id);
    await audited(server, context, "peer.approve", peerId, () => server.pairing.approve(peerId));
    return context.json({ status: "approved" as const, peer_id: peerId.toString() }, 200);
  });

  const end = async (context: Context, peerId: PeerId) => {
    await audited(server, context, "peer.unpair", peerId, async () => {
      if (!await server.pairing.unpair(peerId)) throw notPaired();
    });
    return { status: "unpaired" as const, peer_id: peerId.toString() };
  };
  api.openapi(unpair, async (context) => {
    return context.json(await end(context, parsedPeerId(context.req.valid("param").id)), 200);
  });
  api.openapi(remove, async (context) => {
    return context.json(await end(context, parsedPeerId(context.req.valid("param").id)), 200);
  });

  api.openapi(change, async (context) => {
    const peerId = parsedPeerId(context.req.valid("param").id);
    const { name, quotas } = context.req.valid("json");
    if (!server.book.has(peerId)) throw notPaired();
    const { accounts } = server;
    if (quotas && !accounts) {
      throw new Refusal(409, "no-mailbox", "This server keeps no messages, so there is no quota");
    }
    await audited(server, context, "peer.change", peerId, async () => {
      if (name !== undefined) await server.names.set(peerId, name);
      if (quotas) await accounts?.setQuota(peerId, withoutUndefined(quotas));
    }, JSON.stringify({ name, quotas }));
    const pairing = server.book.get(peerId);
    if (!pairing) throw notPaired();
    const view = peerView(server, pairing);
    server.events.publish({
      type: "peer.changed",
      data: {
        peer_id: view.peer_id,
        name: view.name,
        quota_messages: view.quotas?.messages ?? null,
        quota_bytes: view.quotas?.bytes ?? null,
      },
    });
    return context.json(view, 200);
  });

  return api;
}

function notPaired(): Refusal {
  return new Refusal(404, "not-paired", "No peer of this id is paired or approved");
}

function peerView(server: ManagedServer, pairing: PairedFacts): z.infer<typeof Peer> {
  const { peerId, pairedAt, lastSeen, mechanism } = pairing;
  const account = server.accounts?.of(peerId);
  return {
    peer_id: peerId.toString(),
    name: server.names.get(peerId) ?? null,
    connected: server.isConnected(peerId),
    last_seen: lastSeen === 0 ? null : Math.floor(lastSeen / 1000),
    paired_at: Math.floor(pairedAt / 1000),
    mechanism,
    pending_messages: account?.messages ?? 0,
    stored_bytes: account?.bytes ?? 0,
    quotas: account ? { ...account.quota, own: account.own } : null,
  };
}

function withoutUndefined(
  { messages, bytes }: { messages?: number | null | undefined; bytes?: number | null | undefined },
): { messages?: number | null; bytes?: number | null } {
  return {
    ...(messages !== undefined && { messages }),
    ...(bytes !== undefined && { bytes }),
  };
}
