/**
 * What the management API takes and answers. The routes, the OpenAPI document and the verbs of
 * `cairn server` are made from these.
 */

import { z } from "@hono/zod-openapi";

const count = z.int().min(0);

const peerId = z.string().regex(/^Qm[1-9A-HJ-NP-Za-km-z]{44}$/, {
  error: "Not a whole Peer ID: 46 characters that begin with Qm",
}).openapi({
  description: "A whole Peer ID: 46 characters that begin with `Qm`",
  example: "QmZ7bpYmqMrSHuh4kvE1sUtVMyJfZ2bB7zWnEZPvMXqYbR",
});
const unixSeconds = z.int().min(0).openapi({ description: "Unix seconds" });
const expiry = z.int().min(0).openapi({ description: "Seconds until it expires" });

/** Every answer that is not a success. */
export const Problem = z.object({
  error: z.string().openapi({ description: "One sentence for a person" }),
  code: z.string().openapi({ description: "What a program branches on", example: "not-found" }),
}).openapi("Problem");

const status = z.enum(["healthy", "degraded"]).openapi({
  description: "`degraded`: new messages are refused because the disk is nearly full",
});

/** `GET /health` without a token. */
export const Health = z.object({ status }).openapi("Health");

/** `GET /health` with the token. */
export const HealthDetails = z.object({
  status,
  peer_id: peerId,
  version: z.string(),
  uptime_secs: count,
  connected_peers: count,
  total_peers: count,
  pairing_requests: count.openapi({ description: "Peers that wait for approval" }),
  pending_messages: count,
  storage_used_bytes: count.openapi({ description: "Bodies of all waiting messages" }),
  storage_limit_bytes: count,
  storage_free_bytes: count.nullable().openapi({
    description: "Room on the disk; null where the system does not say",
  }),
  forward_enabled: z.boolean(),
}).openapi("HealthDetails");

/** What a peer may have waiting for it. */
export const Quotas = z.object({
  max_messages: z.int().min(0).nullable().openapi({
    description: "Most messages that wait for this peer; null: as for every peer",
  }),
  max_bytes: z.int().min(0).nullable().openapi({
    description: "Most bytes that wait for this peer; null: only the total counts",
  }),
}).openapi("Quotas");

/** A paired peer. */
export const Peer = z.object({
  peer_id: peerId,
  name: z.string().nullable().openapi({ description: "As the operator calls it" }),
  connected: z.boolean(),
  last_seen: unixSeconds.nullable().openapi({ description: "Unix seconds; null for never" }),
  paired_at: unixSeconds,
  mechanism: z.string().openapi({ description: "How it paired", example: "psk" }),
  pending_messages: count,
  stored_bytes: count.openapi({ description: "Bodies that wait for this peer" }),
  quotas: Quotas,
}).openapi("Peer");

/** `GET /peers`. */
export const Peers = z.array(Peer).openapi("Peers");

/** `GET /peers?format=object`. */
export const PeersObject = z.object({ peers: Peers }).openapi("PeersObject");

/** What `PATCH /peers/{id}` changes; what is left out stays. */
export const PeerChange = z.strictObject({
  name: z.string().trim().min(1).max(64).regex(/^\P{Cc}*$/u, {
    error: "A name has no control characters",
  }).nullable().optional(),
  quotas: Quotas.partial().strict().optional(),
}).openapi("PeerChange");

/** `POST /peers/approve`. */
export const Approval = z.strictObject({ peer_id: peerId }).openapi("Approval");

/** What was done about a peer. */
export const PeerOutcome = z.object({
  status: z.enum(["approved", "unpaired"]),
  peer_id: peerId,
}).openapi("PeerOutcome");

/** A peer that asks to be paired. */
export const PairingRequest = z.object({
  peer_id: peerId,
  sas: z.string().regex(/^\d{6}$/).openapi({
    description: "Six digits that the asking peer shows, too",
    example: "042137",
  }),
  requested_at: unixSeconds,
  expires_in_secs: expiry,
}).openapi("PairingRequest");

/** `GET /pairing/requests`. */
export const PairingRequests = z.object({ requests: z.array(PairingRequest) })
  .openapi("PairingRequests");

/** `POST /pairing/pin`. */
export const PairingPin = z.object({
  pin: z.string().openapi({ example: "98AF-XZ2P" }),
  expires_in_secs: expiry,
}).openapi("PairingPin");

/** `POST /pairing/link`. */
export const PairingLink = z.object({
  uri: z.string().openapi({ description: "`cairn://pair?…`, for `cairn peer pair --link`" }),
  expires_in_secs: expiry,
}).openapi("PairingLink");

/** `GET /pairing/qr` as JSON. */
export const PairingQr = z.object({
  qr_data: z.string().openapi({ description: "What the code holds, in base64" }),
  uri: z.string().openapi({ description: "The same invitation as a link" }),
  expires_in_secs: expiry,
}).openapi("PairingQr");

/** What waits for one peer. */
export const Queue = z.object({
  peer_id: peerId,
  pending_messages: count,
  oldest_message_age_secs: count,
  total_bytes: count,
}).openapi("Queue");

/** `GET /queues`: the mailboxes in which something waits. */
export const Queues = z.object({ queues: z.array(Queue) }).openapi("Queues");

/** `GET /queue`. */
export const QueueTotals = Queues.extend({ total_storage_bytes: count }).openapi("QueueTotals");

/** `POST /queue/{id}/purge`. */
export const Purged = z.object({
  purged: count.openapi({ description: "Messages that were dropped; their senders are told" }),
}).openapi("Purged");

/** `GET /relay/stats`. */
export const RelayStats = z.object({
  relay: z.object({
    capacity: count.openapi({ description: "Most pairs of peers at a time" }),
    active_connections: count,
    bytes_relayed: count,
    per_peer: z.array(z.object({ peer_id: peerId, bytes_relayed: count, active_streams: count })),
  }),
}).openapi("RelayStats");

/** One change that somebody made. */
export const AuditEntry = z.object({
  id: z.int().min(1),
  at: z.iso.datetime(),
  actor: z.string().openapi({
    description: "`token` over this API, `peer` over its link, `settings` at the start",
    example: "token",
  }),
  action: z.string().openapi({ example: "peer.unpaired" }),
  peer_id: peerId.nullable(),
  detail: z.record(z.string(), z.union([z.string(), z.number(), z.null()])),
}).openapi("AuditEntry");

/** `GET /audit`: the latest first. */
export const AuditTrail = z.object({ entries: z.array(AuditEntry) }).openapi("AuditTrail");

/** The `{id}` of a path. */
export const PeerParam = z.object({
  id: peerId.openapi({ param: { name: "id", in: "path" } }),
});
