import { createRoute, type z } from "@hono/zod-openapi";
import { accepts } from "hono/accepts";
import { toBase64 } from "../../../base/bytes.ts";
import type { PairingOffer as Offer } from "../pairing_control.ts";
import type { ManagedServer } from "./managed_server.ts";
import { Refusal } from "./problem.ts";
import { qrPng, qrSvg } from "../../qr_code.ts";
import { type Api, audited, json, newApi, refusals, refuseHead } from "./route.ts";
import {
  OfferParam,
  PairingLink,
  PairingOffer,
  PairingOffers,
  PairingPin,
  PairingQr,
  PairingRequests,
  parsedPeerId,
  PeerOutcome,
  PeerParam,
} from "./shapes.ts";

const tags = ["pairing"];

const requests = createRoute({
  method: "get",
  path: "/pairing/requests",
  summary: "The peers that ask to be paired",
  tags,
  responses: { 200: json(PairingRequests, "The longest waiting first"), ...refusals() },
});

const refuse = createRoute({
  method: "post",
  path: "/pairing/requests/{id}/refuse",
  summary: "Turn a request down",
  tags,
  request: { params: PeerParam },
  responses: { 200: json(PeerOutcome, "It was told"), ...refusals(404, 422) },
});

const offers = createRoute({
  method: "get",
  path: "/pairing/offers",
  summary: "The PINs and links that were made, without their secrets",
  tags,
  responses: { 200: json(PairingOffers, "The latest first"), ...refusals() },
});

const withdraw = createRoute({
  method: "delete",
  path: "/pairing/offers/{id}",
  summary: "End an open PIN or link",
  tags,
  request: { params: OfferParam },
  responses: { 200: json(PairingOffer, "It has ended"), ...refusals(404) },
});

const pin = createRoute({
  method: "post",
  path: "/pairing/pin",
  summary: "Make a PIN for one peer",
  tags,
  responses: { 200: json(PairingPin, "Show it to nobody else"), ...refusals(409) },
});

const link = createRoute({
  method: "post",
  path: "/pairing/link",
  summary: "Make a pairing link for one peer",
  tags,
  responses: { 200: json(PairingLink, "Show it to nobody else"), ...refusals(409) },
});

const qr = createRoute({
  method: "get",
  path: "/pairing/qr",
  summary: "Make a pairing link for one peer, as a QR code",
  description: "Every request makes another one. `Accept` chooses the form.",
  tags,
  middleware: refuseHead,
  responses: {
    200: {
      description: "Show it to nobody else",
      content: {
        "image/png": { schema: { type: "string", format: "binary" } },
        "image/svg+xml": { schema: { type: "string" } },
        "application/json": { schema: PairingQr },
      },
    },
    ...refusals(409),
  },
});

/** How peers come to be paired. */
export function pairingRoutes(server: ManagedServer): Api {
  const { pairing, host } = server;
  const api = newApi();
  const secondsLeft = (expiresAt: number) => {
    return Math.max(0, Math.ceil((expiresAt - host.now()) / 1000));
  };

  api.openapi(requests, (context) =>
    context.json({
      requests: pairing.requests().map((request) => ({
        peer_id: request.peerId.toString(),
        sas: request.sas,
        requested_at: Math.floor(request.requestedAt / 1000),
        expires_in_secs: secondsLeft(request.expiresAt),
        connected: request.connected,
        was_unpaired: request.wasUnpaired,
      })),
    }, 200));

  api.openapi(refuse, async (context) => {
    const peerId = parsedPeerId(context.req.valid("param").id);
    await audited(server, context, "pairing.refuse", peerId, () => {
      if (!pairing.refuse(peerId)) {
        throw new Refusal(404, "not-found", "This peer does not ask to be paired");
      }
    });
    return context.json({ status: "refused" as const, peer_id: peerId.toString() }, 200);
  });

  const offerView = (offer: Offer): z.infer<typeof PairingOffer> => ({
    id: offer.id,
    kind: offer.kind,
    state: offer.state,
    created_at: Math.floor(offer.createdAt / 1000),
    expires_in_secs: secondsLeft(offer.expiresAt),
    failures: offer.failures,
    peer_id: offer.peerId?.toString() ?? null,
  });
  api.openapi(
    offers,
    (context) => context.json({ offers: pairing.offers().map(offerView) }, 200),
  );

  api.openapi(withdraw, async (context) => {
    const { id } = context.req.valid("param");
    const open = pairing.offers().find((offer) => offer.id === id && offer.state === "open");
    if (!open) throw new Refusal(404, "not-found", "There is no open PIN or link of this id");
    await audited(
      server,
      context,
      "pairing.withdraw",
      undefined,
      () => pairing.withdraw(id),
      open.kind,
    );
    return context.json(offerView({ ...open, state: "withdrawn" }), 200);
  });

  api.openapi(pin, async (context) => {
    const make = () => pairing.createPin();
    const offer = await audited(server, context, "pairing.offer", undefined, make, "pin");
    const { pin, id, expiresAt } = offer;
    return context.json({
      pin,
      expires_in_secs: secondsLeft(expiresAt),
      id,
      signal_servers: [...server.meetsAt],
    }, 200);
  });

  api.openapi(link, async (context) => {
    const make = () => pairing.createLink();
    const offer = await audited(server, context, "pairing.offer", undefined, make, "link");
    const { uri, id, expiresAt } = offer;
    return context.json({ uri, expires_in_secs: secondsLeft(expiresAt), id }, 200);
  });

  api.openapi(qr, async (context) => {
    const make = () => pairing.createLink();
    const offer = await audited(server, context, "pairing.offer", undefined, make, "qr");
    const { payload, uri, id, expiresAt } = offer;
    const form = accepts(context, {
      header: "Accept",
      supports: ["image/png", "image/svg+xml", "application/json"],
      default: "image/png",
    });
    const expiresInSecs = secondsLeft(expiresAt);
    if (form === "application/json") {
      const qrData = toBase64(payload);
      const svg = qrSvg(payload);
      return context.json({ qr_data: qrData, uri, svg, expires_in_secs: expiresInSecs, id }, 200);
    }
    const image = form === "image/svg+xml" ? qrSvg(payload) : qrPng(payload);
    return context.body(image, 200, { "content-type": form });
  });

  return api;
}
