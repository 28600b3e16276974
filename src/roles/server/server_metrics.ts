import type { Host } from "../../base/host.ts";
import {
  DISK_FULL,
  NOT_STORED,
  queueFull,
  QUOTA_EXCEEDED,
} from "../../protocol/mailbox/refusal.ts";
import type { GroupCommit } from "../group_commit.ts";
import { type Counter, type Histogram, MetricsRegistry } from "../metrics.ts";
import type { ManagedServer } from "./api/managed_server.ts";
import type { MailboxEvent } from "./mailbox_accounts.ts";
import type { PeerLinks } from "./peer_links.ts";

/** Refusals that an operator can do something about: shown from the start, so that rates see them. */
const REFUSALS = [queueFull(0), QUOTA_EXCEEDED, DISK_FULL, NOT_STORED].map(withoutNumbers);
/** Upper bounds in seconds: a good SSD syncs in a millisecond, a memory card in a tenth of one. */
const COMMIT_BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** What is looked at when somebody scrapes. */
export interface ServerSights {
  readonly server: Omit<ManagedServer, "metrics">;
  readonly links: Pick<PeerLinks, "count" | "handshakes">;
  /** The signaling servers at which peers find this one. */
  readonly signaling: readonly { readonly connected: boolean }[];
  /** Whether labels tell Peer IDs. */
  readonly perPeer: boolean;
}

/** What a server counts. Labels tell Peer IDs only where the operator asked for that. */
export class ServerMetrics {
  readonly registry = new MetricsRegistry();
  readonly #accepted: Counter;
  readonly #acceptedBytes: Counter;
  readonly #refused: Counter;
  readonly #ended: Counter;
  readonly #requests: Counter;
  readonly #wrongTokens: Counter;
  readonly #commits: Histogram;
  readonly #failedCommits: Counter;
  #freeBytes: number | undefined;

  constructor() {
    const { registry } = this;
    this.#accepted = registry.counter(
      "cairn_server_messages_accepted_total",
      "Messages that the mailbox took in",
    );
    this.#acceptedBytes = registry.counter(
      "cairn_server_message_bytes_accepted_total",
      "Bytes of the bodies of messages that the mailbox took in",
    );
    this.#refused = registry.counter(
      "cairn_server_messages_refused_total",
      "Messages that the mailbox did not take in",
      "reason",
      REFUSALS,
    );
    this.#ended = registry.counter(
      "cairn_server_messages_ended_total",
      "Messages that left the mailbox",
      "outcome",
      ["delivered", "expired"],
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
    this.#commits = registry.histogram(
      "cairn_server_commit_seconds",
      "How long writes to the store took until they were on disk",
      COMMIT_BOUNDS,
    );
    this.#failedCommits = registry.counter(
      "cairn_server_commits_failed_total",
      "Writes to the store that failed, as on a full disk",
    );
  }

  /** Measures what `commit` writes from here on. */
  watch(commit: GroupCommit, host: Host): void {
    commit.onWrite = () => {
      const begun = host.monotonic();
      return (outcome) => {
        if (outcome === "made") this.#commits.observe((host.monotonic() - begun) / 1000);
        else this.#failedCommits.add();
      };
    };
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
  describe({ server, links, signaling, perPeer }: ServerSights): void {
    const { registry } = this;
    const { accounts, book, pairing, relay } = server;
    const gauges: [name: string, help: string, read: () => number | undefined][] = [
      ["paired_peers", "Paired peers", () => book.list().length],
      [
        "connected_peers",
        "Paired peers with a link",
        () => book.list().filter(({ peerId }) => server.isConnected(peerId)).length,
      ],
      ["pairing_requests", "Peers that wait for approval", () => pairing.requests().length],
      ["waiting_messages", "Messages that wait", () => accounts?.totals().messages],
      ["waiting_bytes", "Bytes of messages that wait", () => accounts?.totals().bytes],
      ["waiting_bytes_limit", "Most bytes that may wait", () => accounts?.totals().maxBytes],
      ["disk_free_bytes", "Room on the disk of the data folder", () => this.#freeBytes],
      ["relay_pairs", "Pairs of peers that the personal relay serves", () => relay.active()],
      ["relay_pairs_limit", "Most pairs that the personal relay serves", () => relay.capacity],
      ["links", "Links of paired peers, of which one may have several", () => links.count],
      ["signal_servers", "Signaling servers that the settings name", () => signaling.length],
      ["signal_servers_connected", "Signaling servers that are connected", () => {
        return signaling.filter(({ connected }) => connected).length;
      }],
    ];
    for (const [name, help, read] of gauges) registry.gauge(`cairn_server_${name}`, help, read);
    registry.readings(
      "cairn_server_relayed_bytes_total",
      "Bytes that the personal relay passed on",
      "counter",
      "",
      () => [["", relay.bytesRelayed()]],
    );
    registry.readings(
      "cairn_server_handshakes_total",
      "Handshakes of links: with a paired peer, with a stranger, or failed",
      "counter",
      "outcome",
      () => Object.entries(links.handshakes),
    );
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
    "Messages that wait for a peer",
    "gauge",
    "peer",
    () => {
      return peers().map((peer) => [peer.toString(), accounts.of(peer).messages]);
    },
  );
  registry.readings(
    "cairn_server_peer_waiting_bytes",
    "Bytes of messages that wait for a peer",
    "gauge",
    "peer",
    () => {
      return peers().map((peer) => [peer.toString(), accounts.of(peer).bytes]);
    },
  );
  registry.readings(
    "cairn_server_peer_quota_bytes",
    "Most bytes that may wait for a peer",
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
