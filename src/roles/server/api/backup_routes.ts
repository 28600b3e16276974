import { createRoute, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { plainAddress } from "../../signal/client_address.ts";
import type { ManagedServer } from "./managed_server.ts";
import { Refusal } from "./problem.ts";
import { type Api, type ApiEnv, audited, body, newApi, refusals, requireJson } from "./route.ts";

/** `POST /backup`. */
export const BackupRequest = z.strictObject({
  passphrase: z.string().min(1).max(1024).openapi({
    description: "At least 12 characters; nobody can open the backup without it",
  }),
}).openapi("BackupRequest");

const take = createRoute({
  method: "post",
  path: "/backup",
  summary: "A backup of everything, encrypted with a passphrase",
  description: "A file of the format age, which `cairn server restore` takes: identity, pairings " +
    "and messages as they are at this moment. Over HTTP without TLS only from this machine.",
  tags: ["server"],
  middleware: requireJson,
  request: body(BackupRequest),
  responses: {
    200: {
      description: "It is complete when the answer is",
      content: { "application/octet-stream": { schema: { type: "string", format: "binary" } } },
    },
    ...refusals(409, 413, 415, 422, 503, 507),
  },
});

/** A copy of the server, for those who may have one. */
export function backupRoutes(server: ManagedServer): Api {
  const api = newApi();
  api.openapi(take, async (context) => {
    const { backups } = server;
    if (!backups) {
      throw new Refusal(
        409,
        "no-backups",
        "The store of this server is kept elsewhere, where it is backed up: its identity is in it",
      );
    }
    requirePrivateWay(context);
    const { passphrase } = context.req.valid("json");
    const open = () => backups.open(passphrase);
    const stream = await audited(server, context, "backup.take", undefined, open);
    return context.body(stream, 200, { "content-type": "application/octet-stream" });
  });
  return api;
}

/** The passphrase comes this way. @throws {Refusal} 409 where others could read along. */
function requirePrivateWay(context: Context<ApiEnv>): void {
  const socket = context.env?.incoming?.socket;
  if (socket === undefined || "encrypted" in socket) return;
  const address = plainAddress(socket.remoteAddress ?? "");
  if (address === "::1" || address?.startsWith("127.")) return;
  throw new Refusal(
    409,
    "not-private",
    "A backup is not sent over a network without TLS: run the command on the server's machine, or " +
      "set CAIRN_SERVER_TLS_CERT and CAIRN_SERVER_TLS_KEY",
  );
}
