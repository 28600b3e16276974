import type { JsonRequest } from "../../protocol/signal/json_dialect.ts";
import type { SignalFrame } from "../../protocol/signal/signal_frame.ts";
import { type Counter, MetricsRegistry } from "../metrics.ts";
import type { DropReason } from "../accepted_socket.ts";
import { REFUSAL_REASONS, type RefusalReason } from "./admission.ts";

const MESSAGE_KINDS = ["Subscribe", "Unsubscribe", "Relay", "publish", "announce", "query"];
const DROP_REASONS = [
  "malformed",
  "malformed JSON",
  "too many topics",
  "topic full",
  "records full",
  "records off",
  "too many messages",
  "connection ended",
] as const;
const CLOSE_REASONS: readonly DropReason[] = [
  "slow reader",
  "no answer to pings",
  "too large",
  "broken frame",
];

/** Why a message had no effect. */
export type MessageDrop = typeof DROP_REASONS[number];

/** What a signaling server counts. No label ever tells a topic or an address. */
export class SignalMetrics {
  readonly registry: MetricsRegistry;
  readonly #accepted: Counter;
  readonly #refused: Counter;
  readonly #ended: Counter;
  readonly #messages: Counter;
  readonly #dropped: Counter;
  readonly #deliveries: Counter;
  readonly #reloads: Counter;

  constructor(registry = new MetricsRegistry()) {
    this.registry = registry;
    this.#accepted = registry.counter("cairn_signal_accepted_total", "Connections let in");
    this.#refused = registry.counter(
      "cairn_signal_refused_total",
      "Connections not let in",
      "reason",
      REFUSAL_REASONS,
    );
    this.#ended = registry.counter(
      "cairn_signal_ended_total",
      "Connections that the server ended for what they did or failed to do",
      "reason",
      CLOSE_REASONS,
    );
    this.#messages = registry.counter(
      "cairn_signal_messages_total",
      "Messages understood",
      "kind",
      MESSAGE_KINDS,
    );
    this.#dropped = registry.counter(
      "cairn_signal_dropped_total",
      "Messages without effect",
      "reason",
      DROP_REASONS,
    );
    this.#deliveries = registry.counter(
      "cairn_signal_deliveries_total",
      "Relays handed to listeners",
    );
    this.#reloads = registry.counter(
      "cairn_signal_certificate_reloads_total",
      "Renewed certificates taken into use, or refused as unusable",
      "outcome",
      ["reloaded", "failed"],
    );
  }

  accepted(): void {
    this.#accepted.add();
  }

  refused(reason: RefusalReason): void {
    this.#refused.add(reason);
  }

  ended(reason: DropReason): void {
    this.#ended.add(reason);
  }

  understood(kind: SignalFrame["kind"] | JsonRequest["kind"]): void {
    this.#messages.add(kind);
  }

  dropped(reason: MessageDrop): void {
    this.#dropped.add(reason);
  }

  delivered(listeners: number): void {
    this.#deliveries.add("", listeners);
  }

  certificate(event: "reloaded" | "failed"): void {
    this.#reloads.add(event);
  }
}
