import { equalSecret, fromHex, toHex } from "../../base/bytes.ts";
import type { PeerId } from "../crypto/peer_id.ts";
import { hkdfSha256 } from "../crypto/primitives.ts";

/** Bytes of chance in a name, and of what is made from them and a Peer ID. */
export const NONCE_LENGTH = 8;
const TAG_LENGTH = 12;
const INSTANCE = new RegExp(`^[0-9a-f]{${2 * (NONCE_LENGTH + TAG_LENGTH)}}$`);

/**
 * The name of a server's instance: 40 hexadecimal digits, a nonce of 8 bytes and a tag of 12. Who
 * knows the server's Peer ID recognises it, to others it is chance. No clock goes into it: machines
 * without the internet have none that they can trust.
 */
export function instanceName(server: PeerId, nonce: Uint8Array): string {
  return toHex(nonce) + toHex(tagOf(server, nonce));
}

/** Whether `name` is one of `server`, as whoever knows the Peer ID can say. */
export function isInstanceOf(server: PeerId, name: string): boolean {
  if (!INSTANCE.test(name)) return false;
  const bytes = fromHex(name);
  const nonce = bytes.subarray(0, NONCE_LENGTH);
  return equalSecret(bytes.subarray(NONCE_LENGTH), tagOf(server, nonce));
}

function tagOf(server: PeerId, nonce: Uint8Array): Uint8Array {
  return hkdfSha256(server.bytes, nonce, "cairn-mdns-v1", TAG_LENGTH);
}
