/** `cairn relay`: the TURN relay. */

import { systemHost } from "../base/host.ts";
import type { DatagramSockets } from "../roles/relay/datagram_sockets.ts";
import type { RelayOptions, RelayPolicyOptions } from "../roles/relay/relay_options.ts";
import { startRelay } from "../roles/relay/run_relay.ts";
import { openUdpEngine } from "../roles/relay/udp_engine.ts";
import { RelayThreads } from "../roles/relay/workers/relay_threads.ts";
import { OPTIONS } from "./options.ts";
import { giveUp, ProcessLife } from "./process_life.ts";
import type { Settings } from "./settings.ts";
import { tlsFiles } from "./tls_files.ts";
import { MOST_WORKERS_UNASKED } from "./worker_count.ts";

export async function runRelay(settings: Settings): Promise<number> {
  const life = new ProcessLife();
  const options = relayOptions(settings);
  giveUp("run", "write");
  return await life.run(async () => {
    const engine = await relayEngine(settings);
    giveUp("ffi");
    return await startRelay(options, systemHost, engine.sockets, engine.threads);
  });
}

/** What moves the relay's packets. FFI is not needed any more afterwards. */
export interface RelayEngine {
  readonly sockets: DatagramSockets;
  readonly threads: RelayThreads | undefined;
}

export async function relayEngine(settings: Settings): Promise<RelayEngine> {
  const sockets = openUdpEngine(settings.value(OPTIONS.relayUdpEngine));
  const cores = Math.min(navigator.hardwareConcurrency, MOST_WORKERS_UNASKED);
  const workers = settings.value(OPTIONS.relayWorkers) ?? cores;
  return { sockets, threads: await RelayThreads.open(sockets, workers) };
}

/** What the role is started with. */
export function relayOptions(settings: Settings): RelayOptions {
  const tls = tlsFiles(settings, OPTIONS.relayTlsCert, OPTIONS.relayTlsKey);
  const tcpAddr = settings.value(OPTIONS.relayTcpAddr);
  const metricsAddr = settings.value(OPTIONS.relayMetricsAddr);
  const turnUris = settings.value(OPTIONS.relayUris);
  const externalIps = settings.value(OPTIONS.relayExternalIp);
  const relayIps = settings.value(OPTIONS.relayIp);
  const reread = () => policyOptions(settings);
  const policy = reread();
  return {
    ...policy,
    reread,
    listenAddr: settings.value(OPTIONS.relayListenAddr),
    tlsAddr: settings.value(OPTIONS.relayTlsAddr),
    relayPorts: settings.value(OPTIONS.relayPortRange),
    realm: settings.value(OPTIONS.relayRealm),
    userQuota: settings.value(OPTIONS.relayUserQuota),
    maxBitsPerSecond: settings.value(OPTIONS.relayMaxBps),
    legacyChannels: settings.value(OPTIONS.relayLegacyChannels),
    strictExpiry: settings.value(OPTIONS.relayStrictExpiry),
    drainTimeout: settings.value(OPTIONS.relayDrainTimeout),
    ...(tls && { tls }),
    ...(tcpAddr !== undefined && { tcpAddr }),
    // Nobody is to find its port taken for an API that has nothing to hand out.
    ...(policy.restSecrets.length > 0 && { apiAddr: settings.value(OPTIONS.relayApiAddr) }),
    ...(metricsAddr !== undefined && { metricsAddr }),
    ...(turnUris && { turnUris }),
    ...(externalIps && { externalIps }),
    ...(relayIps && { relayIps }),
  };
}

/** What is read again at SIGHUP; of it only files can have changed. */
function policyOptions(settings: Settings): RelayPolicyOptions {
  const apiToken = settings.value(OPTIONS.relayApiToken);
  return {
    users: settings.value(OPTIONS.relayCredentials) ?? [],
    restSecrets: settings.value(OPTIONS.relayRestSecret) ?? [],
    allowPeers: settings.value(OPTIONS.relayAllowPeers) ?? [],
    denyPeers: settings.value(OPTIONS.relayDenyPeers) ?? [],
    ...(apiToken !== undefined && { apiToken }),
  };
}
