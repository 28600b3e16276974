import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";

/** Answers with an error: a sentence for people and a code for programs. */
export function problem(
  context: Context,
  status: ContentfulStatusCode,
  code: string,
  error: string,
): Response {
  return context.json({ error, code }, status);
}
