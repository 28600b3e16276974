/** `cairn up`: signal, relay and server in one process, for a small home. */

import { CairnError } from "../base/errors.ts";
import { systemHost } from "../base/host.ts";
import { makeFolder } from "../roles/data_folder.ts";
import type { ListenAddress } from "../roles/http.ts";
import { loadPathBatches } from "../roles/path/path_sockets.ts";
import type { RelayOptions } from "../roles/relay/relay_options.ts";
import { type RunningRelay, startRelay } from "../roles/relay/run_relay.ts";
import { keepSecret } from "../roles/secret_file.ts";
import { startServer } from "../roles/server/run_server.ts";
import type { RunningServer, ServerOptions } from "../roles/server/server_options.ts";
import { type RunningSignal, startSignal } from "../roles/signal/run_signal.ts";
import { namedForUp } from "./flags_of_up.ts";
import { inheritedSockets } from "./inherited_sockets.ts";
import { OPTIONS } from "./options.ts";
import { giveUp, ProcessLife, type RunningRole } from "./process_life.ts";
import { loopbackOf, reachableUrl } from "./reachable.ts";
import { type RelayEngine, relayEngine, relayOptions } from "./relay.ts";
import { serverOptions, withSockets } from "./server.ts";
import type { Settings } from "./settings.ts";
import { signalOptions } from "./signal.ts";
import { welcome } from "./up_welcome.ts";

const RELAY_SECRET_FILE = "relay_secret";

/** The three roles as they run. */
export interface RunningHome {
  readonly signal: RunningSignal;
  /** `undefined` when it is switched off. */
  readonly relay: RunningRelay | undefined;
  readonly server: RunningServer;
}

export async function runUp(settings: Settings): Promise<number> {
  const life = new ProcessLife();
  requireSignalName(settings);
  const sockets = inheritedSockets("signal", "links", "management");
  const options = {
    signal: { ...signalOptions(settings), listenFd: sockets.get("signal") },
    relay: settings.value(OPTIONS.relayEnabled) ? relayOptions(settings) : undefined,
    server: withSockets(serverOptions(settings), sockets),
  };
  const isTold = {
    signal: settings.isSet(OPTIONS.signalServers),
    relay: settings.isSet(OPTIONS.turnServers),
    relayApi: settings.isSet(OPTIONS.relayApiAddr),
  };
  const engine = options.relay && await relayEngine(settings);
  if (settings.value(OPTIONS.relayUdpEngine) !== "portable") loadPathBatches();
  giveUp("run", "ffi");
  return await life.run(async () => {
    await using started = new AsyncDisposableStack();
    const home = await startHome({ ...options, engine }, isTold, started);
    await welcome(settings, home, options.server.storagePath);
    const running = started.move();
    const ends = [home.server.closed, ...(home.relay ? [home.relay.closed] : [])];
    return {
      closed: Promise.race(ends),
      reload() {
        home.signal.reload();
        home.relay?.reload();
        home.server.reload();
      },
      close: () => running.disposeAsync(),
    } satisfies RunningRole;
  });
}

/** The server finds the signaling server by itself, unless a certificate has a name to be met by. */
function requireSignalName(settings: Settings): void {
  if (!settings.isSet(OPTIONS.signalTlsCert) || settings.isSet(OPTIONS.signalServers)) return;
  throw new CairnError(
    "invalid-option",
    `With TLS on the signaling server, ${settings.howToSet(OPTIONS.signalServers)} must name it ` +
      "as its certificate does, as in wss://signal.example.com:8443",
  );
}

interface HomeOptions {
  readonly signal: Parameters<typeof startSignal>[0];
  readonly relay: RelayOptions | undefined;
  readonly engine: RelayEngine | undefined;
  readonly server: ServerOptions;
}

async function startHome(
  options: HomeOptions,
  /** What the operator's own settings say, so that it is not worked out. */
  isTold: { readonly signal: boolean; readonly relay: boolean; readonly relayApi: boolean },
  started: AsyncDisposableStack,
): Promise<RunningHome> {
  const signal = await namedForUp(() => startSignal(options.signal));
  started.defer(() => signal.close());
  const own = options.relay && withSecret(options.relay, await relaySecret(options.server));
  const relay = own &&
    await namedForUp(() =>
      startRelay(
        isTold.relayApi ? own : withoutApi(own),
        systemHost,
        options.engine?.sockets,
        options.engine?.threads,
      )
    );
  if (relay) started.defer(() => relay.close());
  const server = await namedForUp(() =>
    startServer({
      ...options.server,
      ...(!isTold.signal && {
        signalServers: [`ws://${loopbackOf(signal.address.host)}:${signal.address.port}`],
        signalHints: options.server.signalHints ??
          [signalHint(signal.address, options.server.publicUrl)],
      }),
      ...(relay && !isTold.relay && {
        turnServers: relay.uris,
        turnCredentials: { secret: own.restSecrets[0] },
      }),
    })
  );
  started.defer(() => server.close());
  return { signal, relay, server };
}

/** The operator's secret, else one that is made once and kept in the data folder. */
async function relaySecret({ storagePath, turnCredentials }: ServerOptions): Promise<string> {
  if (turnCredentials && "secret" in turnCredentials) return turnCredentials.secret;
  await makeFolder(storagePath);
  const path = `${storagePath}/${RELAY_SECRET_FILE}`;
  try {
    return (await keepSecret(path, systemHost)).secret;
  } catch (cause) {
    throw new CairnError(
      "data-folder-unusable",
      `The relay's secret in ${path} cannot be read or written: check who owns the file`,
      { cause },
    );
  }
}

/** The relay with the secrets that the operator gave to it, or else with the home's own. */
function withSecret(
  options: RelayOptions,
  secret: string,
): RelayOptions & { readonly restSecrets: readonly [string, ...string[]] } {
  const { reread } = options;
  const [first = secret, ...others] = options.restSecrets;
  return {
    ...options,
    restSecrets: [first, ...others],
    ...(reread && {
      reread: () => {
        const policy = reread();
        return policy.restSecrets.length > 0 ? policy : { ...policy, restSecrets: [secret] };
      },
    }),
  };
}

/** In one home nobody needs the API for credentials, and many a program listens on its port. */
function withoutApi({ apiAddr: _, ...options }: RelayOptions): RelayOptions {
  return options;
}

/** A server that is reached by a name has its signaling server beside it. */
function signalHint(address: ListenAddress, publicUrl: string | undefined): string {
  const name = publicUrl?.startsWith("ws:") ? URL.parse(publicUrl)?.hostname : undefined;
  return name === undefined ? reachableUrl("ws", address) : `ws://${name}:${address.port}`;
}
