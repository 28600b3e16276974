import { getLogger } from "@logtape/logtape";
import { formatAddressPort } from "../../base/address.ts";
import { toHex, utf8 } from "../../base/bytes.ts";
import { sha256 } from "../../protocol/crypto/primitives.ts";
import type { SessionRecord } from "../../protocol/turn/allocation.ts";

const log = getLogger(["cairn", "relay"]);

/** Enough to tell users apart. */
const USER_HASH_BYTES = 6;

/** One line for an allocation that ended. Users are named by a hash of what they call themselves. */
export function logSession(session: SessionRecord): void {
  log.info(
    "Allocation of {client} over {transport} ended after {seconds} s ({reason}): user {user}, " +
      "{bytesToPeers} bytes to peers, {bytesToClient} bytes to the client",
    {
      client: formatAddressPort(session.client.endpoint),
      transport: session.client.transport,
      user: toHex(sha256(utf8(session.user)).subarray(0, USER_HASH_BYTES)),
      relayed: session.relayed.join(", "),
      seconds: Math.round(session.milliseconds / 1000),
      reason: session.reason,
      packetsToPeers: session.packetsToPeers,
      bytesToPeers: session.bytesToPeers,
      packetsToClient: session.packetsToClient,
      bytesToClient: session.bytesToClient,
    },
  );
}
