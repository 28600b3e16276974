import { CairnError } from "../../../src/base/errors.ts";
import type { PeerId } from "../../../src/protocol/crypto/peer_id.ts";
import { MetricsRegistry } from "../../../src/roles/metrics.ts";
import { EventStreams } from "../../../src/roles/server/api/event_streams.ts";
import { createApi } from "../../../src/roles/server/api/management_api.ts";
import type { ManagedServer, PairedFacts } from "../../../src/roles/server/api/managed_server.ts";
import type { AuditEntry, AuditRecord } from "../../../src/roles/server/audit_log.ts";
import type {
  MailboxAccount,
  MailboxAccounts,
  MailboxEvent,
  QueuedMessage,
  QuotaChange,
} from "../../../src/roles/server/mailbox_accounts.ts";
import { History } from "../../../src/roles/server/history.ts";
import type {
  LinkOffer,
  PairingControl,
  PairingEvent,
  PairingOffer,
  PairingRequest,
  PinOffer,
} from "../../../src/roles/server/pairing_control.ts";
import { ServerEvents } from "../../../src/roles/server/server_events.ts";
import { bytesFor, identityFor } from "../../support/identities.ts";
import { TestHost } from "./mailbox_scene.ts";

export const TOKEN = "secret-token";
export const AUTHORIZED = { authorization: `Bearer ${TOKEN}` };

const FIVE_MINUTES = 300_000;
const DEFAULT_QUOTA = { messages: 10_000, bytes: 2 ** 30 };

/** A server that is nothing but what the management API reads and steers. */
export class ManagedScene implements ManagedServer {
  readonly host = new TestHost();
  readonly peerId = identityFor("server").peerId;
  version = "1.2.3";
  readonly retention = 7 * 86_400_000;
  readonly startedAt = this.host.monotonic();
  readonly registry = new MetricsRegistry();
  readonly events = new ServerEvents(this.host);
  readonly history = new History();
  readonly streams = new EventStreams(this.events);
  readonly pairing = new FakePairing(this);
  readonly meetsAt = ["wss://signal.example.com:8443"];
  readonly audit = new FakeAudit(this.host);
  readonly paired = new Map<string, PairedFacts>();
  readonly connected = new Set<string>();
  readonly backups: ManagedServer["backups"] = undefined;
  readonly inquiry = undefined;
  readonly trace = undefined;
  readonly peerNames = new Map<string, string>();
  accounts: FakeAccounts | undefined = new FakeAccounts();
  free = 10 ** 9;
  readonly api = createApi(this, { token: TOKEN, hosts: ["cairn.example"], streams: this.streams });

  readonly book = {
    get: (peer: PeerId) => this.paired.get(peer.toString()),
    has: (peer: PeerId) => this.paired.has(peer.toString()),
    list: () => [...this.paired.values()],
  };
  readonly names = {
    get: (peer: PeerId) => this.peerNames.get(peer.toString()),
    set: (peer: PeerId, name: string | null) => {
      if (name === null) this.peerNames.delete(peer.toString());
      else this.peerNames.set(peer.toString(), name);
      return Promise.resolve();
    },
  };
  readonly relay = {
    capacity: 100,
    active: () => 1,
    bytesRelayed: () => 7,
    perPeer: () => [{ peerId: identityFor("phone").peerId, bytesRelayed: 7, activeStreams: 1 }],
  };

  constructor() {
    this.host.pass(62_900);
    this.pair("phone", true);
    this.pair("laptop", false);
    this.accounts?.put("laptop", 3, 99);
  }

  pair(label: string, connected: boolean): void {
    const { peerId } = identityFor(label);
    this.paired.set(peerId.toString(), {
      peerId,
      mechanism: "psk",
      pairedAt: 1_700_000_000_000,
      lastSeen: connected ? 1_700_000_100_999 : 0,
    });
    if (connected) this.connected.add(peerId.toString());
  }

  isConnected(peer: PeerId): boolean {
    return this.connected.has(peer.toString());
  }

  freeBytes(): Promise<number> {
    return Promise.resolve(this.free);
  }

  isShortOfSpace(free: number): boolean {
    return free < 2 ** 24;
  }

  metrics(): Promise<string> {
    return Promise.resolve(this.registry.text());
  }

  /** A request with the token. */
  async ask(path: string, init: RequestInit = {}): Promise<Response> {
    return await this.api.request(path, { ...init, headers: { ...AUTHORIZED, ...init.headers } });
  }

  /** A request with the token and a body of JSON. */
  async send(method: string, path: string, body: unknown): Promise<Response> {
    return await this.ask(path, {
      method,
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  }
}

/** The Peer ID that belongs to a label. */
export function idOf(label: string): string {
  return identityFor(label).peerId.toString();
}

class FakeAudit {
  readonly records: AuditRecord[] = [];

  constructor(private readonly host: TestHost) {}

  record(record: AuditRecord): Promise<void> {
    this.records.push(record);
    return Promise.resolve();
  }

  entries(limit: number, before = Infinity): Promise<AuditEntry[]> {
    const entries = this.records.map(({ actor, action, peerId, detail }, index) => ({
      id: index + 1,
      at: this.host.now(),
      actor,
      action,
      peerId: peerId?.toString() ?? null,
      detail: detail ?? null,
    }));
    return Promise.resolve(entries.filter(({ id }) => id < before).reverse().slice(0, limit));
  }

  /** What was recorded, in words. */
  get words(): string[] {
    return this.records.map(({ actor, action }) => `${actor} ${action}`);
  }
}

class FakeAccounts implements MailboxAccounts {
  readonly #waiting = new Map<string, MailboxAccount>();

  put(label: string, messages: number, bytes: number): void {
    const { peerId } = identityFor(label);
    const account = this.of(peerId);
    this.#waiting.set(peerId.toString(), { ...account, messages, bytes });
  }

  list(): MailboxAccount[] {
    return [...this.#waiting.values()];
  }

  of(peerId: PeerId): MailboxAccount {
    return this.#waiting.get(peerId.toString()) ?? {
      peerId,
      messages: 0,
      bytes: 0,
      quota: DEFAULT_QUOTA,
      own: { messages: false, bytes: false },
    };
  }

  totals() {
    const all = this.list();
    return {
      messages: all.reduce((sum, { messages }) => sum + messages, 0),
      bytes: all.reduce((sum, { bytes }) => sum + bytes, 0),
      maxBytes: 2 ** 30,
    };
  }

  setQuota(peer: PeerId, { messages, bytes }: QuotaChange): Promise<MailboxAccount> {
    const account = this.of(peer);
    const changed = {
      ...account,
      quota: {
        messages: messages === undefined
          ? account.quota.messages
          : messages ?? DEFAULT_QUOTA.messages,
        bytes: bytes === undefined ? account.quota.bytes : bytes ?? DEFAULT_QUOTA.bytes,
      },
      own: {
        messages: messages === undefined ? account.own.messages : messages !== null,
        bytes: bytes === undefined ? account.own.bytes : bytes !== null,
      },
    };
    this.#waiting.set(peer.toString(), changed);
    return Promise.resolve(changed);
  }

  queues() {
    const waiting = this.list().filter(({ messages }) => messages > 0);
    return Promise.resolve(waiting.map(({ peerId, messages, bytes }) => ({
      peerId,
      pendingMessages: messages,
      oldestMessageAgeSecs: 61,
      totalBytes: bytes,
    })));
  }

  messages(peer: PeerId, limit: number): Promise<QueuedMessage[]> {
    const { messages, bytes } = this.of(peer);
    return Promise.resolve(
      Array.from({ length: Math.min(messages, limit) }, (_, order) => ({
        order,
        msgId: "00".repeat(16),
        from: identityFor("phone").peerId,
        size: bytes / messages,
        acceptedAt: 1_700_000_000_000,
      })),
    );
  }

  purge(peer: PeerId): Promise<number> {
    const { messages } = this.of(peer);
    this.#waiting.delete(peer.toString());
    return Promise.resolve(messages);
  }

  watch(_listener: (event: MailboxEvent) => void): () => void {
    return () => {};
  }
}

class FakePairing implements PairingControl {
  readonly made: PairingOffer[] = [];
  asking: PairingRequest[] = [];
  readonly approved: string[] = [];
  maxOffers = 3;

  constructor(private readonly scene: ManagedScene) {}

  createPin(): PinOffer {
    return { ...this.#offer("pin"), kind: "pin", pin: "98AF-XZ2P" };
  }

  createLink(): LinkOffer {
    const payload = bytesFor("link");
    return { ...this.#offer("link"), kind: "link", uri: "cairn://pair?pid=x", payload };
  }

  offers(): readonly PairingOffer[] {
    return [...this.made].reverse();
  }

  withdraw(offerId: string): boolean {
    return this.made.some(({ id, state }) => id === offerId && state === "open");
  }

  requests(): readonly PairingRequest[] {
    return this.asking;
  }

  ask(label: string): void {
    const now = this.scene.host.now();
    this.asking.push({
      peerId: identityFor(label).peerId,
      sas: "042137",
      requestedAt: now,
      expiresAt: now + FIVE_MINUTES,
      connected: true,
      wasUnpaired: false,
    });
  }

  approve(peerId: PeerId): Promise<void> {
    if (peerId.equals(this.scene.peerId)) {
      return Promise.reject(new CairnError("refused", "This is the server's own Peer ID"));
    }
    this.approved.push(peerId.toString());
    return Promise.resolve();
  }

  refuse(peerId: PeerId): boolean {
    const before = this.asking.length;
    this.asking = this.asking.filter((request) => !request.peerId.equals(peerId));
    return this.asking.length < before;
  }

  unpair(peerId: PeerId): Promise<boolean> {
    return Promise.resolve(this.scene.paired.delete(peerId.toString()));
  }

  subscribe(_listener: (event: PairingEvent) => void): () => void {
    return () => {};
  }

  #offer(kind: "pin" | "link"): PairingOffer {
    if (this.made.length >= this.maxOffers) {
      throw new CairnError("refused", "Too many PINs and links are open");
    }
    const createdAt = this.scene.host.now();
    const offer = {
      id: `offer-${this.made.length}`,
      kind,
      state: "open" as const,
      createdAt,
      expiresAt: createdAt + FIVE_MINUTES,
      failures: 0,
      peerId: undefined,
    };
    this.made.push(offer);
    return offer;
  }
}
