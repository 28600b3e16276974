/** `cairn up`: signal and server in one process, for a small home. */

import { getLogger } from "@logtape/logtape";
import { CairnError } from "../base/errors.ts";
import { startServer } from "../roles/server/run_server.ts";
import type { ServerOptions } from "../roles/server/server_options.ts";
import { startSignal } from "../roles/signal/run_signal.ts";
import { OPTIONS } from "./options.ts";
import { giveUp, ProcessLife, type RunningRole } from "./process_life.ts";
import { serverOptions } from "./server.ts";
import type { Settings } from "./settings.ts";
import { signalOptions } from "./signal.ts";

const logger = getLogger(["cairn", "cli"]);

export async function runUp(settings: Settings): Promise<number> {
  const life = new ProcessLife();
  const signal = signalOptions(settings);
  const server = serverOptions(settings);
  const isTold = settings.isSet(OPTIONS.signalServers);
  if (signal.tls !== undefined && !isTold) {
    throw new CairnError(
      "invalid-option",
      `With TLS on the signaling server, ${
        settings.howToSet(OPTIONS.signalServers)
      } must name it ` +
        "as its certificate does, as in wss://signal.example.com:8443",
    );
  }
  giveUp("run", "ffi");
  logger.info("The relay is a process of its own: cairn relay");
  return await life.run(() => startBoth(signal, server, isTold));
}

async function startBoth(
  signalOptions: Parameters<typeof startSignal>[0],
  serverOptions: ServerOptions,
  isTold: boolean,
): Promise<RunningRole> {
  const signal = await startSignal(signalOptions);
  try {
    const { host, port } = signal.address;
    const own = `ws://${loopbackOf(host)}:${port}`;
    const server = await startServer(
      isTold ? serverOptions : { ...serverOptions, signalServers: [own] },
    );
    return {
      closed: server.closed,
      reload() {
        signal.reload();
        server.reload();
      },
      async close() {
        await server.close();
        await signal.close();
      },
    };
  } catch (error) {
    await signal.close();
    throw error;
  }
}

function loopbackOf(host: string): string {
  if (host === "0.0.0.0") return "127.0.0.1";
  if (host === "::") return "[::1]";
  return host.includes(":") ? `[${host}]` : host;
}
