import { fromHex, toHex } from "../base/bytes.ts";

const TEXT_FORM = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/**
 * A UUIDv7 (RFC 9562, section 5.7) from Unix milliseconds and 10 random bytes: 16 bytes that sort
 * by time.
 */
export function messageId(now: number, random: Uint8Array): Uint8Array<ArrayBuffer> {
  if (random.length !== 10) throw new RangeError(`Need 10 random bytes: got ${random.length}`);
  const id = new Uint8Array(16);
  let milliseconds = Math.max(0, Math.floor(now));
  for (let i = 5; i >= 0; i--) {
    id[i] = milliseconds % 256;
    milliseconds = Math.floor(milliseconds / 256);
  }
  id.set(random, 6);
  id[6] = id[6]! & 0x0f | 0x70;
  id[8] = id[8]! & 0x3f | 0x80;
  return id;
}

/** The text form of RFC 9562, section 4, in lower case. `id` has 16 bytes. */
export function formatUuid(id: Uint8Array): string {
  const hex = toHex(id);
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)]
    .join("-");
}

/** Reads the text form in either case. Returns `undefined` when `text` is not a UUID. */
export function parseUuid(text: string): Uint8Array<ArrayBuffer> | undefined {
  return TEXT_FORM.test(text) ? fromHex(text.replaceAll("-", "")) : undefined;
}
