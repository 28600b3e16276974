import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { Outbox } from "./outbox.ts";

/** A server without a link for so long is gone: another one takes over what lacks a receipt. */
const GONE_AFTER = 5_000;

/** What choosing among mailboxes stands on. */
export interface MailboxChoiceParts {
  readonly outbox: Outbox;
  readonly host: Host;
  readonly isPaired: (server: string) => boolean;
  /** A server has been away for so long that others take over from it. */
  readonly onGone: () => void;
}

/**
 * Which of several servers takes the messages to whom: one at a time for each recipient, and
 * whoever takes over takes along everything that lacks a receipt. So each mailbox has the messages
 * of a sender in order, and without gaps but what the recipient has already.
 */
export class MailboxChoice {
  readonly #parts: MailboxChoiceParts;
  readonly #chosen = new Map<string, string>();
  readonly #links = new Map<string, number>();
  /** Monotonic milliseconds when the last link to a server ended. */
  readonly #downSince = new Map<string, number>();
  readonly #started: number;
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  #closed = false;

  constructor(parts: MailboxChoiceParts) {
    this.#parts = parts;
    this.#started = parts.host.monotonic();
  }

  /** A server is looked for; it is gone when it is not found in time. */
  expect(): void {
    if (this.#closed) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#parts.onGone();
    }, GONE_AFTER);
    this.#timers.add(timer);
  }

  linkUp(server: PeerId): void {
    const key = server.toString();
    this.#links.set(key, (this.#links.get(key) ?? 0) + 1);
  }

  linkDown(server: PeerId): void {
    const key = server.toString();
    this.#links.set(key, (this.#links.get(key) ?? 1) - 1);
    this.#downSince.set(key, this.#parts.host.monotonic());
    this.expect();
  }

  /** Whether messages to `recipient` go to `server`, which is linked and asks for them. */
  claims(server: PeerId, recipient: PeerId): boolean {
    const [key, text] = [recipient.toString(), server.toString()];
    const current = this.#chosen.get(key) ?? this.#holder(recipient);
    if (current !== undefined && current !== text && !this.#hasLeft(current, recipient)) {
      return false;
    }
    this.#chosen.set(key, text);
    return true;
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  /** The server that was chosen before this process began. */
  #holder(recipient: PeerId): string | undefined {
    const { outbox, isPaired } = this.#parts;
    return outbox.entries(recipient)
      .find(({ wire }) => wire !== undefined && isPaired(wire.server))?.wire?.server;
  }

  #hasLeft(server: string, recipient: PeerId): boolean {
    const { outbox, host, isPaired } = this.#parts;
    const entries = outbox.entries(recipient);
    if (!isPaired(server) || entries[0]?.refusedBy.has(server)) return true;
    if ((this.#links.get(server) ?? 0) > 0) return false;
    const since = this.#downSince.get(server) ?? this.#started;
    const isGone = host.monotonic() - since >= GONE_AFTER;
    return isGone || entries.every(({ wire }) => wire?.server !== server);
  }
}
