/// <reference lib="dom" />
import { CairnError } from "../../base/errors.ts";
import { systemHost } from "../../base/host.ts";
import { explainContents } from "../indexed_db_errors.ts";
import { openBrowserPlace } from "./browser_place.ts";
import { linkUrl } from "./dial_link.ts";
import type { HandlerScope } from "./dispatcher.ts";
import type { BrowserNodeOptions } from "./node_api.ts";
import { NodeStore } from "./node_store.ts";
import { PeerNode } from "./peer_node.ts";

const STORAGE_NAME = "cairn";

/**
 * A peer in a page, whose keys and messages are in a database of the browser. Its links are
 * WebSockets: it opens no ways of datagrams. A message handler that is under way when
 * {@linkcode PeerNode.close} is called, by whomever, is not waited for. It closes when the page is
 * left: one that the browser shows again from its cache (`pageshow`, persisted) has to make another.
 *
 * @example
 * ```ts no-eval
 * const node = await BrowserNode.create({ signalServer: "wss://signal.example" });
 * await node.start();
 * if (node.pairings().length === 0) await node.pairWithLink(link);
 * node.on("message", (message) => console.log(message.from.toString(), message.data));
 * ```
 */
export class BrowserNode extends PeerNode {
  /**
   * Opens the database, making it and an identity at the first start.
   *
   * @throws {CairnError} `data-folder-in-use` while another page has it open; `data-folder-unusable`
   * when the browser keeps nothing for this one, `data-folder-corrupt`, `disk-full`.
   */
  static async create(options: BrowserNodeOptions = {}): Promise<BrowserNode> {
    if (options.serverUrl !== undefined) linkUrl(options.serverUrl);
    const { storageName = STORAGE_NAME, storageTimeout, host = systemHost } = options;
    const place = await openBrowserPlace(storageName, host, storageTimeout);
    const store = await NodeStore.load(place, host).catch((error) => {
      throw explainContents(storageName, error);
    });
    const node = new BrowserNode(options, { store, host, handlers: new PageHandlerScope() });
    node.#followPage();
    return node;
  }

  #followPage(): void {
    const signal = this.closing;
    // A browser may keep the page it leaves, with open sockets: the server would think it listens.
    addEventListener("pagehide", () => {
      this.closeBecause(new CairnError("closed", "The page was left; load it again"));
    }, { signal });
    addEventListener("online", () => this.networkChanged(true), { signal });
    // Timers of a page that nobody sees are slow, and stand still while the machine sleeps.
    globalThis.document?.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.networkChanged(false);
    }, { signal });
  }
}

/** A browser cannot follow who calls: while handlers run, any caller may be one. */
class PageHandlerScope implements HandlerScope {
  isInside = false;

  async run(work: () => Promise<void>): Promise<void> {
    this.isInside = true;
    try {
      await work();
    } finally {
      this.isInside = false;
    }
  }
}
