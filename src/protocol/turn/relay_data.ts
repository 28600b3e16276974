import type { Endpoint } from "../../base/endpoint.ts";
import type { Client, RelaySocket } from "./client.ts";

/** Free bytes that the machine needs in front of a datagram: a Data indication up to its data. */
export const HEADROOM = 48;
/** Free bytes that it needs behind a datagram, for padding. */
export const TAILROOM = 3;

/**
 * What to send at once, in the buffer of the packet that came in: to a client, or from a relay
 * socket to a peer. There is one object for all packets.
 */
export class Delivery {
  offset = 0;
  length = 0;
  /** Set when it goes to a client. */
  client: Client | undefined;
  /** Set when it goes to a peer, with {@linkcode peer}. */
  socket: RelaySocket | undefined;
  peer: Endpoint | undefined;
  /** To a peer: the client asked for datagrams that are not fragmented. */
  dontFragment = false;
}
