import { toHex } from "../base/bytes.ts";

/** The name of all of a key but its last part. */
export function groupOf(key: Deno.KvKey): string {
  return nameOfAll(key.slice(0, -1));
}

/** A text that no other key has. */
export function nameOfAll(key: Deno.KvKey): string {
  let name = "";
  for (const part of key) name += nameOf(part);
  return name;
}

/** Sorts as Deno KV sorts keys, as far as numbers are not negative. */
export function nameOf(part: Deno.KvKeyPart | undefined): string {
  if (part instanceof Uint8Array) return `b${toHex(part)}/`;
  return typeof part === "number" ? `n${String(part).padStart(16, "0")}/` : `s${String(part)}/`;
}
