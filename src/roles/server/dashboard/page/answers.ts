/** What the server answers, by the shapes of its API; only types, so none of them is in the page. */

import type { z } from "@hono/zod-openapi";
import type * as shapes from "../../api/shapes.ts";

export type Health = z.infer<typeof shapes.HealthDetails>;
export type Peer = z.infer<typeof shapes.Peer>;
export type PairingRequest = z.infer<typeof shapes.PairingRequest>;
export type PairingOffer = z.infer<typeof shapes.PairingOffer>;
export type PairingPin = z.infer<typeof shapes.PairingPin>;
export type PairingQr = z.infer<typeof shapes.PairingQr>;
export type PeerOutcome = z.infer<typeof shapes.PeerOutcome>;
export type Purged = z.infer<typeof shapes.Purged>;
export type RecentEvents = z.infer<typeof shapes.RecentEvents>;
export type HistorySample = z.infer<typeof shapes.HistorySample>;
export type History = z.infer<typeof shapes.HistoryAnswer>;
