/** The verbs of `cairn server`, which ask the running server over its management API. */

import { CairnError } from "../base/errors.ts";
import { HealthDetails } from "../roles/server/api/shapes.ts";
import { ManagementClient } from "./management_client.ts";
import { OPTIONS } from "./options.ts";
import type { Settings } from "./settings.ts";
import { printLine } from "./standard_output.ts";

const Identified = HealthDetails.pick({ peer_id: true });

/** `cairn server id`: prints the Peer ID of the running server. */
export async function serverId(settings: Settings): Promise<number> {
  const { peer_id: peerId } = await new ManagementClient(settings).ask("/health", Identified);
  await printLine(peerId);
  return 0;
}

/** `cairn server pair`: will ask the running server for a PIN, a link or a QR code. */
export function serverPair(settings: Settings): Promise<number> {
  const asked = [OPTIONS.makePin, OPTIONS.makeLink, OPTIONS.makeQr]
    .filter((row) => settings.value(row) === true);
  if (asked.length !== 1) {
    throw new CairnError("invalid-option", "Say one of --pin, --link and --qr");
  }
  throw new CairnError(
    "refused",
    `Pairing by ${asked[0]?.flag} is not built yet; set CAIRN_PSK on the server and pair with ` +
      "cairn peer pair --psk KEY --peer ID",
  );
}
