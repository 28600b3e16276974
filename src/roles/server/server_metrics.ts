import { type Counter, MetricsRegistry } from "../metrics.ts";
import type { ManagedServer } from "./api/managed_server.ts";
import type { MailboxEvent } from "./mailbox_accounts.ts";

/** What a server counts. Labels tell Peer IDs only where the operator asked for that. */
export class ServerMetrics {
  readonly registry = new MetricsRegistry();
  readonly #accepted: Counter;
  readonly #acceptedBytes: Counter;
  readonly #refused: Counter;
  readonly #ended: Counter;
  readonly #requests: Counter;
  readonly #wrongTokens: Counter;
  #freeBytes: number | undefined;

  constructor() {
    const { registry } = this;
    this.#accepted = registry.counter(
      "cairn_server_messages_accepted_total",
      "Messages that the mailbox took in",
    );
    this.#acceptedBytes = registry.counter(
      "cairn_server_message_bytes_accepted_total",
      "Bytes of their bodies",
    );
    this.#refused = registry.counter(
      "cairn_server_messages_refused_total",
      "Messages that the mailbox did not take in",
      "reason",
    );
    this.#ended = registry.counter(
      "cairn_server_messages_ended_total",
      "Messages that left the mailbox",
      "outcome",
      ["delivered"],
    );
    this.#requests = registry.counter(
      "cairn_server_management_requests_total",
      "Requests to the management API by the status of the answer",
      "status",
    );
    this.#wrongTokens = registry.counter(
      "cairn_server_wrong_tokens_total",
      "Requests to the management API with a wrong token",
    );
  }

  mailbox(event: MailboxEvent): void {
    if (event.type === "accepted") {
      this.#accepted.add();
      this.#acceptedBytes.add("", event.size);
    } else if (event.type === "refused") {
      this.#refused.add(withoutNumbers(event.reason));
    } else if (event.type === "ended") {
      this.#ended.add(withoutNumbers(event.reason ?? "delivered"));
    }
  }

  answered(status: number): void {
    this.#requests.add(String(status));
  }

  wrongToken(): void {
    this.#wrongTokens.add();
  }

  /** What a scrape gets. */
  async text(freeBytes: Promise<number>): Promise<string> {
    const free = await freeBytes;
    this.#freeBytes = Number.isFinite(free) ? free : undefined;
    return this.registry.text();
  }

  /** Adds what is not counted but looked at. */
  describe(server: Omit<ManagedServer, "metrics">, perPeer: boolean): void {
    const { registry } = this;
    const { accounts, book, pairing, relay, host } = server;
    const gauges: [name: string, help: string, read: () => number | undefined][] = [
      ["paired_peers", "Paired peers", () => book.list().length],
      [
        "connected_peers",
        "Paired peers with a link",
        () => book.list().filter(({ peerId }) => server.isConnected(peerId)).length,
      ],
      ["pairing_requests", "Peers that wait for approval", () => pairing.requests().length],
      ["waiting_messages", "Messages that wait", () => accounts?.totals().messages],
      ["waiting_bytes", "Bytes of their bodies", () => accounts?.totals().bytes],
      ["waiting_bytes_limit", "How many these may be", () => accounts?.totals().maxBytes],
      ["disk_free_bytes", "Room on the disk of the data folder", () => this.#freeBytes],
      ["relay_pairs", "Pairs of peers that the relay serves", () => relay.active()],
      ["relay_pairs_limit", "How many these may be", () => relay.capacity],
      ["uptime_seconds", "Time since the start", () => {
        return (host.monotonic() - server.startedAt) / 1000;
      }],
      ["resident_memory_bytes", "Memory of the process", () => Deno.memoryUsage().rss],
    ];
    for (const [name, help, read] of gauges) registry.gauge(`cairn_server_${name}`, help, read);
    if (perPeer) describePeers(registry, server);
  }
}

function describePeers(registry: MetricsRegistry, server: Omit<ManagedServer, "metrics">): void {
  const { accounts, book } = server;
  const peers = () => book.list().map(({ peerId }) => peerId);
  registry.readings(
    "cairn_server_peer_connected",
    "Whether a peer has a link",
    "gauge",
    "peer",
    () => {
      return peers().map((peer) => [peer.toString(), server.isConnected(peer) ? 1 : 0]);
    },
  );
  if (!accounts) return;
  registry.readings(
    "cairn_server_peer_waiting_messages",
    "Messages for a peer",
    "gauge",
    "peer",
    () => {
      return peers().map((peer) => [peer.toString(), accounts.of(peer).messages]);
    },
  );
  registry.readings(
    "cairn_server_peer_waiting_bytes",
    "Bytes of their bodies",
    "gauge",
    "peer",
    () => {
      return peers().map((peer) => [peer.toString(), accounts.of(peer).bytes]);
    },
  );
  registry.readings(
    "cairn_server_peer_quota_bytes",
    "How many these may be",
    "gauge",
    "peer",
    () => {
      return peers().map((peer) => [peer.toString(), accounts.of(peer).quota.bytes]);
    },
  );
}

/** A reason as a label: without the numbers of the case, of which there is no end. */
function withoutNumbers(reason: string): string {
  return reason.replace(/ \(.*\)$/, "").replace(/\d+/g, "n");
}
