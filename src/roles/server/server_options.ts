import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";

/** Settings of an always-on server; what is left out has the documented default. */
export interface ServerOptions {
  /** Folder for keys, pairings and waiting messages; one process at a time. */
  readonly storagePath: string;
  /** Where links are accepted, `host:port`; default `0.0.0.0:9091`. */
  readonly listenAddr?: string;
  /** How the server is reached from outside, when it sits behind a proxy. */
  readonly publicUrl?: string;
  /** The management REST API. */
  readonly management?: {
    /** Default true. */
    readonly enabled?: boolean;
    /** Default `127.0.0.1`. */
    readonly bind?: string;
    /** Default 9090. */
    readonly port?: number;
    /** Bearer token; one is made and stored when it is left out. */
    readonly token?: string;
    /** Host names under which the API may be asked, beside localhost and IP addresses. */
    readonly hosts?: readonly string[];
  };
  /** Pre-shared key, at least 12 bytes: whoever knows it may pair. */
  readonly psk?: string;
  /** Peers that may pair without a key. */
  readonly approvedPeers?: readonly (PeerId | string)[];
  /** The mailbox. */
  readonly forward?: {
    /** Default true. */
    readonly enabled?: boolean;
    /** Messages waiting for one peer; default 10,000. */
    readonly maxPerPeer?: number;
    /** Milliseconds that a message waits at most; default 7 days. */
    readonly maxAgeMs?: number;
    /** Bytes of all waiting messages; default 1 GiB. */
    readonly maxTotalBytes?: number;
  };
  /** Seconds that a message waits at most; the same as `forward.maxAgeMs`. */
  readonly maxMessageRetentionSecs?: number;
  /** WebSocket URLs of the signaling servers at which peers find this one. */
  readonly signalServers?: readonly string[];
  /** Bearer token for them. */
  readonly signalAuthToken?: string;
  /** TURN servers, as `turn:` and `turns:` URIs, for peers that cannot be reached directly. */
  readonly turnServers?: readonly string[];
  /** The secret of these servers, by which credentials are made for this node and its peers. */
  readonly turnSecret?: string;
  /** The user of these servers, for this node alone; where there is no secret. */
  readonly turnUser?: { readonly username: string; readonly password: string };
  /** PEM files for links and management. */
  readonly tls?: { readonly certPath: string; readonly keyPath: string };
  /** Clocks and randomness; default the system's. */
  readonly host?: Host;
}

/** A server that runs. */
export interface RunningServer {
  /** This server's id. */
  readonly peerId: PeerId;
  /** Where it listens. */
  readonly addresses: {
    readonly links: { readonly host: string; readonly port: number };
    readonly management: { readonly host: string; readonly port: number } | undefined;
  };
  /** Ends links, listeners, timers and storage, in that order. */
  close(): Promise<void>;
}
