import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { RelayStats } from "../../protocol/hub/relay_exchange.ts";
import type { PairingControl } from "./pairing_control.ts";

/** Settings of an always-on server; what is left out has the documented default. */
export interface ServerOptions {
  /** Folder for keys, pairings and waiting messages; one process at a time. */
  readonly storagePath: string;
  /** Where links are accepted, `host:port`; default `0.0.0.0:9091`. */
  readonly listenAddr?: string;
  /** File descriptor of a socket that listens already, in place of the address. */
  readonly listenFd?: number | undefined;
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
    /** File descriptor of a socket that listens already, in place of address and port. */
    readonly fd?: number | undefined;
    /** Bearer token; one is made and stored when it is left out. */
    readonly token?: string;
    /** Host names under which the API may be asked, beside localhost and IP addresses. */
    readonly hosts?: readonly string[];
    /** Whether `/metrics` names every paired peer; default false. */
    readonly metricsPerPeer?: boolean;
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
  /** Backups that the server takes by itself; left out for none. */
  readonly backups?: BackupOptions;
  /** Whether peers are told of one another: names, and who is online. Default true. */
  readonly roster?: boolean;
  /** Most pairs of peers that the server relays between at a time; default 100, 0 for none. */
  readonly relayCapacity?: number;
  /** Bytes a second that one peer may send through it on average; default no bound. */
  readonly relayPeerRate?: number | undefined;
  /** Seconds that a message waits at most; the same as `forward.maxAgeMs`. */
  readonly maxMessageRetentionSecs?: number;
  /** WebSocket URLs of the signaling servers at which peers find this one. */
  readonly signalServers?: readonly string[];
  /** The same servers as pairing links name them to other machines; default `signalServers`. */
  readonly signalHints?: readonly string[];
  /** Bearer token for them. */
  readonly signalAuthToken?: string;
  /** Whether this server is announced on the local network, by mDNS; default false. */
  readonly mdns?: boolean;
  /** TURN servers, as `turn:` and `turns:` URIs, for peers that cannot be reached directly. */
  readonly turnServers?: readonly string[];
  /**
   * What the TURN servers ask for: a name and a password, for this node alone, or the secret that
   * they share, by which credentials are made for this node and its peers.
   */
  readonly turnCredentials?:
    | { readonly username: string; readonly password: string }
    | { readonly secret: string };
  /** Folder of the store, or URL of a KV Connect server that keeps it; default `storagePath`. */
  readonly kvUrl?: string;
  /** Encrypts what is in the store; the whole life of it, from the first start on. */
  readonly storePassphrase?: string;
  /** PEM files for links and management. */
  readonly tls?: { readonly certPath: string; readonly keyPath: string };
  /** Clocks and randomness; default the system's. */
  readonly host?: Host;
}

/** How a server takes backups by itself. */
export interface BackupOptions {
  /** Made when it is not there; another disk is the right place. */
  readonly folder: string;
  /** At least 12 characters. */
  readonly passphrase: string;
  /** Milliseconds from one to the next. */
  readonly every: number;
  /** How many are kept, 1 or more. */
  readonly keep: number;
}

/** A server that runs. */
export interface RunningServer {
  /** This server's id. */
  readonly peerId: PeerId;
  /** Makes PINs and links, approves and unpairs peers. */
  readonly pairing: PairingControl;
  /** Where it listens. */
  readonly addresses: {
    readonly links: { readonly host: string; readonly port: number };
    readonly management: { readonly host: string; readonly port: number } | undefined;
  };
  /** How many peers are paired with it. */
  pairedPeers(): number;
  /** Rejects when it cannot go on: another server has taken its store over. */
  readonly closed: Promise<void>;
  /** Reads the certificate again, for new connections; without TLS it does nothing. */
  reload(): void;
  /** Numbers of the personal relay; `undefined` when it is off. */
  relayStats(): RelayStats | undefined;
  /** Ends links, listeners, timers and storage, in that order. */
  close(): Promise<void>;
}
