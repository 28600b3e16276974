import { systemHost } from "../../base/host.ts";
import { installPrimitives } from "../../protocol/crypto/primitives.ts";
import { ServerFinder } from "../mdns/server_finder.ts";
import { nativePrimitives } from "../native_primitives.ts";
import { AsyncHandlerScope } from "./async_handler_scope.ts";
import { linkUrl } from "./dial_link.ts";
import type { NodeOptions } from "./node_api.ts";
import { openNodeStore } from "./node_folder.ts";
import { openNodePaths, useHintedRelays } from "./node_paths.ts";
import { PeerNode } from "./peer_node.ts";

/**
 * A peer whose keys and messages are in a folder.
 *
 * @example
 * ```ts no-eval
 * const node = await Node.create({ storagePath: "./alice", signalServer: "ws://localhost:8443" });
 * await node.start();
 * await node.pairWithPsk("correct horse battery staple", serverPeerId);
 * node.on("message", (message) => console.log(message.from.toString(), message.data));
 * ```
 */
export class Node extends PeerNode {
  /**
   * Opens the storage folder, making it and an identity at the first start.
   *
   * @throws {CairnError} when the folder is in use, damaged or not writable.
   */
  static async create(options: NodeOptions): Promise<Node> {
    if (options.serverUrl !== undefined) linkUrl(options.serverUrl);
    installPrimitives(nativePrimitives);
    const { storagePath, storePassphrase, host = systemHost } = options;
    return new Node(options, {
      store: await openNodeStore(storagePath, host, storePassphrase),
      host,
      handlers: new AsyncHandlerScope(),
      local: options.mdns ? new ServerFinder(host) : undefined,
      datagrams: {
        open: (clients) => openNodePaths(options, host, clients),
        learn: (paths, uris) => useHintedRelays(paths, options, uris),
      },
    });
  }
}
