/// <reference lib="dom" />
import type { Health, PairingOffer, PairingRequest, Peer } from "./answers.ts";
import { type Ending, ending } from "./ending.ts";
import type { StreamedEvent } from "./event_parser.ts";
import type { Session } from "./session.ts";
import { shortId } from "./wording.ts";

/** Milliseconds for which changes are gathered before they are asked for. */
const GATHER = 150;

/** Which part of the server's state is asked for anew. */
type Part = "health" | "peers" | "requests" | "offers";

/** The server's state as the page knows it. */
export class ServerState {
  health: Health | undefined;
  peers: readonly Peer[] = [];
  requests: readonly Ending<PairingRequest>[] = [];
  offers: readonly Ending<PairingOffer>[] = [];
  /** Called after something has changed. */
  onChange: () => void = () => {};

  readonly #session: Session;
  /** Also of those that are gone: what is told of their end may come after it. */
  readonly #names = new Map<string, string | null>();
  readonly #stale = new Set<Part>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(session: Session) {
    this.#session = session;
  }

  /** What a peer is called, else the ends of its id. */
  nameOf(peerId: string): string {
    return this.#names.get(peerId) ?? shortId(peerId);
  }

  /** Asks for everything. @throws {Refused} */
  async load(): Promise<void> {
    await this.#loadParts(["health", "peers", "requests", "offers"]);
  }

  /** Takes over what an event says, or asks for what it touches. */
  hear({ type, data }: StreamedEvent): void {
    if (type === "missed") this.refresh("health", "peers", "requests", "offers");
    else if (type === "queue.changed") this.#changeQueue(data);
    else if (type.startsWith("pairing.")) this.refresh("requests", "offers", "health");
    else this.refresh("peers", "requests", "offers", "health");
  }

  /** Asks for parts soon, and once for all that are wanted by then. */
  refresh(...parts: readonly Part[]): void {
    for (const part of parts) this.#stale.add(part);
    this.#timer ??= setTimeout(() => {
      const stale = [...this.#stale];
      this.#stale.clear();
      this.#loadParts(stale).then(() => {
        this.#timer = undefined;
        if (this.#stale.size > 0) this.refresh();
      }, () => {
        // The next refresh, a few seconds on, asks for them again.
        for (const part of stale) this.#stale.add(part);
        this.#timer = undefined;
      });
    }, GATHER);
  }

  async #loadParts(parts: readonly Part[]): Promise<void> {
    await Promise.all(parts.map((part) => this.#loadPart(part)));
    this.onChange();
  }

  async #loadPart(part: Part): Promise<void> {
    switch (part) {
      case "health":
        this.health = await this.#session.ask<Health>("health");
        return;
      case "peers":
        this.peers = await this.#session.ask<Peer[]>("peers");
        for (const { peer_id: id, name } of this.peers) this.#names.set(id, name);
        return;
      case "requests": {
        const { requests } = await this.#session.ask<{ requests: PairingRequest[] }>(
          "pairing/requests",
        );
        this.requests = requests.map(ending);
        return;
      }
      case "offers": {
        const { offers } = await this.#session.ask<{ offers: PairingOffer[] }>("pairing/offers");
        this.offers = offers.map(ending);
        return;
      }
    }
  }

  /** So that a busy mailbox costs no requests. */
  #changeQueue(data: StreamedEvent["data"]): void {
    this.peers = this.peers.map((peer) =>
      peer.peer_id === data.peer_id
        ? {
          ...peer,
          pending_messages: Number(data.pending_messages),
          stored_bytes: Number(data.stored_bytes),
        }
        : peer
    );
    this.refresh("health");
    this.onChange();
  }
}
