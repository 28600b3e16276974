import { getLogger } from "@logtape/logtape";
import type { Host } from "../../base/host.ts";
import type { UdpPaths } from "../path/udp_paths.ts";
import type { FoundLink } from "./link_search.ts";

const log = getLogger(["cairn", "peer"]);

/** Milliseconds between two looks at whether the server answers. */
const LOOK_INTERVAL = 2_500;
/**
 * Milliseconds without an answer to anything after which it is asked, and that it may then take. A
 * path of datagrams finds out by itself and replaces its way: there only a stream that is stuck does.
 */
const UNANSWERED = 5_000;
const UNANSWERED_ON_PATH = 20_000;
const ANSWER_WITHIN = 5_000;
/** Milliseconds without a word after which it is asked. */
const SILENT = 15_000;
/** Milliseconds until something better than datagrams is looked for, each time twice as long. */
const IMPROVE_AFTER = 10_000;
const IMPROVE_AT_MOST = 600_000;

export interface LinkWatchOptions {
  readonly host: Host;
  /** Ways of datagrams; absent from a node without signaling. */
  readonly paths?: Pick<UdpPaths, "onNetworkChange"> | undefined;
  /** Finds another link to the same server. */
  readonly find: (signal: AbortSignal, ways: "all" | "websocket") => Promise<FoundLink>;
  /** Whether the way that carries the link answers. */
  readonly onSteady?: ((isSteady: boolean) => void) | undefined;
  /** A link to use in place of the one that is watched. */
  readonly onSuccessor: (found: FoundLink) => void;
}

/**
 * Watches one link and looks for another to take its place, before it is given up: when it does not
 * answer any more, by every way; and as long as datagrams carry it, for a WebSocket, which needs
 * neither relay nor hole in a NAT and is faster.
 */
export class LinkWatch {
  readonly #found: FoundLink;
  readonly #options: LinkWatchOptions;
  readonly #closing = new AbortController();
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #unsubscribe: () => void;
  #improveAt: number;
  #improvePause = IMPROVE_AFTER;
  #isDoubted = false;
  #look: Promise<void> | undefined;

  constructor(found: FoundLink, options: LinkWatchOptions) {
    this.#found = found;
    this.#options = options;
    this.#improveAt = this.#options.host.monotonic() + IMPROVE_AFTER;
    this.#timer = setInterval(() => this.#wake(), LOOK_INTERVAL);
    this.#unsubscribe = options.paths?.onNetworkChange(() => this.doubt()) ?? (() => {});
  }

  /** Asks the server at once whether it is still there, as after a change of the network. */
  doubt(): void {
    this.#isDoubted = true;
    this.#improvePause = IMPROVE_AFTER;
    this.#improveAt = 0;
    this.#wake();
  }

  /** Ends the watch and the search that it may have begun. */
  async close(): Promise<void> {
    this.#closing.abort();
    clearInterval(this.#timer);
    this.#unsubscribe();
    await this.#look;
  }

  /** One search at a time. */
  #wake(): void {
    this.#look ??= this.#lookAround().finally(() => this.#look = undefined);
  }

  async #lookAround(): Promise<void> {
    const { link, via } = this.#found;
    const { onSteady } = this.#options;
    const isByUrl = via()?.startsWith("ws") ?? true;
    const isOverdue = isByUrl
      ? link.unansweredFor > UNANSWERED || link.silentFor > SILENT
      : link.unansweredFor > UNANSWERED_ON_PATH;
    if (this.#isDoubted || isOverdue) {
      this.#isDoubted = false;
      if (await link.answers(ANSWER_WITHIN)) return onSteady?.(true);
      if (link.closed) return;
      log.info("The server does not answer; another way to it is looked for");
      onSteady?.(false);
      return await this.#replace("all");
    }
    if (isByUrl || this.#options.host.monotonic() < this.#improveAt) return;
    this.#improvePause = Math.min(2 * this.#improvePause, IMPROVE_AT_MOST);
    this.#improveAt = this.#options.host.monotonic() + this.#improvePause;
    await this.#replace("websocket");
  }

  async #replace(ways: "all" | "websocket"): Promise<void> {
    const { signal } = this.#closing;
    try {
      const successor = await this.#options.find(signal, ways);
      if (signal.aborted) return successor.link.close("going-away");
      log.info("The link to the server goes by {way} from here on", { way: successor.via() });
      this.#options.onSuccessor(successor);
    } catch (error) {
      log.debug("No other way to the server: {error}", { error });
    }
  }
}
