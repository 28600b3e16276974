/**
 * The cairn library: a {@linkcode Node} that writes to peers which may be away, and
 * {@linkcode createServer}, the always-on server that keeps their messages meanwhile.
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
export type { CredentialKind, PairingMechanism } from "./protocol/pairing/pairing.ts";
export { loadPathBatches } from "./roles/path/path_sockets.ts";
export { Node } from "./roles/peer/node.ts";
export { MAX_DATA_LENGTH } from "./roles/peer/outgoing.ts";
export { PeerNode } from "./roles/peer/peer_node.ts";
export type {
  BroadcastOptions,
  NetworkInfo,
  NodeEvents,
  NodeOptions,
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
export type {
  LinkOffer,
  PairingControl,
  PairingEvent,
  PairingOffer,
  PairingOfferState,
  PairingRequest,
  PinOffer,
} from "./roles/server/pairing_control.ts";
export type { PairingWay } from "./roles/peer/pairing_way.ts";
export type { RelayPeerStats } from "./protocol/hub/relay_accounts.ts";
export type { RelayStats } from "./protocol/hub/relay_exchange.ts";
export { createServer, type ServerNode } from "./roles/server/server_node.ts";
export type { BackupOptions, RunningServer, ServerOptions } from "./roles/server/server_options.ts";
