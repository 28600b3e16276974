/// <reference lib="dom" />
import type { Health, HistorySample } from "./answers.ts";
import { copyButton } from "./dialogs.ts";
import { byId, element, setText } from "./elements.ts";
import { bytesText, countText, durationText } from "./wording.ts";

/** A named value with a smaller remark. */
class Fact {
  readonly value = element("span");
  readonly remark = element("span", { class: "fine" });
  readonly #item: HTMLElement;

  constructor(list: HTMLElement, name: string, ...more: readonly Node[]) {
    this.#item = element("dd", {}, this.value, " ", this.remark, ...more);
    list.append(element("div", {}, element("dt", {}, name), this.#item));
  }

  show(value: string, remark = "", isWarning = false): void {
    setText(this.value, value);
    setText(this.remark, remark);
    this.#item.classList.toggle("warning", isWarning);
  }
}

/** The numbers at the top, and who this server is. */
export class Overview {
  readonly #tiles = byId("overview", HTMLElement);
  readonly #facts = byId("server", HTMLElement);
  readonly #health = new Fact(this.#tiles, "Health");
  readonly #peers = new Fact(this.#tiles, "Peers online");
  readonly #waiting = new Fact(this.#tiles, "Waiting");
  readonly #stored = new Fact(this.#tiles, "Stored");
  readonly #disk = new Fact(this.#tiles, "Disk");
  readonly #relay = new Fact(this.#tiles, "Relay");
  readonly #peerId = element("code");
  readonly #version = new Fact(this.#facts, "Version");
  readonly #uptime = new Fact(this.#facts, "Running for");
  readonly #kept = new Fact(this.#facts, "Messages are kept for");

  constructor() {
    const copy = copyButton("the Peer ID", () => this.#peerId.textContent ?? "");
    this.#facts.prepend(
      element("div", {}, element("dt", {}, "Peer ID"), element("dd", {}, this.#peerId, " ", copy)),
    );
  }

  showHealth(health: Health): void {
    const isDegraded = health.status === "degraded";
    this.#health.show(
      isDegraded ? "Disk full" : "Healthy",
      isDegraded ? "new messages are refused" : "",
      isDegraded,
    );
    this.#peers.show(countText(health.connected_peers), `of ${countText(health.total_peers)}`);
    this.#waiting.show(
      countText(health.pending_messages),
      health.pending_messages === 1 ? "message" : "messages",
    );
    this.#stored.show(
      bytesText(health.storage_used_bytes),
      `of ${bytesText(health.storage_limit_bytes)}`,
    );
    const { storage_free_bytes: free } = health;
    this.#disk.show(free === null ? "Unknown" : bytesText(free), free === null ? "" : "free");
    setText(this.#peerId, health.peer_id);
    this.#version.show(health.version);
    this.#uptime.show(durationText(health.uptime_secs));
    this.#kept.show(
      health.forward_enabled ? durationText(health.forward_max_age_secs) : "No messages are kept",
    );
    const requests = health.pairing_requests;
    document.title = requests > 0 ? `(${requests}) cairn server` : "cairn server";
  }

  /** What the latest sample says of the relay. */
  showRelay({ relay_pairs: pairs, relayed_bytes: bytes }: HistorySample, stepSecs: number): void {
    this.#relay.show(
      `${bytesText(bytes / stepSecs)}/s`,
      `${pairs} ${pairs === 1 ? "pair" : "pairs"}`,
    );
  }
}
