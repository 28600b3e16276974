/// <reference lib="dom" />
import type { RecentEvents } from "./answers.ts";
import { notify } from "./dialogs.ts";
import { byId, setText } from "./elements.ts";
import { EventStream } from "./event_stream.ts";
import { EventsSection } from "./events_section.ts";
import { HistorySection } from "./history_section.ts";
import { Overview } from "./overview.ts";
import { PairingSection } from "./pairing_section.ts";
import { PeersSection } from "./peers_section.ts";
import { RequestsSection } from "./requests_section.ts";
import { ServerState } from "./server_state.ts";
import type { Session } from "./session.ts";
import { clockText } from "./wording.ts";

const SECOND = 1_000;
/** As often as the server reads its own numbers. */
const SAMPLE = 10_000;

/** The page of one who has signed in, live until the page is left or loaded anew. */
export class Dashboard {
  readonly #session: Session;
  readonly #state: ServerState;
  readonly #overview = new Overview();
  readonly #requests: RequestsSection;
  readonly #peers: PeersSection;
  readonly #pairing: PairingSection;
  readonly #history: HistorySection;
  readonly #events: EventsSection;

  constructor(session: Session) {
    const state = new ServerState(session);
    const nameOf = (peerId: string) => state.nameOf(peerId);
    const onChanged = () => state.refresh("health", "peers", "requests", "offers");
    this.#session = session;
    this.#state = state;
    this.#requests = new RequestsSection(session, onChanged);
    this.#peers = new PeersSection(session, onChanged);
    this.#pairing = new PairingSection(session, nameOf, onChanged);
    this.#history = new HistorySection(session);
    this.#events = new EventsSection(nameOf);
    state.onChange = () => this.#show();
    setInterval(() => this.#tick(), SECOND);
    setInterval(() => this.#sample(), SAMPLE);
    document.addEventListener("visibilitychange", () => this.#sample());
  }

  /** Loads everything and begins to listen. @throws {Refused} */
  async open(): Promise<void> {
    await this.#state.load();
    const { events, last_id: lastId } = await this.#session.ask<RecentEvents>("events/recent");
    this.#events.clear();
    for (const { type, data, at } of events) this.#events.add({ type, data }, at);
    void new EventStream(this.#session, {
      onEvent: (event) => {
        this.#events.add(event, Date.now() / 1000);
        this.#state.hear(event);
        if (event.type === "pairing.requested") notify("A peer asks to be paired");
      },
      onLive: () => this.#live(),
      onLost: () => lost(),
    }, lastId).start();
  }

  #show(): void {
    const { health, peers, requests, offers } = this.#state;
    if (health) this.#overview.showHealth(health);
    this.#peers.show(peers);
    this.#requests.show(requests);
    this.#pairing.show(offers);
  }

  #live(): void {
    const contact = byId("contact", HTMLElement);
    contact.className = "live";
    setText(contact, "Live");
    // What waits is told while one listens, and not afterwards.
    this.#state.refresh("health", "peers", "requests", "offers");
    this.#sample();
  }

  #tick(): void {
    this.#requests.tick();
    this.#pairing.tick();
  }

  #sample(): void {
    if (document.visibilityState === "hidden") return;
    this.#state.refresh("health");
    this.#history.load().then(() => {
      const { latest } = this.#history;
      if (latest) this.#overview.showRelay(...latest);
    }, () => {});
  }
}

/** Says since when what is shown is no longer true. */
export function lost(): void {
  const contact = byId("contact", HTMLElement);
  if (contact.className === "lost") return;
  contact.className = "lost";
  setText(
    contact,
    `Contact with the server was lost at ${clockText(Date.now() / 1000)}. Trying again…`,
  );
}
