import { toHex, u64 } from "../../base/bytes.ts";
import { hkdfSha256 } from "../crypto/primitives.ts";
import type { PeerId } from "../crypto/peer_id.ts";

/** Seconds in a rendezvous epoch. */
const EPOCH = 86_400n;
/** Half of the overlap of two epochs (3,600 s) plus the clock tolerance (300 s). */
const WINDOW = 2_100n;
const MODULUS = 1n << 64n;

/** Topic on which anyone who knows `acceptor` can ask it for a pairing link. */
export function contactTopic(acceptor: PeerId): string {
  return toHex(hkdfSha256(acceptor.bytes, undefined, "cairn-contact-rendezvous-v1", 32));
}

/**
 * Topic on which the acceptor of a PIN is asked for a link. `credentialId` is the PIN's first three
 * symbols: a topic of the whole PIN would let the signaling server's operator find it offline.
 */
export function pinTopic(credentialId: Uint8Array): string {
  return toHex(hkdfSha256(credentialId, undefined, "cairn-pin-rendezvous-v1", 32));
}

/** Topic on which the acceptor of a pairing link (or QR code) is asked for a link. */
export function invitationTopic(credential: Uint8Array, nonce: Uint8Array): string {
  return toHex(hkdfSha256(credential, nonce, "cairn-pairing-rendezvous-v1", 32));
}

/**
 * Topics on which two paired peers meet at `now` (Unix seconds): the current epoch's first, then a
 * neighbour's near either end of the epoch. The epochs of each pair are shifted by its own secret,
 * so that not all topics of a server change at the same moment.
 */
export function rendezvousTopics(pairingSecret: Uint8Array, now: number): string[] {
  const offset = readU64(hkdfSha256(pairingSecret, undefined, "cairn-epoch-offset-v1", 8));
  const shifted = (BigInt(Math.floor(now)) + offset) % MODULUS;
  const epoch = shifted / EPOCH;
  const position = shifted % EPOCH;
  const epochs = [epoch];
  if (position < WINDOW) epochs.push(epoch - 1n);
  if (position > EPOCH - WINDOW) epochs.push(epoch + 1n);
  return epochs.map((number) => toHex(rendezvousId(pairingSecret, number)));
}

/** The 32-byte rendezvous id of one epoch. */
export function rendezvousId(pairingSecret: Uint8Array, epoch: bigint): Uint8Array {
  return hkdfSha256(pairingSecret, u64(epoch), "cairn-rendezvous-v1", 32);
}

/**
 * Servers in the order in which an initiator tries them for `topic` (rendezvous hashing, Thaler and
 * Ravishankar 1998): all peers that know the same servers agree, and a lost one moves only its own.
 */
export function rankServers(
  servers: readonly string[],
  topic: string,
  digest: (text: string) => string,
): string[] {
  return servers
    .map((server) => ({ server, weight: digest(`${server} ${topic}`) }))
    .sort((a, b) => a.weight < b.weight ? 1 : a.weight > b.weight ? -1 : 0)
    .map(({ server }) => server);
}

function readU64(bytes: Uint8Array): bigint {
  return BigInt(`0x${toHex(bytes)}`);
}
