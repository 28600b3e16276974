import { getLogger } from "@logtape/logtape";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { AuditLog } from "./audit_log.ts";
import type { MailboxAccounts, MailboxEvent } from "./mailbox_accounts.ts";
import type { PairingControl, PairingEvent } from "./pairing_control.ts";
import type { PeerNames } from "./peer_names.ts";
import type { ServerEvent, ServerEvents } from "./server_events.ts";

const log = getLogger(["cairn", "server"]);

/** A busy mailbox is told about this often. */
const TELL_EVERY = 1_000;

/** Tells of each peer whose mailbox changed, at most once a second. */
export class MailboxNews {
  readonly #accounts: MailboxAccounts;
  readonly #events: ServerEvents;
  readonly #changed = new Map<string, { peerId: PeerId; refused: number; reason: string | null }>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(accounts: MailboxAccounts, events: ServerEvents) {
    this.#accounts = accounts;
    this.#events = events;
  }

  hear(event: MailboxEvent): void {
    if (event.type === "offered" || !this.#events.hasListeners) return;
    const key = event.to.toString();
    const change = this.#changed.get(key) ?? { peerId: event.to, refused: 0, reason: null };
    if (event.type === "refused") {
      change.refused++;
      change.reason = event.reason;
    }
    this.#changed.set(key, change);
    this.#timer ??= setTimeout(() => this.#tell(), TELL_EVERY);
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #tell(): void {
    this.#timer = undefined;
    for (const { peerId, refused, reason } of this.#changed.values()) {
      const { messages, bytes, quota } = this.#accounts.of(peerId);
      this.#events.mention({
        type: "queue.changed",
        data: {
          peer_id: peerId.toString(),
          pending_messages: messages,
          stored_bytes: bytes,
          quota_messages: quota.messages,
          quota_bytes: quota.bytes,
          refused,
          reason,
        },
      });
    }
    this.#changed.clear();
  }
}

/** Tells of what happens at the pairing desk, and records what peers change by themselves. */
export function tellOfPairing(
  pairing: PairingControl,
  parts: { events: ServerEvents; audit: AuditLog; names: PeerNames },
): () => void {
  const { events, audit, names } = parts;
  return pairing.subscribe((event) => {
    events.publish(pairingEvent(event));
    if (event.kind === "paired") {
      void audit.record({
        actor: "peer",
        action: "peer.pair",
        peerId: event.peerId,
        detail: event.mechanism,
      });
    } else if (event.kind === "unpaired") {
      if (event.by === "peer") {
        void audit.record({ actor: "peer", action: "peer.unpair", peerId: event.peerId });
      }
      names.set(event.peerId, null).catch((error) => {
        log.error("The name of a peer that is unpaired stays for now: {error}", { error });
      });
    }
  });
}

/** A paired peer came or went. */
export function presenceEvent(peerId: PeerId, connected: boolean): ServerEvent {
  return {
    type: connected ? "peer.connected" : "peer.disconnected",
    data: { peer_id: peerId.toString() },
  };
}

function pairingEvent(event: PairingEvent): ServerEvent {
  switch (event.kind) {
    case "requested":
      return {
        type: "pairing.requested",
        data: { peer_id: event.peerId.toString(), sas: event.sas },
      };
    case "approved":
    case "refused":
      return { type: `pairing.${event.kind}`, data: { peer_id: event.peerId.toString() } };
    case "paired":
      return {
        type: "peer.paired",
        data: {
          peer_id: event.peerId.toString(),
          mechanism: event.mechanism,
          offer_id: event.offerId ?? null,
        },
      };
    case "unpaired":
      return {
        type: "peer.unpaired",
        data: { peer_id: event.peerId.toString(), by: event.by },
      };
    case "offer-made":
    case "offer-ended": {
      const { id, kind, state, failures, peerId } = event.offer;
      return {
        type: `pairing.${event.kind}`,
        data: { id, kind, state, failures, peer_id: peerId?.toString() ?? null },
      };
    }
    case "attempt-failed":
      return { type: "pairing.attempt-failed", data: { mechanism: event.mechanism } };
  }
}
