/**
 * The cairn library for pages: a {@linkcode BrowserNode} pairs with a server, writes to peers which
 * may be away, and receives from them, as a `Node` does in a program. `deno task bundle-browser`
 * makes one module of it, which needs nothing else.
 *
 * @module
 */

export {
  AuthenticationFailed,
  CairnError,
  type CairnErrorCode,
  PeerUnreachable,
  TransportExhausted,
  type WayTried,
} from "./base/errors.ts";
export type { Host } from "./base/host.ts";
export { PeerId } from "./protocol/crypto/peer_id.ts";
export { BrowserNode } from "./roles/peer/browser_node.ts";
export type {
  BroadcastOptions,
  BrowserNodeOptions,
  NetworkInfo,
  NodeEvents,
  PairedPeer,
  Path,
  PeerNodeOptions,
  PeerSession,
  ReceivedMessage,
  RosterMember,
  SendOptions,
  SentCopy,
  SentMessage,
  TransientMessage,
} from "./roles/peer/node_api.ts";
export type { PairingWay } from "./roles/peer/pairing_way.ts";
export { MAX_DATA_LENGTH } from "./roles/peer/outgoing.ts";
export { PeerNode } from "./roles/peer/peer_node.ts";
