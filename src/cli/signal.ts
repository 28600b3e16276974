/** `cairn signal`: the signaling server. */

import { startSignal } from "../roles/signal/run_signal.ts";
import type { SignalLimits, SignalOptions } from "../roles/signal/signal_options.ts";
import { startSignalWorkers } from "../roles/signal/signal_workers.ts";
import { busAccess } from "./bus_setting.ts";
import { inheritedSockets } from "./inherited_sockets.ts";
import { OPTIONS } from "./options.ts";
import { giveUp, ProcessLife } from "./process_life.ts";
import type { Settings } from "./settings.ts";
import { keepTokensFromSpans } from "./telemetry.ts";
import { tlsFiles } from "./tls_files.ts";

export async function runSignal(settings: Settings): Promise<number> {
  const life = new ProcessLife();
  const listenFd = inheritedSockets("signal").get("signal");
  // Only here: a home has one signaling server.
  const bus = busAccess(settings);
  const options = { ...signalOptions(settings), ...(bus && { bus }), listenFd };
  giveUp("run", "ffi", "sys", "write");
  const workers = settings.value(OPTIONS.signalWorkers);
  return await life.run(() =>
    workers === 1 ? startSignal(options) : startSignalWorkers(options, workers)
  );
}

/** What the role is started with, under the flags of the settings' command. */
export function signalOptions(settings: Settings): SignalOptions {
  keepTokensFromSpans(settings);
  // The one token variable of cairn up serves both ends of the connection.
  const tokens = settings.command === "up" ? OPTIONS.signalToken : OPTIONS.signalAuthTokens;
  const tls = tlsFiles(settings, OPTIONS.signalTlsCert, OPTIONS.signalTlsKey);
  const allowedOrigins = settings.value(OPTIONS.signalAllowedOrigins);
  const trustedProxies = settings.value(OPTIONS.signalTrustedProxies);
  const metricsAddr = settings.value(OPTIONS.signalMetricsAddr);
  return {
    listenAddr: settings.value(OPTIONS.signalListenAddr),
    authTokens: settings.value(tokens) ?? [],
    allowQueryToken: settings.value(OPTIONS.signalAllowQueryToken),
    drainTime: settings.value(OPTIONS.signalDrainTime),
    limits: signalLimits(settings),
    ...(tls && { tls }),
    ...(allowedOrigins && { allowedOrigins }),
    ...(trustedProxies && { trustedProxies }),
    ...(metricsAddr !== undefined && { metricsAddr }),
  };
}

function signalLimits(settings: Settings): SignalLimits {
  return {
    maxFrameBytes: settings.value(OPTIONS.signalMaxFrame),
    topicsPerConnection: settings.value(OPTIONS.signalTopicsPerConnection),
    connectionsPerTopic: settings.value(OPTIONS.signalConnectionsPerTopic),
    connectionsPerAddress: settings.value(OPTIONS.signalConnectionsPerAddress),
    connectionsPerMinute: settings.value(OPTIONS.signalConnectionRate),
    maxConnections: settings.value(OPTIONS.signalMaxConnections),
    messagesPerSecond: settings.value(OPTIONS.signalMessageRate),
    bytesPerSecond: settings.value(OPTIONS.signalByteRate),
    maxBufferedBytes: settings.value(OPTIONS.signalMaxBuffered),
    pingInterval: settings.value(OPTIONS.signalPingInterval),
    handshakeTimeout: settings.value(OPTIONS.signalHandshakeTimeout),
    errorBudget: settings.value(OPTIONS.signalErrorBudget),
    maxRecords: settings.value(OPTIONS.signalMaxRecords),
    maxRecordBytes: settings.value(OPTIONS.signalMaxRecordBytes),
    recordsPerAddress: settings.value(OPTIONS.signalRecordsPerAddress),
    recordTtl: settings.value(OPTIONS.signalRecordTtl),
  };
}
