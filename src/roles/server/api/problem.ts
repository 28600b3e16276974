import { getLogger } from "@logtape/logtape";
import type { Context } from "hono";
import { HTTPException } from "hono/http-exception";
import { CairnError, type CairnErrorCode } from "../../../base/errors.ts";
import { problem, type ProblemStatus } from "../../problem.ts";

const log = getLogger(["cairn", "server", "api"]);

/** Ends a request: a sentence for people and a code for programs. */
export class Refusal extends Error {
  override readonly name = "Refusal";

  constructor(readonly status: ProblemStatus, readonly code: string, message: string) {
    super(message);
  }
}

const STATUS_OF: Partial<Record<CairnErrorCode, ProblemStatus>> = {
  "refused": 409,
  "invalid-option": 422,
  "not-paired": 404,
  "too-large": 413,
  "closed": 503,
  "disk-full": 507,
};

/** Answers for what a handler threw; what nobody foresaw goes to the log and not to the client. */
export function problemOf(error: Error, context: Context): Response {
  if (error instanceof Refusal) return problem(context, error.status, error.code, error.message);
  if (error instanceof CairnError) {
    const status = STATUS_OF[error.code];
    if (status !== undefined) return problem(context, status, error.code, error.message);
  }
  if (error instanceof HTTPException && error.status < 500) {
    return problem(context, 422, "invalid-request", "The body is not JSON");
  }
  if (context.req.raw.signal.aborted || ("code" in error && error.code === "ECONNRESET")) {
    return problem(context, 400, "aborted", "The request ended before it was complete");
  }
  log.error("A management request failed: {error}", { error });
  return problem(context, 500, "internal-error", "The server failed; its log says why");
}
