/**
 * The cairn library: a {@linkcode Node} that writes to peers which may be away, and
 * {@linkcode createServer}, the always-on server that keeps their messages meanwhile.
 *
 * @module
 */

export { CairnError, type CairnErrorCode } from "./base/errors.ts";
export type { Host } from "./base/host.ts";
export { PeerId } from "./protocol/crypto/peer_id.ts";
export { MAX_DATA_LENGTH, Node } from "./roles/peer/node.ts";
export type {
  NetworkInfo,
  NodeEvents,
  NodeOptions,
  PairedPeer,
  PeerSession,
  ReceivedMessage,
  SentMessage,
} from "./roles/peer/node_api.ts";
export { createServer, type ServerNode } from "./roles/server/server_node.ts";
export type { RunningServer, ServerOptions } from "./roles/server/server_options.ts";
