import { OpenAPIHono, type RouteConfig, type z } from "@hono/zod-openapi";
import type { HttpBindings } from "@hono/node-server";
import type { Context, MiddlewareHandler } from "hono";
import type { PeerId } from "../../../protocol/crypto/peer_id.ts";
import type { AuditActor } from "../audit_log.ts";
import type { ManagedServer } from "./managed_server.ts";
import { problem, type ProblemStatus } from "../../problem.ts";
import { Refusal } from "./problem.ts";
import { Problem } from "./shapes.ts";

/** How the verbs of `cairn server` call themselves, followed by a version. */
export const CLI_AGENT = "cairn-cli/";

/** What the HTTP server hands to a handler beside the request; nothing when there is none. */
export interface ApiEnv {
  Bindings: Partial<HttpBindings>;
}

/** A part of the management API. */
export type Api = OpenAPIHono<ApiEnv>;

const WHY: Readonly<Record<ProblemStatus, string>> = {
  400: "The request cannot be read",
  401: "No valid bearer token",
  403: "The host name is not allowed",
  404: "There is no such thing",
  405: "The path does not take this method",
  409: "It cannot be done as things are",
  413: "The body is too large",
  415: "The body is not JSON",
  422: "A value is not right",
  429: "Too many wrong tokens from this address",
  500: "The server failed",
  503: "The server has enough of these, or is about to end",
  507: "The disk is full",
};

/** An empty API whose refusals have the one shape that all have. */
export function newApi(): Api {
  return new OpenAPIHono<ApiEnv>({
    defaultHook: (result, context) => {
      if (result.success) return;
      const [issue] = result.error.issues;
      const where = issue?.path.join(".");
      const what = issue?.message ?? "The request is not right";
      return problem(context, 422, "invalid-request", where ? `${where}: ${what}` : what);
    },
  });
}

/** An answer of JSON. */
export function json<Schema extends z.ZodType>(schema: Schema, description: string) {
  return { description, content: { "application/json": { schema } } };
}

/** A body of JSON, which must be there. */
export function body<Schema extends z.ZodType>(schema: Schema) {
  return { body: { required: true, content: { "application/json": { schema } } } };
}

/** For routes with a body. */
export const requireJson: MiddlewareHandler = async (context, next) => {
  const type = context.req.header("content-type")?.split(";", 1)[0]?.trim().toLowerCase();
  if (type === "application/json") return await next();
  throw new Refusal(
    415,
    "unsupported-media-type",
    "Send the body as JSON, with the header Content-Type: application/json",
  );
};

/** For routes that do something at a GET: HEAD would do it for nothing. */
export const refuseHead: MiddlewareHandler = async (context, next) => {
  if (context.req.method !== "HEAD") return await next();
  context.header("allow", "GET");
  throw new Refusal(405, "method-not-allowed", "This path answers to GET");
};

/** The refusals of a route, beside those that every route has, for the document. */
export function refusals(...statuses: ProblemStatus[]): RouteConfig["responses"] {
  return Object.fromEntries(
    [401 as const, 403 as const, 429 as const, ...statuses].map((status) => [
      status,
      json(Problem, WHY[status]),
    ]),
  );
}

/**
 * Makes a change that the audit log knows of before it is made; a change that fails is followed by
 * a record that says so.
 */
export async function audited<T>(
  server: Pick<ManagedServer, "audit">,
  context: Context,
  action: string,
  peerId: PeerId | undefined,
  change: () => T | Promise<T>,
  detail?: string,
): Promise<T> {
  const actor = actorOf(context);
  await server.audit.record({ actor, action, peerId, detail });
  try {
    return await change();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    await server.audit.record({ actor, action: `${action}.failed`, peerId, detail: reason });
    throw error;
  }
}

function actorOf(context: Context): AuditActor {
  return context.req.header("user-agent")?.startsWith(CLI_AGENT) ? "cli" : "token";
}
