import { resolve } from "node:path";
import { getLogger } from "@logtape/logtape";
import { CairnError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import { type DataFolder, makeFolder, openDataFolder } from "../data_folder.ts";
import { openRemoteStore } from "../remote_store.ts";
import { parseStoreLocation } from "../store_location.ts";
import { statOf, STORE_FILE } from "../store_record.ts";
import { SERVER_MIGRATIONS } from "./mailbox_migration.ts";
import type { ServerOptions } from "./server_options.ts";

const log = getLogger(["cairn", "server"]);

/**
 * Opens the store of a server: in its data folder, or where `kvUrl` says.
 *
 * @throws {CairnError} as `openDataFolder` and `openRemoteStore` do.
 */
export async function openServerStore(
  { storagePath, kvUrl, storePassphrase: passphrase }: Pick<
    ServerOptions,
    "storagePath" | "kvUrl" | "storePassphrase"
  >,
  host: Host,
): Promise<DataFolder> {
  const kind = "server";
  const location = kvUrl === undefined
    ? { kind: "folder" as const, path: storagePath }
    : parseStoreLocation(kvUrl);
  if (location === undefined) {
    throw new CairnError(
      "invalid-option",
      "The place of the store (CAIRN_KV_URL) is neither a folder nor an https:// address; " +
        "http:// is only for this machine",
    );
  }
  const isElsewhere = location.kind === "remote" || location.path !== resolve(storagePath);
  if (isElsewhere && await statOf(`${storagePath}/${STORE_FILE}`)) {
    log.warn("The store in {storagePath} is not used: CAIRN_KV_URL names another one", {
      storagePath,
    });
  }
  if (location.kind === "remote") {
    if (passphrase !== undefined) {
      throw new CairnError(
        "invalid-option",
        "A store that is kept elsewhere (CAIRN_KV_URL) cannot be encrypted: leave " +
          "CAIRN_STORE_PASSPHRASE out",
      );
    }
    return await openRemoteStore({
      url: location.url,
      folder: storagePath,
      kind,
      host,
      migrations: SERVER_MIGRATIONS,
    });
  }
  await makeFolder(storagePath);
  return await openDataFolder({
    path: location.path,
    kind,
    host,
    migrations: SERVER_MIGRATIONS,
    passphrase,
  });
}
