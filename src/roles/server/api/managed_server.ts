import type { Host } from "../../../base/host.ts";
import type { PeerId } from "../../../protocol/crypto/peer_id.ts";
import type { BackupDesk } from "../../backup/backup_desk.ts";
import type { Pairing } from "../../peer_book.ts";
import type { AuditLog } from "../audit_log.ts";
import type { History } from "../history.ts";
import type { MailboxAccounts } from "../mailbox_accounts.ts";
import type { MailboxInquiry } from "../mailbox_inquiry.ts";
import type { MessageTrace } from "../message_trace.ts";
import type { PairingControl } from "../pairing_control.ts";
import type { PeerNames } from "../peer_names.ts";
import type { ServerEvents } from "../server_events.ts";

/** A running server as the management API reads and steers it. */
export interface ManagedServer {
  readonly peerId: PeerId;
  readonly version: string;
  /** On the monotonic clock of `host`. */
  readonly startedAt: number;
  readonly host: Host;
  readonly book: {
    get(peer: PeerId): PairedFacts | undefined;
    has(peer: PeerId): boolean;
    list(): readonly PairedFacts[];
  };
  readonly names: Pick<PeerNames, "get" | "set">;
  /** `undefined` when no mailbox is kept. */
  readonly accounts: MailboxAccounts | undefined;
  /** As `accounts`, about single messages. */
  readonly inquiry: Pick<MailboxInquiry, "waitingFor" | "waitingFrom"> | undefined;
  readonly trace: Pick<MessageTrace, "of"> | undefined;
  readonly pairing: PairingControl;
  /** URLs of the signaling servers at which a peer finds it by a PIN. */
  readonly meetsAt: readonly string[];
  /** `undefined` when the store is not in a folder of ours. */
  readonly backups: Pick<BackupDesk, "open"> | undefined;
  readonly audit: Pick<AuditLog, "record" | "entries">;
  readonly events: ServerEvents;
  readonly history: Pick<History, "samples">;
  readonly relay: RelayCount;
  /** Milliseconds that a message waits at most. */
  readonly retention: number;
  /** Its numbers, for Prometheus. */
  metrics(): Promise<string>;
  isConnected(peer: PeerId): boolean;
  /** Bytes the disk can still take; `Infinity` where the system does not say. */
  freeBytes(): Promise<number>;
  /** Whether messages are refused for want of room on the disk. */
  isShortOfSpace(freeBytes: number): boolean;
}

/** What the management API tells of a pairing; never its secret. */
export type PairedFacts = Pick<Pairing, "peerId" | "mechanism" | "pairedAt" | "lastSeen">;

/** What the personal relay does. */
export interface RelayCount {
  /** Most pairs of peers at a time. */
  readonly capacity: number;
  /** Pairs at present. */
  active(): number;
  /** Since the start. */
  bytesRelayed(): number;
  perPeer(): readonly {
    readonly peerId: PeerId;
    /** Sent and received, since the start. */
    readonly bytesRelayed: number;
    readonly activeStreams: number;
  }[];
}
