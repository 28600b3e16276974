import { getLogger } from "@logtape/logtape";
import { equalBytes } from "../../base/bytes.ts";
import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { SealedMessage } from "../../protocol/rendezvous/sealed_message.ts";
import { relayOf } from "../path/relay_access.ts";
import type { PathSession } from "../path/path_session.ts";
import type { OutgoingPath, UdpPaths } from "../path/udp_paths.ts";
import { SealedRendezvous } from "../sealed_rendezvous.ts";
import type { SignalClient } from "../signal_client.ts";
import type { FrameSocket } from "../web_socket.ts";

const log = getLogger(["cairn", "peer"]);

export interface PathSearchOptions {
  readonly paths: UdpPaths;
  readonly host: Host;
  /** Sends a sealed message to the peer. */
  readonly send: (message: Omit<SealedMessage, "time">) => void;
  /** A carrier to the peer, or to whoever has its certificate: a link on it says who it is. */
  readonly onSocket: (socket: FrameSocket, path: PathSession) => void;
  readonly onSteady: (isSteady: boolean) => void;
  /** Nothing was found, or what was found is gone. */
  readonly onEnd: () => void;
}

/** Uses the relays that a paired server gave access to. */
export function useRelays(paths: UdpPaths, relays: SealedMessage["relays"] = []): void {
  for (const relay of relays) {
    const server = relayOf(relay);
    if (server) paths.addRelay(server);
  }
}

/** Milliseconds for a server to say which relays it gives access to. */
const RELAYS_TIMEOUT = 3_000;

/** Asks a paired server for relays where none is known; it may have none, or not answer. */
export async function askForRelays(
  { paths, self, remote, secrets, clients, host }: {
    readonly paths: UdpPaths;
    readonly self: PeerId;
    readonly remote: PeerId;
    readonly secrets: readonly Uint8Array[];
    readonly clients: readonly SignalClient[];
    readonly host: Host;
  },
): Promise<void> {
  if (paths.knowsRelay || !clients.some(({ connected }) => connected)) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const rendezvous = new SealedRendezvous({
    self,
    meeting: { remote, secrets },
    clients,
    host,
    onMessage: ({ kind, id, relays }) => {
      if (kind !== "answer" || !rendezvous.hasOffered(id)) return;
      useRelays(paths, relays);
      resolve();
    },
  });
  const timer = setTimeout(resolve, RELAYS_TIMEOUT);
  rendezvous.offer();
  await promise;
  clearTimeout(timer);
  rendezvous.close();
}

/** Looks for a way of datagrams to one peer, with sealed messages as the only means to talk. */
export class PathSearch {
  readonly #options: PathSearchOptions;
  readonly #outgoing: OutgoingPath;

  /** @throws {CairnError} `refused` when this node looks for too many at once. */
  constructor(options: PathSearchOptions) {
    const { paths, onSocket, onSteady, onEnd } = options;
    this.#options = options;
    this.#outgoing = paths.offer({
      onCandidates: () => this.#say("candidate"),
      onSocket,
      onSteady,
      onEnd,
    });
  }

  /** Asks the peer; an offer may be repeated in case that it was lost. */
  offer(): void {
    this.#say("offer");
  }

  /** Takes what the peer said, if it belongs to this search. */
  take({ kind, path, candidates, relays }: SealedMessage): void {
    if (kind !== "candidate" || !path) return;
    if (!equalBytes(path.session, this.#outgoing.parameters.session)) return;
    log.debug("The peer has {count} addresses for datagrams", { count: candidates.length });
    useRelays(this.#options.paths, relays);
    this.#outgoing.learn(path, candidates);
  }

  close(): void {
    this.#outgoing.close();
  }

  #say(kind: "offer" | "candidate"): void {
    const { host, paths, send } = this.#options;
    send({
      id: host.random(16),
      kind,
      candidates: paths.candidates,
      path: this.#outgoing.parameters,
    });
  }
}
