import { CairnError } from "../base/errors.ts";
import type { BusAccess } from "../roles/signal/bus_access.ts";
import { OPTIONS } from "./options.ts";
import type { Settings } from "./settings.ts";

/**
 * The bus of a signaling server, if it has one.
 *
 * @throws {CairnError} `invalid-option` when there are credentials and no bus that they are for.
 */
export function busAccess(settings: Settings): BusAccess | undefined {
  const servers = settings.value(OPTIONS.signalBus);
  const credentialsPath = settings.value(OPTIONS.signalBusCredentials);
  if (credentialsPath === undefined) return servers;
  if (servers) return { ...servers, credentialsPath };
  throw new CairnError(
    "invalid-option",
    "There are credentials for a bus (--bus-credentials, CAIRN_SIGNAL_BUS_CREDENTIALS) and no bus: " +
      "name it with --bus (CAIRN_SIGNAL_BUS), or leave them out",
  );
}
