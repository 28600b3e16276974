import type { Counter, MetricsRegistry } from "../metrics.ts";

const DROP_REASONS = ["bus lost", "bus slow", "too large", "malformed", "repeated"] as const;

/** Why a message did not get on the bus, or not from the bus to those who listen here. */
export type BusDrop = typeof DROP_REASONS[number];

/** What is counted of a bus. */
export class BusMetrics {
  readonly #published: Counter;
  readonly #received: Counter;
  readonly #gaps: Counter;
  readonly #dropped: Counter;
  readonly #refused: Counter;

  constructor(
    registry: MetricsRegistry,
    isConnected: () => boolean,
    joined: { readonly size: number },
  ) {
    registry.gauge(
      "cairn_signal_bus_connected",
      "Whether the bus is there",
      () => isConnected() ? 1 : 0,
    );
    registry.gauge(
      "cairn_signal_bus_topics",
      "Topics that are subscribed to on the bus",
      () => joined.size,
    );
    this.#published = registry.counter(
      "cairn_signal_bus_published_total",
      "Relays given to the bus",
    );
    this.#received = registry.counter(
      "cairn_signal_bus_received_total",
      "Relays that came over the bus",
    );
    this.#gaps = registry.counter(
      "cairn_signal_bus_gaps_total",
      "Relays that are missing among those that came over the bus",
    );
    this.#dropped = registry.counter(
      "cairn_signal_bus_dropped_total",
      "Relays that did not get on the bus, or not from it to those who listen",
      "reason",
      DROP_REASONS,
    );
    this.#refused = registry.counter(
      "cairn_signal_bus_refused_total",
      "What the bus did not do that it was asked for, as for want of a right",
    );
  }

  /** The bus said that it did not do what it was asked for. */
  refused(): void {
    this.#refused.add();
  }

  published(): void {
    this.#published.add();
  }

  /** `missing` of the same origin and topic should have come before it. */
  received(missing: number): void {
    this.#received.add();
    if (missing > 0) this.#gaps.add("", missing);
  }

  dropped(reason: BusDrop): void {
    this.#dropped.add(reason);
  }
}
