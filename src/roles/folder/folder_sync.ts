import { getLogger } from "@logtape/logtape";
import { ProtocolError } from "../../base/errors.ts";
import { type Host, systemHost } from "../../base/host.ts";
import { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { FileRecord } from "../../protocol/folder/file_record.ts";
import type { IndexChange } from "../../protocol/folder/folder_index.ts";
import {
  decodeFolderMessage,
  FOLDER_CHANNEL,
  type FolderMessage,
  type HeardFolderMessage,
} from "../../protocol/folder/folder_messages.ts";
import { PiecePlan } from "../../protocol/folder/piece_plan.ts";
import { mapDiskFull } from "../disk_full.ts";
import { NotTaken } from "../peer/listeners.ts";
import type { TransientMessage } from "../peer/node_api.ts";
import { FolderDisk } from "./folder_disk.ts";
import { FolderLooks } from "./folder_looks.ts";
import { hasMark, readMark } from "./folder_mark.ts";
import { FolderMembers } from "./folder_members.ts";
import { FolderPace, TICK_MS } from "./folder_pace.ts";
import { FolderProgress } from "./folder_progress.ts";
import { FolderState } from "./folder_state.ts";
import { FolderTalk } from "./folder_talk.ts";
import type { FolderSyncOptions } from "./folder_sync_options.ts";
import { FolderTeller } from "./folder_teller.ts";
import { FolderWriter } from "./folder_writer.ts";
import { LocalContents } from "./local_contents.ts";
import { PieceFetcher } from "./piece_fetcher.ts";
import { PieceGiver } from "./piece_giver.ts";

const log = getLogger(["cairn", "folder"]);

/** What was announced to come unasked is not asked for before so long after the last of it. */
const PUSH_GRACE_MS = 10_000;

/** Keeps a folder the same on all devices that share it. */
export class FolderSync {
  /** Rejects when the folder cannot be synced any further. */
  readonly failed: Promise<never>;
  readonly #reject: (error: unknown) => void;
  readonly #options: FolderSyncOptions;
  readonly #host: Host;
  readonly #state: FolderState;
  readonly #plan = new PiecePlan();
  readonly #talk: FolderTalk;
  readonly #members: FolderMembers;
  readonly #writer: FolderWriter;
  readonly #giver: PieceGiver;
  readonly #fetcher: PieceFetcher;
  readonly #teller: FolderTeller;
  readonly #looks: FolderLooks;
  readonly #progress: FolderProgress;
  readonly #pace: FolderPace;
  readonly #removers: (() => void)[] = [];
  #work: Promise<void> = Promise.resolve();
  #ticking: Promise<void> | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;

  private constructor(options: FolderSyncOptions, state: FolderState, mark: string) {
    const { node, directory, name, only, pushLimit, host = systemHost } = options;
    this.#options = options;
    this.#host = host;
    this.#state = state;
    this.#pace = new FolderPace(host);
    ({ promise: this.failed, reject: this.#reject } = Promise.withResolvers<never>());
    this.failed.catch(() => {}); // It may fail before anybody waits for it.
    const disk = new FolderDisk(directory, () => hasMark(directory, mark));
    const onStale = this.lookAgain.bind(this);
    const onSkipped = (path: string, reason: string) => this.#progress.skipped(path, reason);
    const contents = new LocalContents(disk, state, onStale);
    this.#talk = new FolderTalk(node, name, (peer, error) => {
      log.debug("A message for {peer} was not accepted: {error}", { peer: `${peer}`, error });
    });
    this.#members = new FolderMembers({
      node,
      state,
      talk: this.#talk,
      life: host.random(8),
      only,
      onJoined: (peer) =>
        this.#options.onEvent({ event: "joined", peer, name: this.#members.nameOf(peer) }),
      onAnotherLife: (peer) => this.#fetcher.forget(peer),
    });
    this.#writer = new FolderWriter({
      disk,
      state,
      plan: this.#plan,
      contents,
      onWritten: (record) => this.#onWritten(record),
      onSkipped,
      onStale,
    });
    this.#giver = new PieceGiver(contents, this.#talk);
    this.#fetcher = new PieceFetcher(this.#plan, this.#members, this.#talk);
    const parts = { state, talk: this.#talk, members: this.#members, contents };
    this.#teller = new FolderTeller({ ...parts, pushLimit });
    this.#progress = new FolderProgress({ ...parts, plan: this.#plan, onEvent: options.onEvent });
    this.#looks = new FolderLooks({
      disk,
      state,
      host,
      rescanEvery: options.rescanEvery,
      onList: (hash, list) => contents.remember(hash, list),
      onSkipped,
      isPartInUse: (part) => this.#writer.isPartInUse(part),
      onEdits: (changes) => this.#onEdits(changes),
    });
  }

  /** Opens folder and index. @throws {CairnError} `data-folder-unusable`. */
  static async open(options: FolderSyncOptions): Promise<FolderSync> {
    const { directory, storePath, node, label, limits, host = systemHost } = options;
    const mark = await readMark(directory, host);
    const own = { self: node.peerId, label, mark, host, limits };
    const state = await FolderState.open(storePath, own);
    return new FolderSync(options, state, mark);
  }

  /**
   * Looks at the whole folder and begins to talk to the others. The node is to be started after it.
   *
   * @throws {CairnError} `data-folder-unusable`.
   */
  async start(): Promise<void> {
    const { node } = this.#options;
    await this.#looks.start();
    this.#options.onEvent({ event: "started", files: this.#state.files.size });
    await this.#writer.settle([...this.#state.pending]);
    this.#removers.push(
      node.on("message", (message) => this.#onMessage(message)),
      node.on("transient", (message) => this.#onMessage(message)),
      node.on("roster", ({ peerId, online }) => {
        this.#pace.heardOfPresence();
        this.#do(() => this.#onRoster(peerId, online)).catch(() => {}); // It ends the sync.
      }),
      node.on("peerFound", () => this.#pace.heardOfPresence()),
      node.on("delivered", ({ id, to }) => this.#teller.delivered(to, id)),
      node.on("refused", ({ id, to }) => {
        const name = this.#members.nameOf(to);
        if (this.#teller.refused(to, id)) this.#options.onEvent({ event: "waits", peer: to, name });
      }),
    );
    await this.#do(() => this.#members.start(PeerId.parse));
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  /**
   * Whether nothing is missing here, every device that is there has all of this one's files, and
   * nothing that was said is still on this device alone.
   */
  isSettled(): boolean {
    const isLinked = this.#options.node.pairings().some(({ connected }) => connected);
    return isLinked && this.#pace.isPresenceKnown && this.#pace.isQuiet &&
      this.#state.missing === 0 &&
      this.#looks.idle && this.#teller.idle && this.#giver.idle && this.#talk.idle &&
      this.#members.online().every((member) => this.#members.isUpToDate(member));
  }

  /** Files for which there is no room in the index, so that the folders stay different. */
  get leftOut(): number {
    return this.#state.index.leftOut;
  }

  /** Whether nothing has become of what is missing for two minutes: nobody who is there has it. */
  isStalled(): boolean {
    return this.#pace.isStalled;
  }

  /** Looks at what is at `path`, by default at the whole folder, as it does at intervals. */
  lookAgain(path = ""): void {
    this.#looks.add(path);
  }

  /** Ends; resolves when what is under way is on disk. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    for (const remove of this.#removers) remove();
    this.#talk.closed = true;
    await this.#looks.close();
    await this.#ticking;
    await this.#work;
    await this.#state.close();
  }

  async #onMessage(message: TransientMessage): Promise<void> {
    const { channel, from, data } = message;
    if (channel !== FOLDER_CHANNEL) throw new NotTaken();
    let heard: HeardFolderMessage;
    try {
      heard = decodeFolderMessage(data);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      log.warn("{peer} says what no device says: {error}", { peer: `${from}`, error });
      return;
    }
    const { said, unsound } = heard;
    if (said.folder !== this.#options.name) return;
    if (unsound > 0 && this.#members.has(from)) this.#progress.unsound(from, unsound);
    let isTaken = false;
    await this.#do(async () => {
      await this.#take(from, said);
      isTaken = true;
    });
    // It has ended meanwhile: the message stays for its next life.
    if (!isTaken) throw new NotTaken();
  }

  async #take(from: PeerId, said: FolderMessage): Promise<void> {
    const now = this.#host.monotonic();
    if (said.kind === "state") return await this.#members.hear(from, said);
    // Whoever shares the folder has said so before.
    if (!this.#members.has(from)) return;
    this.#fetcher.heard(from, now, said.kind);
    switch (said.kind) {
      case "changes": {
        const changes = await this.#state.merge(said.records);
        this.#changed(changes);
        const notBefore = said.pushed ? now + PUSH_GRACE_MS : 0;
        return await this.#writer.settle(changes.map(({ record }) => record.path), notBefore);
      }
      case "want":
        return this.#giver.want(from, said.requests, said.afresh);
      case "list":
        this.#plan.putOff(said.hash, now + PUSH_GRACE_MS);
        return await this.#writer.takeList(said.hash, said.list);
      case "pieces":
        for (const piece of said.pieces) {
          this.#plan.putOff(piece.hash, now + PUSH_GRACE_MS);
          await this.#writer.takePiece(piece);
        }
        this.#pace.changed();
        break;
      case "lack":
        this.#fetcher.lacks(from, said.hashes, now);
    }
    await this.#fetcher.ask(now, false);
  }

  async #onRoster(peer: PeerId, online: boolean): Promise<void> {
    await this.#members.appeared(peer);
    if (!online) return;
    this.#teller.cameOnline(peer);
    await this.#members.cameOnline(peer);
    await this.#fetcher.cameOnline(peer);
  }

  /** This device's files were changed. */
  #onEdits(changes: readonly IndexChange[]): Promise<void> {
    this.#changed(changes);
    this.#progress.edited(changes);
    return this.#do(() => this.#writer.settle([...this.#state.pending]));
  }

  #changed(changes: readonly IndexChange[]): void {
    if (changes.length > 0) this.#pace.changed();
    this.#progress.changed(changes);
  }

  #onWritten(record: FileRecord): void {
    this.#pace.changed();
    this.#progress.written(record);
  }

  /** Runs `step` after those before it. A step that fails ends the sync: it may have lost something. */
  #do(step: () => Promise<void>): Promise<void> {
    const done = this.#work.then(() => this.#talk.closed ? undefined : step());
    this.#work = done.catch((error) => this.#fail(error));
    return done;
  }

  #fail(error: unknown): void {
    if (!this.#talk.closed) this.#reject(mapDiskFull(error));
    // Nobody is told of what may not be kept here.
    this.#talk.closed = true;
  }

  #tick(): void {
    this.#ticking ??= this.#turn().catch((error) => this.#fail(error))
      .finally(() => this.#ticking = undefined);
  }

  async #turn(): Promise<void> {
    const now = this.#host.monotonic();
    this.#looks.turn(now).catch((error) => this.#fail(error));
    this.#teller.tell().catch((error) => this.#fail(error));
    const { isQuiet, isPresenceKnown } = this.#pace;
    await this.#do(() => this.#fetcher.ask(now, isPresenceKnown));
    if (isQuiet && this.#teller.idle) {
      await this.#do(async () => {
        await this.#state.forgetDeletions();
        await this.#members.tellState();
        await this.#members.heal();
      });
    }
    this.#progress.show(now, this.#pace.isQuiet);
    this.#pace.turned({ isGiving: !this.#giver.idle, isLooking: !this.#looks.idle });
  }
}
