import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { Outbox } from "./outbox.ts";

/** A server without a link for so long is gone: another one takes over what lacks a receipt. */
const GONE_AFTER = 5_000;
/** By how much longer it is waited for, for each message that it has and that would go up again. */
const PATIENCE_PER_MESSAGE = 50;
const LONGEST_PATIENCE = 600_000;
const LOOK_INTERVAL = 1_000;
/** A mailbox without room is not tried again before, so that two that are full do not alternate. */
const FULL_FOR = 1_800_000;

/** What choosing among mailboxes stands on. */
export interface MailboxChoiceParts {
  readonly outbox: Outbox;
  readonly host: Host;
  /** The servers that this peer is paired with. */
  readonly servers: () => readonly string[];
  /** The server that had the messages to `recipient` is gone: others may ask for them. */
  readonly onGone: (recipient: PeerId) => void;
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
  /** Until when (monotonic milliseconds) a server is taken to have no room for a recipient. */
  readonly #full = new Map<string, number>();
  readonly #started: number;
  #timer: ReturnType<typeof setInterval> | undefined;
  #closed = false;

  constructor(parts: MailboxChoiceParts) {
    this.#parts = parts;
    this.#started = parts.host.monotonic();
  }

  /** A server is looked for; it is gone when it is not found in time. */
  expect(): void {
    if (!this.#closed) this.#timer ??= setInterval(() => this.#look(), LOOK_INTERVAL);
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
    if (this.#isFull(text, recipient)) return false;
    const current = this.#current(recipient);
    if (current !== undefined && current !== text && !this.#hasLeft(current, recipient)) {
      return false;
    }
    this.#chosen.set(key, text);
    return true;
  }

  /** `server` has no room for `recipient`. Returns whether another one is there that may have. */
  full(server: PeerId, recipient: PeerId): boolean {
    const now = this.#parts.host.monotonic();
    for (const [key, until] of this.#full) if (until <= now) this.#full.delete(key);
    this.#full.set(`${server} ${recipient}`, now + FULL_FOR);
    return this.#isFull(server.toString(), recipient);
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
  }

  #look(): void {
    const { outbox, servers, onGone } = this.#parts;
    for (const recipient of outbox.recipients()) {
      const current = this.#current(recipient);
      if (current !== undefined && this.#hasLeft(current, recipient)) onGone(recipient);
    }
    if (!servers().every((server) => this.#isUp(server))) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** The server that was chosen last, be it before this process began. */
  #current(recipient: PeerId): string | undefined {
    const chosen = this.#chosen.get(recipient.toString());
    if (chosen !== undefined) return chosen;
    const { outbox, servers } = this.#parts;
    const paired = servers();
    return outbox.entries(recipient)
      .find(({ wire }) => wire !== undefined && paired.includes(wire.server))?.wire?.server;
  }

  #hasLeft(server: string, recipient: PeerId): boolean {
    const { outbox, host, servers } = this.#parts;
    const entries = outbox.entries(recipient);
    if (!servers().includes(server) || entries[0]?.refusedBy.has(server)) return true;
    if (this.#isUp(server)) return this.#isFull(server, recipient);
    const there = entries.filter(({ wire }) => wire?.server === server);
    if (there.length === 0) return true;
    const accepted = there.filter(({ wire }) => wire?.accepted).length;
    const patience = Math.min(GONE_AFTER + accepted * PATIENCE_PER_MESSAGE, LONGEST_PATIENCE);
    return host.monotonic() - (this.#downSince.get(server) ?? this.#started) >= patience;
  }

  /** Without room, while another one is up that may have some. */
  #isFull(server: string, recipient: PeerId): boolean {
    const now = this.#parts.host.monotonic();
    const hasRoom = (each: string) => (this.#full.get(`${each} ${recipient}`) ?? 0) <= now;
    const { servers } = this.#parts;
    return !hasRoom(server) && servers().some((each) => this.#isUp(each) && hasRoom(each));
  }

  #isUp(server: string): boolean {
    return (this.#links.get(server) ?? 0) > 0;
  }
}
