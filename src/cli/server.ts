/** `cairn server`: the always-on server. */

import { CairnError } from "../base/errors.ts";
import { loadPathBatches } from "../roles/path/path_sockets.ts";
import { startServer } from "../roles/server/run_server.ts";
import type { ServerOptions } from "../roles/server/server_options.ts";
import { makeServerDataDir } from "./data_dir.ts";
import { inheritedSockets } from "./inherited_sockets.ts";
import { OPTIONS } from "./options.ts";
import { giveUp, ProcessLife } from "./process_life.ts";
import type { Settings } from "./settings.ts";
import { tlsFiles } from "./tls_files.ts";
import { turnCredentials } from "./turn_credentials.ts";

export async function runServer(settings: Settings): Promise<number> {
  const life = new ProcessLife();
  const options = withSockets(serverOptions(settings), inheritedSockets("links", "management"));
  loadPathBatches();
  giveUp("run", "ffi");
  return await life.run(() => startServer(options));
}

/** `options` with the sockets that another process has opened for this one. */
export function withSockets(
  options: ServerOptions,
  sockets: ReadonlyMap<string, number>,
): ServerOptions {
  return {
    ...options,
    listenFd: sockets.get("links"),
    management: { ...options.management, fd: sockets.get("management") },
  };
}

/** @throws {CairnError} `invalid-option` for a folder of backups without a passphrase. */
function backupOptions(settings: Settings): Pick<ServerOptions, "backups"> {
  const folder = settings.value(OPTIONS.backupDir);
  const passphrase = settings.value(OPTIONS.backupPassphrase);
  if (folder === undefined) return {};
  if (passphrase === undefined) {
    throw new CairnError(
      "invalid-option",
      `${settings.howToSet(OPTIONS.backupDir)}: backups are encrypted; give a passphrase in ` +
        "CAIRN_BACKUP_PASSPHRASE, or in the file that CAIRN_BACKUP_PASSPHRASE_FILE names",
    );
  }
  const every = settings.value(OPTIONS.backupEvery);
  const keep = settings.value(OPTIONS.backupKeep);
  return { backups: { folder, passphrase, every, keep } };
}

/** What the role is started with. */
export function serverOptions(settings: Settings): ServerOptions {
  const publicUrl = settings.value(OPTIONS.serverPublicUrl);
  const token = settings.value(OPTIONS.mgmtToken);
  const psk = settings.value(OPTIONS.psk);
  const signalHints = settings.value(OPTIONS.signalPublicUrls);
  const signalAuthToken = settings.value(OPTIONS.signalToken)?.[0];
  const credentials = turnCredentials(settings);
  const kvUrl = settings.value(OPTIONS.kvUrl);
  const storePassphrase = settings.value(OPTIONS.storePassphrase);
  const tls = tlsFiles(settings, OPTIONS.serverTlsCert, OPTIONS.serverTlsKey);
  return {
    storagePath: makeServerDataDir(settings),
    listenAddr: settings.value(OPTIONS.serverListenAddr),
    ...(publicUrl !== undefined && { publicUrl }),
    management: {
      enabled: settings.value(OPTIONS.mgmtEnabled),
      bind: settings.value(OPTIONS.mgmtBind),
      port: settings.value(OPTIONS.mgmtPort),
      hosts: settings.value(OPTIONS.mgmtHosts) ?? [],
      metricsPerPeer: settings.value(OPTIONS.mgmtMetricsPerPeer),
      ...(token !== undefined && { token }),
    },
    ...(psk !== undefined && { psk }),
    approvedPeers: settings.value(OPTIONS.approvedPeers) ?? [],
    forward: {
      enabled: settings.value(OPTIONS.forwardEnabled),
      maxPerPeer: settings.value(OPTIONS.forwardMaxPerPeer),
      maxAgeMs: settings.value(OPTIONS.forwardMaxAge),
      maxTotalBytes: settings.value(OPTIONS.forwardMaxTotal),
    },
    roster: settings.value(OPTIONS.roster),
    relayPeerRate: settings.value(OPTIONS.relayPeerRate),
    signalServers: settings.value(OPTIONS.signalServers) ?? [],
    ...(signalHints && { signalHints }),
    ...(signalAuthToken !== undefined && { signalAuthToken }),
    mdns: settings.value(OPTIONS.mdns),
    turnServers: settings.value(OPTIONS.turnServers) ?? [],
    ...(credentials && { turnCredentials: credentials }),
    relayCapacity: settings.value(OPTIONS.relayCapacity),
    ...(kvUrl !== undefined && { kvUrl }),
    ...(tls && { tls }),
    ...(storePassphrase !== undefined && { storePassphrase }),
    ...backupOptions(settings),
  };
}
