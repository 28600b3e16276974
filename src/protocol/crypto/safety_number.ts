import { concatBytes, u16 } from "../../base/bytes.ts";
import type { PeerId } from "./peer_id.ts";
import { sha512 } from "./primitives.ts";

const VERSION = u16(0);
const ITERATIONS = 5_200;
const GROUPS = 6;
const GROUP_BYTES = 5;
const GROUP_DIGITS = 5;

/**
 * The number that two people compare to make sure that each has pinned the other's Peer ID: 60
 * digits in twelve groups, the same on both sides. It is computed as Signal's numeric fingerprint
 * is, with the Peer ID, which commits to the identity key, as key and as name.
 */
export function safetyNumber(one: PeerId, other: PeerId): string {
  return [fingerprint(one), fingerprint(other)].sort().join(" ");
}

/** Half of a safety number: 30 digits in six groups. */
function fingerprint({ bytes }: PeerId): string {
  let hash: Uint8Array = concatBytes(VERSION, bytes, bytes);
  for (let round = 0; round < ITERATIONS; round++) hash = sha512(hash, bytes);
  return Array.from({ length: GROUPS }, (_, index) => {
    const chunk = hash.subarray(index * GROUP_BYTES, (index + 1) * GROUP_BYTES);
    const value = chunk.reduce((sum, byte) => sum * 256 + byte, 0);
    return String(value % 10 ** GROUP_DIGITS).padStart(GROUP_DIGITS, "0");
  }).join(" ");
}
