import { utf8 } from "../../base/bytes.ts";

/** Shortest PSK that is accepted at all, in UTF-8 bytes. */
export const MIN_PSK_LENGTH = 12;
/** Shortest PSK that is accepted without a warning. */
export const GOOD_PSK_LENGTH = 16;

/** What is to be said about a PSK before it is used. */
export type PskVerdict = "good" | "short" | "refused";

/** Judges a PSK by its length; nobody can measure how it was chosen. */
export function judgePsk(psk: string): PskVerdict {
  const length = utf8(psk).length;
  if (length < MIN_PSK_LENGTH) return "refused";
  return length < GOOD_PSK_LENGTH ? "short" : "good";
}
