import type { Server } from "node:http";
import { getRequestListener } from "@hono/node-server";
import { getLogger } from "@logtape/logtape";
import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import { VERSION } from "../../version.ts";
import type { DataFolder } from "../data_folder.ts";
import type { BackupDesk } from "../backup/backup_desk.ts";
import { MIN_FREE_BYTES } from "../disk_gauge.ts";
import type { GroupCommit } from "../group_commit.ts";
import { type HttpListener, listen } from "../http.ts";
import type { PeerBook } from "../peer_book.ts";
import { describeProcess } from "../process_metrics.ts";
import { EventStreams } from "./api/event_streams.ts";
import { createApi } from "./api/management_api.ts";
import type { ManagedServer, RelayCount } from "./api/managed_server.ts";
import { ensureManagementToken } from "./api/token_auth.ts";
import { AuditLog } from "./audit_log.ts";
import { MailboxNews, presenceEvent, tellOfPairing } from "./event_sources.ts";
import { History } from "./history.ts";
import { HistoryClock } from "./history_clock.ts";
import type { MailboxAccounts } from "./mailbox_accounts.ts";
import type { MailboxInquiry } from "./mailbox_inquiry.ts";
import { MessageTrace } from "./message_trace.ts";
import type { PairingControl } from "./pairing_control.ts";
import type { PeerLinks } from "./peer_links.ts";
import type { PeerNames } from "./peer_names.ts";
import { scheduleBackups } from "./server_backups.ts";
import { ServerEvents } from "./server_events.ts";
import { ServerMetrics } from "./server_metrics.ts";
import type { ServerOptions } from "./server_options.ts";

const log = getLogger(["cairn", "server"]);

/** Nothing but its length keeps out who guesses. */
const GOOD_TOKEN_LENGTH = 16;

/** What the management of a server is made of. */
export interface ManagementParts {
  readonly options: Pick<
    ServerOptions,
    "management" | "storagePath" | "tls" | "backups" | "signalServers" | "signalHints"
  >;
  readonly folder: Pick<DataFolder, "kv" | "freeBytes">;
  readonly commit: GroupCommit;
  readonly host: Host;
  readonly self: PeerId;
  readonly book: PeerBook;
  readonly names: PeerNames;
  readonly links: PeerLinks;
  /** The signaling servers at which peers find this one. */
  readonly signaling: readonly { readonly connected: boolean }[];
  readonly accounts: MailboxAccounts | undefined;
  readonly inquiry: MailboxInquiry | undefined;
  readonly pairing: PairingControl;
  readonly backups: BackupDesk | undefined;
  readonly relay: RelayCount;
  /** Milliseconds that a message waits at most. */
  readonly retention: number;
}

/**
 * Records what is changed and tells of what happens, whether or not anybody can ask; and answers
 * those who ask.
 */
export class Management implements AsyncDisposable {
  readonly #parts: ManagementParts;
  readonly #server: ManagedServer;
  readonly #metrics: ServerMetrics;
  readonly #streams: EventStreams;
  readonly #history = new History();
  readonly #stack = new AsyncDisposableStack();

  private constructor(parts: ManagementParts, audit: AuditLog) {
    const { folder, host, book, names, links, accounts, pairing, backups, self, options } = parts;
    const { inquiry } = parts;
    const events = new ServerEvents(host);
    const trace = inquiry && new MessageTrace(inquiry, host);
    this.#parts = parts;
    this.#metrics = new ServerMetrics();
    this.#streams = new EventStreams(events);
    const server = {
      peerId: self,
      version: VERSION,
      startedAt: host.monotonic(),
      host,
      book,
      names,
      accounts,
      inquiry,
      trace,
      pairing,
      meetsAt: options.signalHints ?? options.signalServers ?? [],
      backups,
      audit,
      events,
      history: this.#history,
      relay: parts.relay,
      retention: parts.retention,
      isConnected: (peer: PeerId) => links.isConnected(peer),
      freeBytes: () => folder.freeBytes(),
      isShortOfSpace: (freeBytes: number) => accounts !== undefined && freeBytes < MIN_FREE_BYTES,
    };
    this.#metrics.describe({
      server,
      links,
      signaling: parts.signaling,
      perPeer: options.management?.metricsPerPeer ?? false,
    });
    this.#metrics.watch(parts.commit, host);
    this.#server = { ...server, metrics: () => this.#metrics.text(folder.freeBytes()) };
    links.onPresence = (peerId, connected) => events.publish(presenceEvent(peerId, connected));
    this.#stack.defer(tellOfPairing(pairing, { events, audit, names }));
    if (accounts) this.#watchMailbox(accounts, events);
    if (accounts && trace) this.#stack.defer(accounts.watch((event) => trace.hear(event)));
    if (options.backups && backups) {
      const { registry } = this.#metrics;
      const made = { options: options.backups, desk: backups, self, host, events, registry };
      const schedule = scheduleBackups(made);
      this.#stack.defer(() => schedule.close());
    }
  }

  static async open(parts: ManagementParts): Promise<Management> {
    const { folder, commit, host } = parts;
    return new Management(parts, await AuditLog.open(folder.kv, commit, host));
  }

  /**
   * Answers over HTTP; `undefined` when that is switched off. `prepare` gets the server before the
   * first connection can arrive.
   *
   * @throws {CairnError} `address-in-use`, `certificate-unreadable`, `invalid-option`, or what is
   * wrong with the token's file.
   */
  async listen(prepare: (server: Server) => void): Promise<HttpListener | undefined> {
    const { options, host } = this.#parts;
    const { enabled = true, bind = "127.0.0.1", port = 9090, token, hosts = [], fd } =
      options.management ?? {};
    if (!enabled) return undefined;
    const made = await ensureManagementToken(options.storagePath, token, host);
    if (made.path !== null) log.info("The management token is in {path}", { path: made.path });
    if (made.token.length < GOOD_TOKEN_LENGTH) {
      log.warn("The management token is short; use {length} random characters or more", {
        length: GOOD_TOKEN_LENGTH,
      });
    }
    const api = createApi(this.#server, {
      token: made.token,
      hosts,
      streams: this.#streams,
      onAnswer: (status) => this.#metrics.answered(status),
      onWrongToken: () => this.#metrics.wrongToken(),
    });
    const listener = await listen({
      host: bind,
      port,
      fd,
      option: "--mgmt-port (CAIRN_MGMT_PORT)",
      ...(options.tls && { tls: options.tls }),
      onRequest: getRequestListener(api.fetch),
      prepare,
    });
    this.#stack.use(new HistoryClock(this.#server, this.#history));
    this.#stack.defer(() => listener.close());
    // First of all, for the listener waits for the answers that are under way.
    this.#stack.defer(() => this.#streams.close());
    this.#describe(listener);
    log.info("The management API answers on port {port}", { port: listener.address.port });
    if (!isLoopback(bind) && !options.tls) {
      log.warn(
        "The management API is reachable from other machines without TLS: whoever reads along " +
          "learns the token; set a certificate, or CAIRN_MGMT_BIND=127.0.0.1 behind a proxy",
      );
    }
    return listener;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  #watchMailbox(accounts: MailboxAccounts, events: ServerEvents): void {
    const news = new MailboxNews(accounts, events);
    this.#stack.defer(() => news.close());
    this.#stack.defer(accounts.watch((event) => {
      this.#metrics.mailbox(event);
      news.hear(event);
    }));
  }

  #describe(listener: HttpListener): void {
    const { registry } = this.#metrics;
    const { host } = this.#parts;
    this.#stack.use(describeProcess(registry, "cairn_server", host));
    const gauges: [name: string, help: string, read: () => number | undefined][] = [
      ["event_listeners", "Listeners to the event stream", () => this.#streams.listeners],
      ["certificate_end_timestamp_seconds", "When the TLS certificate in use ends", () => {
        return listener.certificate && listener.certificate.validToDate.getTime() / 1000;
      }],
    ];
    for (const [name, help, read] of gauges) registry.gauge(`cairn_server_${name}`, help, read);
    registry.readings(
      "cairn_server_event_listeners_dropped_total",
      "Listeners to the event stream that were dropped because they were too slow",
      "counter",
      "",
      () => [["", this.#streams.dropped]],
    );
  }
}

function isLoopback(address: string): boolean {
  return address === "localhost" || address === "::1" || address.startsWith("127.");
}
