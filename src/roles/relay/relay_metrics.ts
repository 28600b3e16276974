import type { Counters } from "../../protocol/turn/counters.ts";
import { MetricsRegistry } from "../metrics.ts";
import { CONNECTION_ENDS, type ConnectionEnd } from "./stream_connections.ts";
import type { TurnDriver } from "./turn_driver.ts";

/** What is looked at when somebody scrapes. */
export interface RelaySights {
  readonly driver: TurnDriver;
  readonly connections: () => number;
  readonly isDraining: () => boolean;
  /** Unix seconds at which the TLS certificate in use ends. */
  readonly certificateEnd: () => number | undefined;
}

const PREFIX = "cairn_relay";

/** What a relay counts. No label ever tells a user or an address. */
export class RelayMetrics {
  readonly registry = new MetricsRegistry();
  readonly #ended = this.registry.counter(
    `${PREFIX}_connections_ended_total`,
    "TCP and TLS connections that the relay ended for what they did or failed to do",
    "reason",
    CONNECTION_ENDS,
  );
  readonly #reloads = this.registry.counter(
    `${PREFIX}_certificate_reloads_total`,
    "Renewed certificates taken into use, or refused as unusable",
    "outcome",
    ["reloaded", "failed"],
  );

  connectionEnded(reason: ConnectionEnd): void {
    this.#ended.add(reason);
  }

  certificate(event: "reloaded" | "failed"): void {
    this.#reloads.add(event);
  }

  /** Adds what others count. */
  describe({ driver, connections, isDraining, certificateEnd }: RelaySights): void {
    const { registry } = this;
    describeDriver(registry, driver);
    registry.gauge(
      `${PREFIX}_relay_ports_free`,
      "Relay ports that are neither used nor reserved",
      () => driver.server.freePorts,
    );
    registry.gauge(`${PREFIX}_connections`, "TCP and TLS connections that are open", connections);
    registry.gauge(
      `${PREFIX}_draining`,
      "Whether no allocation is granted any more, 1 or 0",
      () => isDraining() ? 1 : 0,
    );
    registry.gauge(
      `${PREFIX}_certificate_end_timestamp_seconds`,
      "When the TLS certificate in use ends",
      certificateEnd,
    );
  }
}

/** What one thread of a relay counts. */
export function describeDriver(registry: MetricsRegistry, driver: TurnDriver): void {
  const { server } = driver;
  registry.gauge(
    `${PREFIX}_allocations`,
    "Allocations that are open",
    () => server.allocationCount,
  );
  registry.gauge(`${PREFIX}_relay_ports`, "Relay ports that are open", () => driver.openPorts);
  registry.readings(
    `${PREFIX}_failures_total`,
    "Packets that the program failed at",
    "counter",
    "",
    () => [["", driver.failures]],
  );
  describeCounters(registry, server.counters);
}

function describeCounters(registry: MetricsRegistry, counters: Counters): void {
  const total = (name: string, help: string, read: () => number) =>
    registry.readings(`${PREFIX}_${name}_total`, help, "counter", "", () => [["", read()]]);
  total("allocated", "Allocations granted", () => counters.allocations);
  total("bindings", "Binding requests answered", () => counters.bindings);
  total("unauth_401", "Requests without credentials answered 401", () => counters.challenges);
  total("stale_nonce", "Requests with an old nonce answered 438", () => counters.staleNonces);
  total("wrong_credentials", "Requests with wrong credentials", () => counters.wrongCredentials);
  total(
    "hairpinned_packets",
    "Packets that went straight from one client to another",
    () => counters.packetsHairpinned,
  );
  registry.readings(
    `${PREFIX}_errors_total`,
    "Error responses",
    "counter",
    "code",
    () => [...counters.errors].map(([code, count]) => [String(code), count]),
  );
  registry.readings(
    `${PREFIX}_relayed_packets_total`,
    "Packets relayed",
    "counter",
    "direction",
    () => [["to_peer", counters.packetsToPeers], ["to_client", counters.packetsToClients]],
  );
  registry.readings(
    `${PREFIX}_relayed_bytes_total`,
    "Payload bytes relayed",
    "counter",
    "direction",
    () => [["to_peer", counters.bytesToPeers], ["to_client", counters.bytesToClients]],
  );
  registry.readings(
    `${PREFIX}_dropped_total`,
    "Packets and requests dropped",
    "counter",
    "reason",
    () => [
      ["malformed", counters.droppedMalformed],
      ["unexpected", counters.droppedUnexpected],
      ["ratelimit", counters.droppedRateLimited],
      ["no_permission", counters.droppedNoPermission],
      ["no_channel", counters.droppedNoChannel],
      ["no_allocation", counters.droppedNoAllocation],
      ["forbidden", counters.droppedForbidden],
      ["bandwidth", counters.droppedBandwidth],
      ["backpressure", counters.droppedBackpressure],
    ],
  );
}
