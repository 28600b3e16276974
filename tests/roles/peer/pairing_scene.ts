import type { PeerId } from "../../../src/protocol/crypto/peer_id.ts";
import type { LinkContext } from "../../../src/roles/link_connection.ts";
import { pairWith } from "../../../src/roles/peer/pair_with.ts";
import type { PairingAim } from "../../../src/roles/peer/pairing_aim.ts";
import { PeerBook } from "../../../src/roles/peer_book.ts";
import { MeetingPoints } from "../../../src/roles/server/meeting_points.ts";
import { turns } from "../../support/fake_time.ts";
import { identityFor } from "../../support/identities.ts";
import { contextFor } from "../../support/link_pair.ts";
import { MortalCommit } from "../../support/peer_world.ts";
import { SignalHub } from "../../support/signal_hub.ts";
import { ServerScene, type ServerSettings } from "../server/links_scene.ts";

/** A server that is found through signaling, and peers that want to pair with it. */
export class PairingScene implements AsyncDisposable {
  readonly hubs = [new SignalHub(), new SignalHub()];
  /** Links that the server saw come about. */
  attempts = 0;
  readonly #stack = new AsyncDisposableStack();
  readonly #joinersCommits: MortalCommit[] = [];

  private constructor(readonly server: ServerScene) {
    this.#stack.use(server);
    this.meet(server);
  }

  static async open(settings: ServerSettings = {}): Promise<PairingScene> {
    return new PairingScene(await ServerScene.open(settings));
  }

  get hub(): SignalHub {
    return this.hubs[0]!;
  }

  /** Lets a server wait on the signaling servers. */
  meet(server: ServerScene): void {
    const meetings = new MeetingPoints({
      self: server.peerId,
      book: server.book,
      clients: this.hubs.map((hub) => hub.client()),
      host: server.time,
      candidates: () => [],
      onSocket: (socket, source) => {
        if (server === this.server) this.attempts++;
        void server.links.accept(socket, source);
      },
    });
    server.operator.onTopics = () => meetings.followOffers(server.operator.topics());
    this.#stack.defer(() => meetings.close());
  }

  /** Another server on the same signaling servers. */
  async rival(label: string, settings: ServerSettings = {}): Promise<ServerScene> {
    const rival = await ServerScene.open({ ...settings, label, time: this.server.time });
    this.#stack.use(rival);
    this.meet(rival);
    return rival;
  }

  async joiner(label: string): Promise<Joiner> {
    const kv = await Deno.openKv(":memory:");
    const commit = new MortalCommit(kv);
    this.#joinersCommits.push(commit);
    this.#stack.defer(async () => {
      await commit.close();
      kv.close();
    });
    const context = contextFor(label, this.server.time, { capabilities: ["receive"] });
    return new Joiner(this, kv, commit, context, await PeerBook.open(kv, commit));
  }

  /** Lets time pass, second by second, until `work` has ended either way. */
  async during<T>(work: Promise<T>): Promise<T> {
    let isOver = false;
    const watched = work.finally(() => isOver = true);
    watched.catch(() => {});
    for (let second = 0; !isOver && second < 600; second++) {
      await this.server.settle();
      // What a disk is busy with takes no time on these clocks, or the other side would give up.
      await Promise.all(this.#joinersCommits.map((commit) => commit.flush()));
      if (!isOver) this.server.time.pass(1_000);
      await turns();
    }
    return await watched;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** A peer that pairs. */
export class Joiner {
  constructor(
    private readonly scene: PairingScene,
    readonly kv: Deno.Kv,
    readonly commit: MortalCommit,
    readonly context: LinkContext,
    readonly book: PeerBook,
  ) {}

  get peerId(): PeerId {
    return this.context.identity.peerId;
  }

  pair(
    aim: PairingAim,
    options: { hubs?: SignalHub[]; signal?: AbortSignal } = {},
  ): Promise<PeerId> {
    const { hubs = [this.scene.hub], signal = new AbortController().signal } = options;
    return pairWith({
      aim,
      book: this.book,
      clients: hubs.map((hub) => hub.client()),
      context: this.context,
      urls: [],
      signal,
    });
  }

  /** What the two sides hold of their pairing. */
  secrets(server = this.scene.server): {
    ours: Uint8Array | undefined;
    theirs: Uint8Array | undefined;
  } {
    return {
      ours: this.book.get(server.peerId)?.secret,
      theirs: server.book.get(this.peerId)?.secret,
    };
  }
}

/** The Peer ID of the peer with this label. */
export function peerIdFor(label: string): PeerId {
  return identityFor(label).peerId;
}
