/** `cairn signal`: the signaling server. */

import { startSignal } from "../roles/signal/run_signal.ts";
import { OPTIONS } from "./options.ts";
import { giveUp, ProcessLife } from "./process_life.ts";
import type { Settings } from "./settings.ts";
import { tlsFiles } from "./tls_files.ts";

export async function runSignal(settings: Settings): Promise<number> {
  const life = new ProcessLife();
  const options = signalOptions(settings);
  giveUp("run", "ffi", "sys", "write");
  return await life.run(() => startSignal(options));
}

/** What the role is started with, under the flags of the settings' command. */
export function signalOptions(settings: Settings): Parameters<typeof startSignal>[0] {
  // The one token variable of cairn up serves both ends of the connection.
  const tokens = settings.command === "up" ? OPTIONS.signalToken : OPTIONS.signalAuthTokens;
  const tls = tlsFiles(settings, OPTIONS.signalTlsCert, OPTIONS.signalTlsKey);
  return {
    listenAddr: settings.value(OPTIONS.signalListenAddr),
    authTokens: settings.value(tokens) ?? [],
    ...(tls && { tls }),
  };
}
