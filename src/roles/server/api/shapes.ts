/**
 * What the management API takes and answers. The routes, the OpenAPI document and the verbs of
 * `cairn server` are made from these.
 */

import { z } from "@hono/zod-openapi";
import { PeerId } from "../../../protocol/crypto/peer_id.ts";

const count = z.int().min(0);

const NOT_A_PEER_ID = { error: "Not a whole Peer ID: 46 characters that begin with Qm" };

const peerId = z.string().regex(/^Qm[1-9A-HJ-NP-Za-km-z]{44}$/, NOT_A_PEER_ID).refine(
  (text) => PeerId.parse(text) !== undefined,
  NOT_A_PEER_ID,
).openapi({
  description: "Peer ID",
  example: "QmZ7bpYmqMrSHuh4kvE1sUtVMyJfZ2bB7zWnEZPvMXqYbR",
});
const unixSeconds = z.int().min(0).openapi({ description: "Unix seconds" });
const expiry = z.int().min(0).openapi({ description: "Seconds until it expires" });

/** Neither halves of surrogate pairs, which no peer could be sent, nor what makes a name look other. */
const NAME = /^[^\p{Cc}\p{Cs}\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]*$/u;

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
  connected_peers: count.openapi({ description: "Paired peers with a link" }),
  total_peers: count.openapi({ description: "Paired peers" }),
  pairing_requests: count.openapi({ description: "Peers that wait for approval" }),
  pending_messages: count,
  storage_used_bytes: count.openapi({ description: "Bodies of all waiting messages" }),
  storage_limit_bytes: count,
  storage_free_bytes: count.nullable().openapi({
    description: "Room on the disk; null where the system does not say",
  }),
  forward_enabled: z.boolean(),
  forward_max_age_secs: count.openapi({ description: "How long a message waits at most" }),
}).openapi("HealthDetails");

/** What may wait for a peer. */
export const Quotas = z.object({
  messages: count,
  bytes: count,
  own: z.object({ messages: z.boolean(), bytes: z.boolean() }).openapi({
    description: "What was set for this peer; the rest is as for every peer",
  }),
}).openapi("Quotas");

const quota = count.nullable().optional().openapi({ description: "null: as for every peer" });

/** What `PATCH /peers/{id}` changes of the quotas; what is left out stays. */
export const QuotaChange = z.strictObject({ messages: quota, bytes: quota }).openapi("QuotaChange");

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
  quotas: Quotas.nullable().openapi({ description: "null while no mailbox is kept" }),
}).openapi("Peer");

/** `GET /peers`. */
export const Peers = z.array(Peer).openapi("Peers");

/** `GET /peers?format=object`. */
export const PeersObject = z.object({ peers: Peers }).openapi("PeersObject");

/** What `PATCH /peers/{id}` changes; what is left out stays. */
export const PeerChange = z.strictObject({
  name: z.string().trim().min(1).max(64).regex(NAME, {
    error: "A name has no control characters, line separators or changes of direction",
  }).nullable().optional(),
  quotas: QuotaChange.optional(),
}).openapi("PeerChange");

/** `POST /peers/approve`. */
export const Approval = z.strictObject({ peer_id: peerId }).openapi("Approval");

/** What was done about a peer. */
export const PeerOutcome = z.object({
  status: z.enum(["approved", "refused", "unpaired"]),
  peer_id: peerId,
}).openapi("PeerOutcome");

/** A peer that asks to be paired. */
export const PairingRequest = z.object({
  peer_id: peerId,
  sas: z.string().regex(/^\d{6}$/).openapi({
    description: "Six digits; the asking peer shows the same unless somebody sits between",
    example: "042137",
  }),
  requested_at: unixSeconds,
  expires_in_secs: expiry,
  connected: z.boolean().openapi({ description: "Whether it still waits on its link" }),
  was_unpaired: z.boolean().openapi({ description: "Whether an operator unpaired it before" }),
}).openapi("PairingRequest");

/** `GET /pairing/requests`. */
export const PairingRequests = z.object({ requests: z.array(PairingRequest) })
  .openapi("PairingRequests");

const offerId = z.string().openapi({ description: "Names the offer; no secret" });

/** A PIN or link that was made; the secret itself is only in the answer that made it. */
export const PairingOffer = z.object({
  id: offerId,
  kind: z.enum(["pin", "link"]),
  state: z.enum(["open", "paired", "expired", "burned", "withdrawn"]),
  created_at: unixSeconds,
  expires_in_secs: expiry,
  failures: count.openapi({ description: "Wrong guesses; ten burn the offer" }),
  peer_id: peerId.nullable().openapi({ description: "Who redeemed it" }),
}).openapi("PairingOffer");

/** `GET /pairing/offers`. */
export const PairingOffers = z.object({ offers: z.array(PairingOffer) }).openapi("PairingOffers");

/** `POST /pairing/pin`. */
export const PairingPin = z.object({
  pin: z.string().openapi({ example: "98AF-XZ2P" }),
  expires_in_secs: expiry,
  id: offerId,
  signal_servers: z.array(z.string()).openapi({
    description: "Where the PIN is good: for `cairn peer pair --signal`",
  }),
}).openapi("PairingPin");

/** `POST /pairing/link`. */
export const PairingLink = z.object({
  uri: z.string().openapi({ description: "`cairn://pair?…`, for `cairn peer pair --link`" }),
  expires_in_secs: expiry,
  id: offerId,
}).openapi("PairingLink");

/** `GET /pairing/qr` as JSON. */
export const PairingQr = z.object({
  qr_data: z.string().openapi({ description: "What the code holds, in base64" }),
  uri: z.string().openapi({ description: "The same invitation as a link" }),
  svg: z.string().openapi({ description: "The code as an SVG image" }),
  expires_in_secs: expiry,
  id: offerId,
}).openapi("PairingQr");

/** What waits for one peer. */
export const Queue = z.object({
  peer_id: peerId,
  pending_messages: count,
  oldest_message_age_secs: count,
  total_bytes: count,
}).openapi("Queue");

/** `GET /queue/{id}`: with the first messages that wait, sender by sender. */
export const QueueDetails = Queue.extend({
  messages: z.array(z.object({
    msg_id: z.string().openapi({ description: "Hexadecimal" }),
    from: peerId,
    bytes: count,
    accepted_at: unixSeconds,
  })),
}).openapi("QueueDetails");

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

/** An event that is over. */
export const PastEvent = z.object({
  id: z.string(),
  at: unixSeconds,
  type: z.string(),
  data: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
}).openapi("PastEvent");

/** `GET /events/recent`. */
export const RecentEvents = z.object({
  events: z.array(PastEvent),
  last_id: z.string().openapi({ description: "To listen on from, as `Last-Event-ID`" }),
}).openapi("RecentEvents");

/** How the server fared at one moment, or in one step of ten minutes. */
export const HistorySample = z.object({
  at: unixSeconds.openapi({ description: "Unix seconds; of a step its begin" }),
  connected_peers: count.openapi({ description: "Of a step the highest, as of all but the last" }),
  waiting_messages: count,
  stored_bytes: count,
  relay_pairs: count,
  free_bytes: count.nullable().openapi({
    description: "Room on the disk, of a step the least; null where the system does not say",
  }),
  relayed_bytes: count.openapi({ description: "Since the sample before; of a step in all of it" }),
}).openapi("HistorySample");

/** `GET /history`. */
export const HistoryAnswer = z.object({
  step_secs: count.openapi({ description: "From one sample to the next" }),
  samples: z.array(HistorySample).openapi({ description: "The oldest first" }),
}).openapi("History");

/** Which samples `GET /history` answers. */
export const HistoryQuery = z.object({
  range: z.enum(["hour", "week"]).default("hour"),
  after: z.coerce.number().int().min(0).optional().openapi({
    description: "Only what is later than this, in Unix seconds",
  }),
});

const ACTORS = ["token", "cli", "peer"] as const;

/** One change that somebody made. */
export const AuditEntry = z.object({
  id: z.int().min(1),
  at: z.iso.datetime(),
  actor: z.enum(ACTORS).openapi({
    description: "`token` and `cli` over this API, `peer` over its link",
  }),
  action: z.string().openapi({ example: "peer.unpaired" }),
  peer_id: peerId.nullable(),
  detail: z.string().nullable().openapi({ description: "How, or why it failed" }),
}).openapi("AuditEntry");

/** `GET /audit`: the latest first. */
export const AuditTrail = z.object({ entries: z.array(AuditEntry) }).openapi("AuditTrail");

/** The `{id}` of a path. */
export const PeerParam = z.object({
  id: peerId.openapi({ param: { name: "id", in: "path" } }),
});

/** The `{id}` of an offer in a path. */
export const OfferParam = z.object({
  id: offerId.openapi({ param: { name: "id", in: "path" } }),
});

/** Which peers `GET /peers` answers in. */
export const PeersQuery = z.object({
  format: z.enum(["array", "object"]).default("array"),
});

/** Which part of the audit trail `GET /audit` answers. */
export const AuditQuery = z.object({
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  before: z.coerce.number().int().min(1).optional().openapi({
    description: "Entries with a lower id only",
  }),
});

/** How many messages `GET /queue/{id}` lists. */
export const QueueQuery = z.object({
  limit: z.coerce.number().int().min(0).max(1000).default(100),
});

/** The Peer ID in text that one of these shapes has let through. */
export function parsedPeerId(text: string): PeerId {
  const parsed = PeerId.parse(text);
  if (parsed) return parsed;
  throw new TypeError("Not a Peer ID");
}
