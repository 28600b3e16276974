import { CairnError, ProtocolError } from "../base/errors.ts";

/** SQLite's words, Deno KV's, and those of our own records and their codecs. */
export function isDamage(error: unknown): boolean {
  if (!(error instanceof Error) || error instanceof CairnError) return false;
  return error instanceof ProtocolError ||
    /malformed|not a database|could not deserialize|is damaged/.test(error.message);
}
