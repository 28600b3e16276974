/// <reference lib="dom" />
import type { Peer, PeerOutcome, Purged } from "./answers.ts";
import { askName, confirmed, notify } from "./dialogs.ts";
import { button, byId, element, KeyedList, type Row, setText } from "./elements.ts";
import { sentenceOf, type Session } from "./session.ts";
import { bytesText, countText, mechanismText, messagesText, momentText } from "./wording.ts";

/** Above this share of its quota what waits for a peer is called nearly full. */
const NEARLY_FULL = 0.8;

/** The paired peers, and what can be done with each. */
export class PeersSection {
  readonly #session: Session;
  readonly #onChanged: () => void;
  readonly #list = new KeyedList<Peer>(
    byId("peer-list", HTMLUListElement),
    ({ peer_id: id }) => id,
    (peer) => this.#row(peer),
    byId("peers-title", HTMLElement),
  );

  /** `onChanged` hears that something was done. */
  constructor(session: Session, onChanged: () => void) {
    this.#session = session;
    this.#onChanged = onChanged;
  }

  show(peers: readonly Peer[]): void {
    this.#list.show(peers);
    byId("no-peers", HTMLElement).hidden = peers.length > 0;
  }

  #row(peer: Peer): Row<Peer> {
    const name = element("h3");
    const state = element("p");
    const waits = element("p");
    const paired = element("p", { class: "fine" });
    let current = peer;
    const act = (action: (peer: Peer) => Promise<string | undefined>) => () => {
      void action(current).then((done) => {
        if (done !== undefined) notify(done);
        this.#onChanged();
      }, (error) => notify(sentenceOf(error)));
    };
    const rename = button("Rename", act((peer) => this.#rename(peer)), { class: "small" });
    const purge = button("Purge…", act((peer) => this.#purge(peer)), { class: "small danger" });
    const unpair = button("Unpair…", act((peer) => this.#unpair(peer)), { class: "small danger" });
    return {
      node: element(
        "li",
        { class: "peer" },
        name,
        state,
        element("code", {}, peer.peer_id),
        element("div", {}, waits, paired),
        element("div", { class: "buttons" }, rename, purge, unpair),
      ),
      update(peer) {
        current = peer;
        const now = Date.now() / 1000;
        const title = titleOf(peer);
        setText(name, title);
        state.className = peer.connected ? "online" : "offline";
        setText(state, stateText(peer, now));
        setText(waits, waitingText(peer));
        waits.classList.toggle("some", peer.pending_messages > 0);
        waits.classList.toggle("warning", isNearlyFull(peer));
        setText(
          paired,
          `Paired ${momentText(peer.paired_at, now)} ${mechanismText(peer.mechanism)}`,
        );
        // Not `disabled`: that would take the focus away when the last message leaves.
        purge.hidden = peer.pending_messages === 0 && purge !== document.activeElement;
        for (
          const [control, verb] of [[rename, "Rename"], [purge, "Purge"], [
            unpair,
            "Unpair",
          ]] as const
        ) {
          control.setAttribute("aria-label", `${verb} ${title}`);
        }
      },
    };
  }

  async #rename(peer: Peer): Promise<string | undefined> {
    const name = await askName(`Name of ${titleOf(peer)}`, peer.name ?? "");
    if (name === undefined) return undefined;
    await rename(this.#session, peer.peer_id, name);
    return name === null ? "The name is gone" : `The peer is called ${name}`;
  }

  async #purge(peer: Peer): Promise<string | undefined> {
    const isSure = await confirmed(
      `Purge what waits for ${titleOf(peer)}?`,
      `${messagesText(peer.pending_messages)} (${bytesText(peer.stored_bytes)}) will be dropped ` +
        "and cannot be brought back. Their senders are told.",
      "Purge",
    );
    if (!isSure) return undefined;
    const { purged } = await this.#session.send<Purged>("POST", `queue/${peer.peer_id}/purge`);
    return `${messagesText(purged)} dropped`;
  }

  async #unpair(peer: Peer): Promise<string | undefined> {
    const isSure = await confirmed(
      `Unpair ${titleOf(peer)}?`,
      "Its keys and what waits for it are deleted, and it is told. To come back it must be paired " +
        "again.",
      "Unpair",
    );
    if (!isSure) return undefined;
    await this.#session.send<PeerOutcome>("POST", `peers/${peer.peer_id}/unpair`);
    return `${titleOf(peer)} is unpaired`;
  }
}

/** Sets or takes away the name of a peer. @throws {Refused} */
export async function rename(session: Session, peerId: string, name: string | null): Promise<void> {
  await session.send<Peer>("PATCH", `peers/${peerId}`, { name });
}

function titleOf(peer: Peer): string {
  return peer.name ?? "Unnamed peer";
}

function stateText({ connected, last_seen: seen }: Peer, now: number): string {
  if (connected) return seen === null ? "Online" : `Online since ${momentText(seen, now)}`;
  return seen === null ? "Never seen" : `Offline, last seen ${momentText(seen, now)}`;
}

function waitingText({ pending_messages: count, stored_bytes: bytes, quotas }: Peer): string {
  if (count === 0) return "Nothing waits";
  const bound = quotas === null ? "" : ` of ${countText(quotas.messages)}`;
  return `${countText(count)}${bound} ${count === 1 && !bound ? "message" : "messages"} wait, ` +
    bytesText(bytes);
}

function isNearlyFull({ pending_messages: count, stored_bytes: bytes, quotas }: Peer): boolean {
  return quotas !== null &&
    (count > quotas.messages * NEARLY_FULL || bytes > quotas.bytes * NEARLY_FULL);
}
