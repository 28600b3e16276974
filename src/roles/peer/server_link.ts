import { getLogger } from "@logtape/logtape";
import { backoffDelay } from "../../base/backoff.ts";
import { AuthenticationFailed } from "../../base/errors.ts";
import type { LinkConnection } from "../link_connection.ts";
import { findLink, type FoundLink, type LinkSearchOptions } from "./link_search.ts";
import { askForRelays } from "./path_search.ts";
import { LinkWatch } from "./link_watch.ts";

const log = getLogger(["cairn", "peer"]);

/** A link that lived this long was a good one: the next search begins without a pause. */
const STEADY = 10_000;
/** What keeping a link to one paired server needs. */
export interface ServerLinkOptions extends LinkSearchOptions {
  readonly onLink: (link: LinkConnection) => void;
  /** The link that {@linkcode onLink} was told of has ended. */
  readonly onEnd: (link: LinkConnection, reason: string) => void;
  readonly onFailure: (error: Error) => void;
  /** A search for a link begins. */
  readonly onSearch?: () => void;
}

/**
 * Finds a paired server and keeps one link to it, again and again, until closed. Another link takes
 * the place of one on a worse way, or of one that does not answer; what was under way on that is
 * sent again.
 */
export class ServerLink {
  readonly #options: ServerLinkOptions;
  readonly #closing = new AbortController();
  readonly #done: Promise<void>;
  #found: FoundLink | undefined;
  /** What takes the place of the link that is about to end. */
  #successor: FoundLink | undefined;
  #wake: () => void = () => {};
  #watch: LinkWatch | undefined;

  constructor(options: ServerLinkOptions) {
    this.#options = options;
    this.#done = this.#run();
  }

  get link(): LinkConnection | undefined {
    return this.#found?.link;
  }

  /** What carries the link: a URL, or a path of datagrams in words. */
  get via(): string | undefined {
    return this.#found?.via();
  }

  /** Asks the server for relays where none is known. */
  async learnRelays(): Promise<void> {
    const { paths, context: { host, identity }, book, remote, clients } = this.#options;
    const pairing = book.get(remote);
    if (!paths || !pairing) return;
    const secrets = [pairing.secret, ...pairing.previousSecrets];
    await askForRelays({ paths, self: identity.peerId, remote, secrets, clients, host });
  }

  /** Cuts a pause between two attempts short. */
  hurry(): void {
    this.#wake();
  }

  /** The network may be another one, or back: looks at once whether the link is still good. */
  networkChanged(): void {
    this.hurry();
    this.#watch?.doubt();
  }

  /** Ends the link and the search. */
  async close(reason = "going-away"): Promise<void> {
    this.#closing.abort();
    this.#wake();
    this.#found?.link.close(reason);
    await this.#done;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        const found = this.#successor ?? await this.#find();
        this.#successor = undefined;
        const since = this.#options.context.host.monotonic();
        const reason = await this.#hold(found);
        if (this.#successor) continue;
        if (this.#options.context.host.monotonic() - since > STEADY) attempt = -1;
        if (reason === "not-paired") throw this.#notPaired();
      } catch (error) {
        if (signal.aborted) break;
        if (!(error instanceof Error)) throw error;
        log.debug("No link to the server yet: {message}", { message: error.message });
        this.#options.onFailure(error);
      }
      if (!signal.aborted) {
        await this.#pause(
          backoffDelay(attempt + 1, this.#options.context.host.random(1)[0]! / 256),
        );
      }
    }
    this.#successor?.link.close("going-away");
  }

  #notPaired(): AuthenticationFailed {
    return new AuthenticationFailed(
      "not-paired",
      `The server ${this.#options.remote} does not know this peer any more; pair with it again`,
    );
  }

  #find(): Promise<FoundLink> {
    this.#options.onSearch?.();
    return findLink(this.#options, this.#closing.signal);
  }

  async #hold(found: FoundLink): Promise<string> {
    const { link } = found;
    if (link.closed || this.#closing.signal.aborted) {
      link.close("going-away");
      return "going-away";
    }
    this.#found = found;
    link.trustRemote();
    const ended = new Promise<string>((resolve) => link.onClose = resolve);
    const { context: { host }, paths, onSteady } = this.#options;
    const watch = this.#watch = new LinkWatch(found, {
      host,
      paths,
      onSteady,
      find: (signal, ways) => findLink(this.#options, signal, ways),
      onSuccessor: (successor) => {
        this.#successor = successor;
        link.close("replaced");
      },
    });
    this.#options.onLink(link);
    const reason = await ended;
    this.#found = this.#watch = undefined;
    this.#options.onEnd(link, reason);
    await watch.close();
    return reason;
  }

  #pause(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
