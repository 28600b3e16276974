import { getLogger } from "@logtape/logtape";
import { Hono } from "hono";
import { type Host, systemHost } from "../../../base/host.ts";
import { requireKnownHost } from "./host_check.ts";
import { problem } from "./problem.ts";
import { createHash } from "node:crypto";
import type { MiddlewareHandler } from "hono";
import { equalSecret } from "../../../base/bytes.ts";

const log = getLogger(["cairn", "server", "api"]);

/** A peer as the management API shows it. */
export interface PeerView {
  readonly "peer_id": string;
  readonly name: string | null;
  readonly connected: boolean;
  /** Unix seconds, or `null` for never. */
  readonly "last_seen": number | null;
}

/** A mailbox as the management API shows it. */
export interface QueueView {
  readonly "peer_id": string;
  readonly "pending_messages": number;
  readonly "oldest_message_age_secs": number;
  readonly "total_bytes": number;
}

/** What the management API reads of a running server. */
export interface ServerView {
  readonly peerId: string;
  readonly version: string;
  /** When it started, on the monotonic clock. */
  readonly startedAt: number;
  /** Whether it keeps a mailbox. */
  readonly forwardEnabled: boolean;
  peers(): readonly PeerView[];
  queues(): readonly QueueView[];
  totals(): { readonly messages: number; readonly bytes: number };
}

export interface ApiOptions {
  /** Host names beside `localhost` and IP addresses under which the API is reached. */
  readonly hosts?: readonly string[];
  readonly host?: Host;
}

/** The management API. Serve its `fetch`; it keeps no state. */
export function createApi(view: ServerView, token: string, options: ApiOptions = {}): Hono {
  const { hosts = [], host = systemHost } = options;
  const check = tokenCheck(token);
  const app = new Hono();

  app.use(async (context, next) => {
    await next();
    context.header("cache-control", "no-store");
    context.header("x-content-type-options", "nosniff");
  });
  app.use(requireKnownHost(hosts));

  app.get("/health", (context, next) => {
    const authorization = context.req.header("authorization");
    return authorization === undefined ? context.json({ status: "healthy" }) : next();
  });

  app.use(requireToken(check));

  app.get("/health", (context) => {
    const peers = view.peers();
    return context.json({
      status: "healthy",
      peer_id: view.peerId,
      version: view.version,
      uptime_secs: Math.max(0, Math.floor((host.monotonic() - view.startedAt) / 1000)),
      connected_peers: peers.filter(({ connected }) => connected).length,
      total_peers: peers.length,
      storage_used_bytes: view.totals().bytes,
      forward_enabled: view.forwardEnabled,
    });
  });

  app.get("/peers", (context) => {
    const peers = view.peers();
    return context.json(context.req.query("format") === "object" ? { peers } : peers);
  });

  app.get("/queues", (context) => context.json({ queues: view.queues() }));

  const methods = new Map<string, string[]>();
  for (const { path, method } of app.routes) {
    if (method !== "ALL") methods.set(path, [...methods.get(path) ?? [], method]);
  }
  app.all("*", (context) => {
    const allowed = methods.get(context.req.path);
    if (allowed === undefined) {
      return problem(context, 404, "not-found", "There is nothing at this path");
    }
    const allow = [...new Set(allowed.includes("GET") ? [...allowed, "HEAD"] : allowed)].join(", ");
    context.header("allow", allow);
    return problem(context, 405, "method-not-allowed", `This path answers to ${allow}`);
  });

  app.onError((error, context) => {
    log.error("A management request failed: {error}", { error });
    return problem(context, 500, "internal-error", "The server failed; its log says why");
  });

  return app;
}

/** What a request says about itself. */
type Credential = "none" | "wrong" | "right";

/** Compares the request's bearer token with `token` in a time that tells nothing about either. */
function tokenCheck(token: string): (authorization: string | undefined) => Credential {
  const expected = digest(token);
  return (authorization) => {
    if (authorization === undefined) return "none";
    const [scheme, presented, ...rest] = authorization.split(" ");
    const isBearer = scheme?.toLowerCase() === "bearer" && rest.length === 0;
    const equal = equalSecret(digest(presented ?? ""), expected);
    return isBearer && equal ? "right" : "wrong";
  };
}

/** Lets only requests with the right token through. */
function requireToken(
  check: (authorization: string | undefined) => Credential,
): MiddlewareHandler {
  return async (context, next) => {
    if (check(context.req.header("authorization")) === "right") return await next();
    context.header("www-authenticate", 'Bearer realm="cairn"');
    return problem(context, 401, "unauthorized", "A valid bearer token is required");
  };
}

function digest(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}
