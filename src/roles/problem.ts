import type { Context } from "hono";

/** The statuses that an API answers a request with when it does not do it. */
export type ProblemStatus =
  | 400
  | 401
  | 403
  | 404
  | 405
  | 409
  | 413
  | 415
  | 422
  | 429
  | 500
  | 503
  | 507;

/** Answers with an error: a sentence for people and a code for programs. */
export function problem(
  context: Context,
  status: ProblemStatus,
  code: string,
  error: string,
): Response {
  return context.json({ error, code }, status);
}
