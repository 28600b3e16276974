import type { Host } from "../../base/host.ts";
import { openDataFolder } from "../data_folder.ts";
import { explainStoreFailure } from "../store_record.ts";
import { NodeStore } from "./node_store.ts";
import { PEER_MIGRATIONS } from "./peer_migration.ts";

/**
 * Opens a peer's data folder and loads what is in it.
 *
 * @throws {CairnError} when the folder is in use, damaged or not writable.
 */
export async function openNodeStore(
  path: string,
  host: Host,
  passphrase?: string,
): Promise<NodeStore> {
  const folder = await openDataFolder({
    path,
    kind: "peer",
    host,
    migrations: PEER_MIGRATIONS,
    passphrase,
  });
  try {
    return await NodeStore.load(folder, host);
  } catch (error) {
    throw explainStoreFailure(path, error);
  }
}
