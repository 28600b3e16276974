import { getRequestListener } from "@hono/node-server";
import { getLogger } from "@logtape/logtape";
import { formatAddressPort, formatIp } from "../../base/address.ts";
import { CairnError } from "../../base/errors.ts";
import { type Host, systemHost } from "../../base/host.ts";
import { RelayUsers } from "../../protocol/turn/credentials.ts";
import type { PeerPolicy } from "../../protocol/turn/peer_policy.ts";
import { DEFAULT_TURN_SETTINGS } from "../../protocol/turn/settings.ts";
import { TurnServer } from "../../protocol/turn/turn_server.ts";
import { CertificateWatch } from "../certificate_watch.ts";
import { serveMetrics } from "../health_pages.ts";
import { formatListenAddress, listen, type ListenAddress, parseListenAddress } from "../http.ts";
import { createCredentialsApi } from "./credentials_api.ts";
import { type DatagramSockets, DenoDatagramSockets } from "./datagram_sockets.ts";
import { machineAddresses, relayAddresses } from "./relay_addresses.ts";
import { DEFAULT_RELAY_PORTS, peerPolicy } from "./relay_gate.ts";
import { RelayMetrics } from "./relay_metrics.ts";
import {
  RELAY_LIMITS,
  type RelayLimits,
  type RelayOptions,
  type RelayPolicyOptions,
} from "./relay_options.ts";
import { logSession } from "./session_log.ts";
import { StreamConnections } from "./stream_connections.ts";
import { listenTcp, listenTls, type StreamListener } from "./stream_listeners.ts";
import { TurnDriver } from "./turn_driver.ts";
import { listenUdp } from "./udp_clients.ts";

const log = getLogger(["cairn", "relay"]);

const DEFAULT_REALM = "cairn";
/** How often, while a silent connection is suffered, listening sockets are looked at. */
const CHECKS_PER_TIMEOUT = 6;
/** How often an ending relay looks whether its last allocation is gone. */
const DRAIN_CHECK = 100;

/** A relay that serves clients. */
export interface RunningRelay {
  /** Where clients are served over UDP, TCP and TLS. */
  readonly udpAddress: ListenAddress;
  readonly tcpAddress: ListenAddress;
  readonly tlsAddress: ListenAddress | undefined;
  /** Where `/credentials` and `/metrics` are, if they are served. */
  readonly apiAddress: ListenAddress | undefined;
  readonly metricsAddress: ListenAddress | undefined;
  /** `turn:` URIs that clients are told. */
  readonly uris: readonly string[];
  /** Takes renewed credentials, lists of peers and certificates into use now. */
  reload(): void;
  /** Grants nothing any more, waits for the allocations as long as it may, and ends. */
  close(): Promise<void>;
  /** Settles when a listening socket was lost, and the relay is of no use. */
  readonly closed: Promise<void>;
}

/**
 * Starts a TURN relay, or with neither users nor secrets a STUN server. `datagramSockets` end with
 * it.
 *
 * @throws {CairnError} that says what to do: an address that is in use or cannot be relayed from, a
 * certificate that is unreadable, a user name that cannot be used.
 */
export async function startRelay(
  options: RelayOptions,
  host: Host = systemHost,
  datagramSockets: DatagramSockets = new DenoDatagramSockets(),
): Promise<RunningRelay> {
  await using started = new AsyncDisposableStack();
  const sockets = started.use(datagramSockets);
  const machine = machineAddresses();
  const udp = parseListenAddress(options.listenAddr);
  const { relayIps = [], externalIps = [] } = options;
  const addresses = relayAddresses({ listenHost: udp.host, relayIps, externalIps }, machine);
  const credentials = readCredentials(options, options);
  const settings = {
    ...DEFAULT_TURN_SETTINGS,
    relayedV4: addresses.advertised[4],
    relayedV6: addresses.advertised[6],
    relayPorts: options.relayPorts ?? DEFAULT_RELAY_PORTS,
    ...(options.legacyChannels !== undefined && { legacyChannels: options.legacyChannels }),
    ...(options.strictExpiry !== undefined && { strictExpiry: options.strictExpiry }),
    ...(options.userQuota !== undefined && { maxAllocationsPerUser: options.userQuota }),
    ...(options.maxBitsPerSecond !== undefined && { maxBitsPerSecond: options.maxBitsPerSecond }),
    ...options.rates,
  };
  const limits = { ...RELAY_LIMITS, ...options.limits };
  const metrics = new RelayMetrics();
  const server = new TurnServer({
    settings,
    credentials,
    policy: peerPolicy(options, addresses, machine),
    host,
  });
  const { promise: closed, resolve: lost } = Promise.withResolvers<void>();
  const driver = started.adopt(
    new TurnDriver({
      server,
      sockets,
      relayHosts: {
        ...(addresses.bound[4] && { 4: formatIp(addresses.bound[4]) }),
        ...(addresses.bound[6] && { 6: formatIp(addresses.bound[6]) }),
      },
      host,
      onSessionEnded: logSession,
    }),
    (driver) => driver.close(),
  );
  const udpListeners = started.adopt(
    listenUdp({
      ...udp,
      machine,
      sockets,
      driver,
      onLost(error) {
        log.fatal("A listening socket was lost: {error}", { error });
        lost();
      },
    }),
    (listeners) => listeners.close(),
  );
  const connections = started.adopt(
    new StreamConnections({
      driver,
      limits,
      legacyChannels: settings.legacyChannels,
      onEnd: (why) => metrics.connectionEnded(why),
    }),
    (connections) => connections.close(),
  );
  const udpAddress = { ...udp, port: udpListeners.port };
  const tcp = started.adopt(
    await listenTcp({
      ...parseListenAddress(options.tcpAddr ?? formatListenAddress(udpAddress)),
      option: "--tcp-addr (CAIRN_RELAY_TCP_ADDR)",
      connections,
      checkInterval: limits.idleTimeout / CHECKS_PER_TIMEOUT,
    }),
    (listener) => listener.close(),
  );
  const tls = await startTls(options, { connections, limits, metrics, host, started });

  const uris = options.turnUris ?? Object.values(addresses.advertised)
    .filter(({ length }) => length === 4 || udp.host.includes(":"))
    .map((address) => `turn:${formatAddressPort({ address, port: udpAddress.port })}`);
  let current: RelayPolicyOptions = options;
  let isDraining = false;
  const api = options.apiAddr === undefined ? undefined : started.adopt(
    await listen({
      ...parseListenAddress(options.apiAddr),
      option: "--api-addr (CAIRN_RELAY_API_ADDR)",
      onRequest: getRequestListener(
        createCredentialsApi(() => {
          const [secret] = current.restSecrets;
          return secret === undefined
            ? undefined
            : { secret, token: current.apiToken ?? secret, uris };
        }, host).fetch,
      ),
    }),
    (listener) => listener.close(),
  );
  metrics.describe({
    driver,
    connections: () => connections.size,
    isDraining: () => isDraining,
    certificateEnd: () =>
      tls?.listener.certificate && tls.listener.certificate.validToDate.getTime() / 1000,
  });
  const scraped = options.metricsAddr === undefined ? undefined : started.use(
    await serveMetrics({
      address: options.metricsAddr,
      option: "--metrics-addr (CAIRN_RELAY_METRICS_ADDR)",
      prefix: "cairn_relay",
      registry: metrics.registry,
      unreadiness: () => isDraining ? "draining" : undefined,
      host,
    }),
  );

  const listening = {
    ...options,
    listenAddr: formatListenAddress(udpAddress),
    tcpAddr: formatListenAddress(tcp.address),
    ...(tls && { tlsAddr: formatListenAddress(tls.listener.address) }),
    ...(api && { apiAddr: formatListenAddress(api.address) }),
    ...(scraped && { metricsAddr: formatListenAddress(scraped.address) }),
  };
  const gate = (policy: RelayPolicyOptions): PeerPolicy =>
    peerPolicy({ ...listening, ...policy }, addresses, machine);
  server.setPolicy(gate(options));
  driver.settle();

  log.info("Relay listens on {addresses} (UDP engine: {engine})", {
    addresses: udpListeners.addresses.join(", "),
    engine: sockets.engine,
  });
  if (credentials === undefined) warnOfStunOnly();
  else for (const warning of addresses.warnings) log.warn(warning);

  const running = started.move();
  let closing: Promise<void> | undefined;
  const end = async () => {
    isDraining = true;
    server.drain();
    driver.settle();
    tcp.close();
    tls?.listener.close();
    await noAllocation(server, options.drainTimeout ?? 0);
    await running.disposeAsync();
  };
  return {
    udpAddress,
    tcpAddress: tcp.address,
    tlsAddress: tls?.listener.address,
    apiAddress: api?.address,
    metricsAddress: scraped?.address,
    uris,
    closed,
    reload() {
      tls?.watch.reload();
      try {
        const policy = options.reread?.() ?? options;
        server.setCredentials(readCredentials(options, policy));
        server.setPolicy(gate(policy));
        current = policy;
        log.info("Credentials and lists of peers were read again");
      } catch (error) {
        if (!(error instanceof CairnError)) throw error;
        log.warn("Keeping the former credentials and lists: {message}", { message: error.message });
      }
      driver.settle();
    },
    close: () => closing ??= end(),
  };
}

/** `undefined` when nobody can be let in. */
function readCredentials(
  { realm = DEFAULT_REALM }: RelayOptions,
  { users, restSecrets }: RelayPolicyOptions,
): RelayUsers | undefined {
  if (users.length === 0 && restSecrets.length === 0) return undefined;
  return new RelayUsers({ realm, users, restSecrets });
}

async function startTls(
  { tls, tlsAddr }: RelayOptions,
  { connections, limits, metrics, host, started }: {
    readonly connections: StreamConnections;
    readonly limits: RelayLimits;
    readonly metrics: RelayMetrics;
    readonly host: Host;
    readonly started: AsyncDisposableStack;
  },
): Promise<{ readonly listener: StreamListener; readonly watch: CertificateWatch } | undefined> {
  if (tls === undefined || tlsAddr === undefined) return undefined;
  const listener = started.adopt(
    await listenTls({
      ...parseListenAddress(tlsAddr),
      option: "--tls-addr (CAIRN_RELAY_TLS_ADDR)",
      connections,
      checkInterval: limits.idleTimeout / CHECKS_PER_TIMEOUT,
      tls,
    }),
    (listener) => listener.close(),
  );
  const watch = started.adopt(
    new CertificateWatch({
      listener,
      tls,
      host,
      role: "relay",
      onEvent: (event) => metrics.certificate(event),
    }),
    (watch) => watch.close(),
  );
  return { listener, watch };
}

function warnOfStunOnly(): void {
  log.warn(
    "RELAYING IS OFF: this is a STUN server only. To switch relaying on, set --credentials " +
      "(CAIRN_RELAY_CREDENTIALS) to user:password, or --rest-secret (CAIRN_RELAY_REST_SECRET)",
  );
}

/** Waits until there is no allocation, at most `milliseconds`. */
async function noAllocation(server: TurnServer, milliseconds: number): Promise<void> {
  if (server.allocationCount > 0 && milliseconds > 0) {
    log.info("Waiting for {count} allocations to end", { count: server.allocationCount });
  }
  for (let waited = 0; waited < milliseconds && server.allocationCount > 0; waited += DRAIN_CHECK) {
    await new Promise((resolve) => setTimeout(resolve, DRAIN_CHECK));
  }
}
