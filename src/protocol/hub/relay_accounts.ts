import type { PeerId } from "../crypto/peer_id.ts";

/** Numbers of one peer at a relay, since the start. */
export interface RelayPeerStats {
  /** Whose they are. */
  readonly peerId: PeerId;
  /** Bytes of frames taken from it. */
  readonly bytesSent: number;
  /** Bytes of frames that it acknowledged. */
  readonly bytesReceived: number;
  /** Relayed links that it has now. */
  readonly activeLinks: number;
}

interface Account {
  readonly peerId: PeerId;
  sent: number;
  received: number;
  /** Bytes that it may still send; below zero it waits. */
  balance: number;
  /** Monotonic milliseconds of the last refill. */
  at: number;
}

/** What each peer has sent and received through a relay, and how far it is beyond its rate. */
export class RelayAccounts {
  readonly #accounts = new Map<string, Account>();
  readonly #bytesPerSecond: number | undefined;
  #total = 0;

  /** @param bytesPerSecond what one peer may send on average, with a second's worth at once. */
  constructor(bytesPerSecond: number | undefined) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** Bytes sent by all. */
  get total(): number {
    return this.#total;
  }

  /** Counts `bytes` that were taken from `peer`, who goes into debt when it has no more. */
  sent(peer: PeerId, bytes: number, now: number): void {
    const account = this.#refilled(peer, now);
    account.sent += bytes;
    account.balance -= bytes;
    this.#total += bytes;
  }

  received(peer: PeerId, bytes: number): void {
    this.#account(peer).received += bytes;
  }

  /** When `peer` is out of debt: `now`, or later. */
  solventAt(peer: PeerId, now: number): number {
    if (this.#bytesPerSecond === undefined) return now;
    const { balance } = this.#refilled(peer, now);
    return balance >= 0 ? now : now + Math.ceil(-balance / this.#bytesPerSecond * 1000);
  }

  forget(peer: PeerId): void {
    this.#accounts.delete(peer.toString());
  }

  list(activeLinks: ReadonlyMap<string, number>): RelayPeerStats[] {
    return [...this.#accounts].map(([text, { peerId, sent, received }]) => ({
      peerId,
      bytesSent: sent,
      bytesReceived: received,
      activeLinks: activeLinks.get(text) ?? 0,
    }));
  }

  #refilled(peer: PeerId, now: number): Account {
    const account = this.#account(peer);
    const rate = this.#bytesPerSecond ?? Infinity;
    const elapsed = Math.max(0, now - account.at);
    account.balance = rate === Infinity
      ? 0
      : Math.min(rate, account.balance + elapsed / 1000 * rate);
    account.at += elapsed;
    return account;
  }

  #account(peer: PeerId): Account {
    const text = peer.toString();
    let account = this.#accounts.get(text);
    if (!account) {
      account = {
        peerId: peer,
        sent: 0,
        received: 0,
        balance: this.#bytesPerSecond ?? 0,
        at: 0,
      };
      this.#accounts.set(text, account);
    }
    return account;
  }
}
