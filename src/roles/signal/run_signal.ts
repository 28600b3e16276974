import { getLogger } from "@logtape/logtape";
import { CairnError } from "../../base/errors.ts";
import { type Host, systemHost } from "../../base/host.ts";
import { CertificateWatch } from "../certificate_watch.ts";
import { serveMetrics } from "../health_pages.ts";
import type { MetricsRegistry } from "../metrics.ts";
import { listen, type ListenAddress, parseListenAddress } from "../http.ts";
import {
  acceptWebSockets,
  type UpgradeHandler,
  type WebSocketAcceptor,
} from "../web_socket_server.ts";
import type { AddressCounts, ConnectionCounts } from "./address_counts.ts";
import { Admission, readsCloseCodes, SIGNAL_PROTOCOL } from "./admission.ts";
import { onAll } from "./backplane.ts";
import { offeredProtocols } from "./bearer_token.ts";
import type { BusAccess } from "./bus_access.ts";
import { BusStanding } from "./bus_standing.ts";
import { drain } from "./drain.ts";
import type { BusThread, NatsBus, NatsBusOptions } from "./nats_bus.ts";
import { answer, describe } from "./pages.ts";
import { SignalMetrics } from "./signal_metrics.ts";
import { SIGNAL_LIMITS, type SignalLimits, type SignalOptions } from "./signal_options.ts";
import { Switchboard } from "./switchboard.ts";
import type { WorkerMesh } from "./worker_mesh.ts";

const log = getLogger(["cairn", "signal"]);

const TOO_SLOW = 4408;
/** Refused pages that are being told why, at a time; beyond, they get an HTTP status too. */
const MAX_TOLD = 256;
/** Milliseconds. */
export const DRAIN_TIME = 5_000;

/** A signaling server that accepts connections. */
export interface RunningSignal {
  readonly address: ListenAddress;
  /** Where `/metrics` is served, if it is. */
  readonly metricsAddress: ListenAddress | undefined;
  /** Takes a renewed certificate into use now. */
  reload(): void;
  /** Lets nobody in any more, closes all connections over some seconds, and ends. */
  close(): Promise<void>;
}

/** What makes a signaling server one of several threads that are one server together. */
export interface SignalThread {
  readonly counts: AddressCounts;
  readonly sockets: ConnectionCounts;
  readonly mesh: WorkerMesh;
  readonly bus: BusThread;
  /** How they stand with the bus, if there is one. */
  readonly standing: BusStanding | undefined;
  readonly registry: MetricsRegistry;
}

/**
 * Starts the signaling server. It keeps who listens to what, and for some minutes the records of
 * the JSON dialects, in memory only.
 *
 * @throws {CairnError} when it cannot listen, or a token is empty.
 */
export async function startSignal(
  options: SignalOptions,
  host: Host = systemHost,
  thread?: SignalThread,
): Promise<RunningSignal> {
  const { listenAddr, tls, authTokens, metricsAddr, drainTime = DRAIN_TIME } = options;
  if (authTokens.includes("")) {
    throw new CairnError(
      "invalid-option",
      "An empty token would let everybody in: give --auth-token (CAIRN_SIGNAL_AUTH_TOKEN) a value",
    );
  }
  const limits = { ...SIGNAL_LIMITS, ...options.limits };
  const metrics = new SignalMetrics(thread?.registry);
  const admission = new Admission({
    ...options,
    limits,
    host,
    onRefused: (reason) => metrics.refused(reason),
    counts: thread?.counts,
    sockets: thread?.sockets,
  });
  await using started = new AsyncDisposableStack();
  const standing = options.bus && (thread?.standing ?? new BusStanding(BusStanding.memory(1)));
  const bus = options.bus && standing && started.use(
    await openBus(options.bus, {
      ...limits,
      host,
      standing,
      registry: metrics.registry,
      thread: thread?.bus,
    }),
  );
  const planes = [bus, thread?.mesh].filter((plane) => plane !== undefined);
  const switchboard = started.adopt(
    new Switchboard(limits, host, metrics, onAll(planes)),
    (switchboard) => switchboard.close(),
  );
  const receive = (topic: string, frame: Uint8Array) => switchboard.receive(topic, frame);
  bus?.start(receive);
  thread?.mesh.start(receive, (topic) => switchboard.recordsOf(topic));
  const unreadiness = () => admission.isDraining ? "draining" : standing?.unreadiness;
  let sockets: WebSocketAcceptor | undefined;
  const listener = await listen({
    ...parseListenAddress(listenAddr),
    fd: options.listenFd,
    isShared: thread !== undefined,
    option: "--listen-addr (CAIRN_SIGNAL_LISTEN_ADDR)",
    ...(tls && { tls }),
    handshakeTimeout: limits.handshakeTimeout,
    onRequest: (request, response) => answer(request, response, admission, unreadiness()),
    prepare: (server) => {
      admission.guard(server);
      sockets = acceptWebSockets({
        server,
        limits: acceptLimits(limits),
        handler: letIn(admission, switchboard, metrics),
        onDrop: (reason) => metrics.ended(reason),
      });
    },
  });
  started.defer(() => listener.close());
  const watch = tls && started.adopt(
    new CertificateWatch({
      listener,
      tls,
      host,
      role: "signal",
      onEvent: (event) => metrics.certificate(event),
    }),
    (watch) => watch.close(),
  );
  describe(metrics, { admission, switchboard, listener });
  const scraped = metricsAddr === undefined ? undefined : started.use(
    await serveMetrics({
      address: metricsAddr,
      option: "--metrics-addr (CAIRN_SIGNAL_METRICS_ADDR)",
      prefix: "cairn_signal",
      registry: metrics.registry,
      unreadiness,
      host,
    }),
  );
  if (scraped) log.info("Metrics are served on port {port}", { port: scraped.address.port });
  log.info("Signaling server listens on port {port}", { port: listener.address.port });
  if (authTokens.length === 0) log.info("No token is set: every client is let in");
  const running = started.move();
  let closing: Promise<void> | undefined;
  const end = async () => {
    admission.isDraining = true;
    await drain([...sockets?.sockets ?? []], drainTime);
    sockets?.close("going away");
    await running.disposeAsync();
  };
  return {
    address: listener.address,
    metricsAddress: scraped?.address,
    reload: () => watch?.reload(),
    close: () => closing ??= end(),
  };
}

/** What speaks NATS is loaded only where it is used: it costs 16 MB of memory. */
async function openBus(
  access: BusAccess,
  options: Omit<NatsBusOptions, "access">,
): Promise<NatsBus> {
  const { NatsBus } = await import("./nats_bus.ts");
  return new NatsBus({ ...options, access });
}

function acceptLimits(limits: SignalLimits) {
  return {
    maxFrameBytes: limits.maxFrameBytes,
    maxBufferedBytes: limits.maxBufferedBytes,
    // Admission counts the others.
    maxSockets: limits.maxConnections + MAX_TOLD,
    pingInterval: limits.pingInterval,
    decisionTimeout: limits.handshakeTimeout,
    tooSlowCode: TOO_SLOW,
  };
}

function letIn(
  admission: Admission,
  switchboard: Switchboard,
  metrics: SignalMetrics,
): UpgradeHandler {
  let told = 0;
  return (request, accept, refuse) => {
    const key = admission.keyOf(request);
    const refusal = admission.judge(request, key);
    const protocol = offeredProtocols(request).includes(SIGNAL_PROTOCOL)
      ? SIGNAL_PROTOCOL
      : undefined;
    if (!refusal) {
      return accept((socket) => {
        metrics.accepted();
        switchboard.connect(socket, key, admission.admit(key));
      }, protocol);
    }
    log.debug("Refused a connection: {reason}", { reason: refusal.reason });
    if (!readsCloseCodes(request) || told >= MAX_TOLD) {
      return refuse(refusal.status, refusal.headers);
    }
    accept((socket) => {
      told++;
      socket.onFrame = socket.onText = () => {};
      socket.onClose = () => told--;
      socket.close(refusal.closeCode, refusal.sentence);
    }, protocol);
  };
}
