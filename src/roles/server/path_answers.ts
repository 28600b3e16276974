import { getLogger } from "@logtape/logtape";
import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type {
  PathParameters,
  RelayAccess,
  SealedMessage,
} from "../../protocol/rendezvous/sealed_message.ts";
import type { UdpPaths } from "../path/udp_paths.ts";
import type { FrameSocket } from "../web_socket.ts";

const log = getLogger(["cairn", "server"]);

export interface PathAnswersOptions {
  readonly paths: UdpPaths;
  readonly host: Host;
  /** What lets a paired peer in at this server's relays for a while. */
  readonly relays: () => readonly RelayAccess[];
  /** A carrier that a peer has opened; a link on it says who it is. */
  readonly onSocket: (socket: FrameSocket, peer: PeerId) => void;
}

/** Answers paired peers that look for ways of datagrams to this server. */
export class PathAnswers {
  readonly #options: PathAnswersOptions;

  constructor(options: PathAnswersOptions) {
    this.#options = options;
  }

  /** What lets a paired peer in at this server's relays for a while. */
  relays(): readonly RelayAccess[] {
    return this.#options.relays();
  }

  /** Takes a sealed message of `peer` and says what there is to say with `send`. */
  take(
    peer: PeerId,
    { kind, path, candidates }: SealedMessage,
    send: (message: Omit<SealedMessage, "time">) => void,
  ): void {
    if (!path) return;
    if (kind === "candidate") {
      void this.#options.paths.learn(peer.toString(), path, candidates);
    } else if (kind === "offer") {
      this.#answer(peer, path, candidates, send).catch((error) => {
        log.error("An offer of a path could not be answered: {error}", { error });
      });
    }
  }

  async #answer(
    peer: PeerId,
    offer: PathParameters,
    candidates: SealedMessage["candidates"],
    send: (message: Omit<SealedMessage, "time">) => void,
  ): Promise<void> {
    const { paths, host, relays, onSocket } = this.#options;
    const say = () => {
      if (!answer) return;
      send({
        id: host.random(16),
        kind: "candidate",
        candidates: paths.candidates,
        path: answer,
        relays: relays(),
      });
    };
    const answer = await paths.answer(peer.toString(), offer, candidates, {
      onCandidates: () => say(),
      onSocket: (socket) => onSocket(socket, peer),
    });
    say();
  }
}
