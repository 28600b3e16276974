import { getRequestListener } from "@hono/node-server";
import { getLogger } from "@logtape/logtape";
import { formatAddressPort } from "../../base/address.ts";
import { CairnError } from "../../base/errors.ts";
import { type Host, systemHost } from "../../base/host.ts";
import { CertificateWatch } from "../certificate_watch.ts";
import { serveMetrics } from "../health_pages.ts";
import { formatListenAddress, listen, type ListenAddress, parseListenAddress } from "../http.ts";
import { mergeMetrics } from "../merged_metrics.ts";
import { MetricsRegistry } from "../metrics.ts";
import { createCredentialsApi } from "./credentials_api.ts";
import { type DatagramSockets, DenoDatagramSockets } from "./datagram_sockets.ts";
import { machineAddresses, relayAddresses } from "./relay_addresses.ts";
import { RelayCore, relayPlan, type RelayRules } from "./relay_core.ts";
import { RelayMetrics } from "./relay_metrics.ts";
import {
  RELAY_LIMITS,
  type RelayLimits,
  type RelayOptions,
  type RelayPolicyOptions,
} from "./relay_options.ts";
import { StreamConnections } from "./stream_connections.ts";
import { listenTcp, listenTls, type StreamListener } from "./stream_listeners.ts";
import { listenUdp } from "./udp_clients.ts";
import type { RelayThreads } from "./workers/relay_threads.ts";

const log = getLogger(["cairn", "relay"]);

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
 * Starts a TURN relay, or with neither users nor secrets a STUN server. `datagramSockets` and
 * `threads` end with it; the threads serve clients over UDP, where there are any.
 *
 * @throws {CairnError} that says what to do: an address that is in use or cannot be relayed from, a
 * certificate that is unreadable, a user name that cannot be used.
 */
export async function startRelay(
  options: RelayOptions,
  host: Host = systemHost,
  datagramSockets: DatagramSockets = new DenoDatagramSockets(),
  threads?: RelayThreads,
): Promise<RunningRelay> {
  await using started = new AsyncDisposableStack();
  const sockets = started.use(datagramSockets);
  if (threads) started.use(threads);
  const machine = machineAddresses();
  const udp = parseListenAddress(options.listenAddr);
  const { relayIps = [], externalIps = [] } = options;
  const addresses = relayAddresses({ listenHost: udp.host, relayIps, externalIps }, machine);
  const plan = relayPlan(options, addresses, machine);
  const limits = { ...RELAY_LIMITS, ...options.limits };
  const metrics = new RelayMetrics();
  const shared = threads?.share(plan, host);
  const core = started.adopt(
    new RelayCore({ plan, rules: options, sockets, host, ...shared }),
    (core) => core.close(),
  );
  const { driver } = core;
  const { promise: closed, resolve: lost } = Promise.withResolvers<void>();
  const onLost = (error: unknown) => {
    log.fatal("A listening socket was lost: {error}", { error });
    lost();
  };
  const udpListeners = threads?.bind(udp, machine) ?? started.adopt(
    listenUdp({ ...udp, machine, sockets, driver, onLost }),
    (listeners) => listeners.close(),
  );
  const connections = started.adopt(
    new StreamConnections({
      driver,
      limits,
      legacyChannels: plan.settings.legacyChannels,
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
      ...(threads ? pagesOf(metrics.registry, threads) : { registry: metrics.registry }),
      unreadiness: () => isDraining ? "draining" : undefined,
      host,
    }),
  );

  const listening = {
    ...(options.relayPorts && { relayPorts: options.relayPorts }),
    listenAddr: formatListenAddress(udpAddress),
    tcpAddr: formatListenAddress(tcp.address),
    ...(tls && { tlsAddr: formatListenAddress(tls.listener.address) }),
    ...(api && { apiAddr: formatListenAddress(api.address) }),
    ...(scraped && { metricsAddr: formatListenAddress(scraped.address) }),
  };
  const rules = (policy: RelayPolicyOptions): RelayRules => ({
    ...listening,
    users: policy.users,
    restSecrets: policy.restSecrets,
    allowPeers: policy.allowPeers,
    denyPeers: policy.denyPeers,
  });
  core.apply(rules(options));
  await threads?.start(plan, rules(options));

  log.info("Relay listens on {addresses} (UDP engine: {engine}, workers: {workers})", {
    addresses: udpListeners.addresses.join(", "),
    engine: sockets.engine,
    workers: threads?.count ?? 0,
  });
  if (options.users.length === 0 && options.restSecrets.length === 0) warnOfStunOnly();
  else for (const warning of addresses.warnings) log.warn(warning);

  const running = started.move();
  let closing: Promise<void> | undefined;
  const end = async () => {
    isDraining = true;
    core.drain();
    await threads?.drain();
    tcp.close();
    tls?.listener.close();
    const allocations = () => shared?.siblings.allocationCount ?? core.server.allocationCount;
    await noAllocation(allocations, options.drainTimeout ?? 0);
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
        core.apply(rules(policy));
        threads?.apply(rules(policy));
        current = policy;
        log.info("Credentials and lists of peers were read again");
      } catch (error) {
        if (!(error instanceof CairnError)) throw error;
        log.warn("Keeping the former credentials and lists: {message}", { message: error.message });
      }
    },
    close: () => closing ??= end(),
  };
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

/** What is served where the first thread's metrics are not all. */
function pagesOf(registry: MetricsRegistry, threads: RelayThreads) {
  return {
    registry: new MetricsRegistry(),
    more: async () => mergeMetrics([registry.text(), ...await threads.metrics()]),
  };
}

/** Waits until there is no allocation, at most `milliseconds`. */
async function noAllocation(count: () => number, milliseconds: number): Promise<void> {
  if (count() > 0 && milliseconds > 0) {
    log.info("Waiting for {count} allocations to end", { count: count() });
  }
  for (let waited = 0; waited < milliseconds && count() > 0; waited += DRAIN_CHECK) {
    await new Promise((resolve) => setTimeout(resolve, DRAIN_CHECK));
  }
}
