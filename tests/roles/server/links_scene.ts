import type { PeerId } from "../../../src/protocol/crypto/peer_id.ts";
import {
  decodeForwardAck,
  decodeForwardDeliver,
  encodeForwardPurge,
  encodeForwardRequest,
  type ForwardAck,
  type ForwardDeliver,
  type ForwardRequest,
} from "../../../src/protocol/forward_messages.ts";
import { MessageType } from "../../../src/protocol/message_types.ts";
import type { InvitationHint } from "../../../src/protocol/pairing/invitation.ts";
import { initiateLink, type LinkContext } from "../../../src/roles/link_connection.ts";
import { PeerBook } from "../../../src/roles/peer_book.ts";
import { ApprovalBook } from "../../../src/roles/server/approval_book.ts";
import { AskingPeers } from "../../../src/roles/server/asking_peers.ts";
import { type Hub, openHub } from "../../../src/roles/server/hub.ts";
import { MailboxDesk, type MailboxDeskOptions } from "../../../src/roles/server/mailbox_desk.ts";
import { OperatorDesk } from "../../../src/roles/server/operator_desk.ts";
import { PairingDesk } from "../../../src/roles/server/pairing_desk.ts";
import { PeerLinks } from "../../../src/roles/server/peer_links.ts";
import { PrekeyShelf } from "../../../src/roles/server/prekey_shelf.ts";
import { FakeTime, turns } from "../../support/fake_time.ts";
import { bytesFor, identityFor } from "../../support/identities.ts";
import { contextFor, LinkRecorder } from "../../support/link_pair.ts";
import { MortalCommit } from "../../support/peer_world.ts";
import { SocketPair } from "../../support/socket_pair.ts";
import { LIMITS, MemoryFolder } from "./mailbox_scene.ts";

export const PSK = "correct horse battery staple";

export interface ServerSettings {
  readonly label?: string;
  /** What its links declare beside what the hub adds. */
  readonly capabilities?: readonly string[];
  /** Shared with another scene. */
  readonly time?: FakeTime;
  readonly psk?: string | undefined;
  readonly approved?: readonly PeerId[];
  readonly forward?: boolean;
  /** A store that outlives the scene. */
  readonly kv?: Deno.Kv;
  readonly storeId?: Uint8Array;
  readonly limits?: Partial<MailboxDeskOptions["limits"]>;
  readonly hints?: readonly InvitationHint[];
  /** Roster and relay as these say; without it the server has neither. */
  readonly hub?: { roster?: boolean; relayCapacity?: number; names?: Record<string, string> };
}

/** A server behind links in memory: its books, mailbox, shelf and desks are real. */
export class ServerScene implements AsyncDisposable {
  private constructor(
    readonly time: FakeTime,
    readonly kv: Deno.Kv,
    readonly commit: MortalCommit,
    readonly context: LinkContext,
    readonly book: PeerBook,
    readonly shelf: PrekeyShelf,
    readonly desk: MailboxDesk | undefined,
    readonly pairing: PairingDesk,
    readonly links: PeerLinks,
    readonly operator: OperatorDesk,
    readonly storeId: Uint8Array,
    readonly hub: Hub | undefined,
  ) {}

  static async open(settings: ServerSettings = {}): Promise<ServerScene> {
    const { time = new FakeTime() } = settings;
    const folder = new MemoryFolder(settings.kv ?? await Deno.openKv(":memory:"));
    const { kv } = folder;
    const commit = new MortalCommit(kv, folder.reserve);
    const { names = {}, ...hubOptions } = settings.hub ?? {};
    const hub = settings.hub && openHub({ ...hubOptions, host: time }, {
      peers: () => book.list().map(({ peerId }) => peerId),
      isPaired: (peer) => book.has(peer),
      nameOf: (peer) => names[peer.toString()] ?? null,
    });
    const context = contextFor(settings.label ?? "server", time, {
      capabilities: [...settings.capabilities ?? ["mailbox"], ...hub?.capabilities ?? []],
      heartbeat: 60_000,
    });
    const book = await PeerBook.open(kv, commit);
    const shelf = await PrekeyShelf.open({ kv, commit, host: time });
    const desk = settings.forward === false ? undefined : await MailboxDesk.open({
      folder,
      commit,
      limits: { ...LIMITS, ...settings.limits },
      isPaired: (peer) => book.has(peer),
      host: time,
    });
    const psk = "psk" in settings ? settings.psk : PSK;
    const approvals = await ApprovalBook.open(kv, commit, {
      configured: settings.approved ?? [],
      psk,
    });
    if (hub) book.onChange = (peerId) => hub.peerChanged(peerId, book.has(peerId));
    const self = context.identity.peerId;
    const asking = await AskingPeers.open(kv, commit, {
      host: time,
      isSettled: (peer) => book.has(peer) || approvals.isApproved(peer),
    });
    const pairing = new PairingDesk({ self, book, approvals, asking, host: time, psk });
    const { storeId = bytesFor("store").slice(0, 16) } = settings;
    const links = new PeerLinks({
      context,
      ...(hub && { hub }),
      book,
      desk,
      shelf,
      pairing,
      storeId,
      largestBody: 1_000_000,
      retentionSeconds: 7 * 86_400,
    });
    const operator = new OperatorDesk({
      self,
      host: time,
      desk: pairing,
      hints: () => settings.hints ?? [],
      isPaired: (peer) => book.has(peer),
      unpair: (peer) => links.unpair(peer, "operator"),
    });
    return new ServerScene(
      time,
      kv,
      commit,
      context,
      book,
      shelf,
      desk,
      pairing,
      links,
      operator,
      storeId,
      hub,
    );
  }

  get peerId(): PeerId {
    return this.context.identity.peerId;
  }

  /** Makes peers with these labels paired. */
  async know(...labels: string[]): Promise<void> {
    for (const label of labels) {
      await this.book.pair({
        peerId: identityFor(label).peerId,
        mechanism: "psk",
        pairedAt: this.time.now(),
        secret: bytesFor(`${label} secret`),
      });
    }
  }

  /** A link of the peer with this label. */
  async link(
    label: string,
    options: {
      receive?: boolean;
      capabilities?: readonly string[];
      source?: string;
      cable?: SocketPair;
    } = {},
  ): Promise<Client> {
    const { receive = false, source = "192.0.2.1", cable = new SocketPair() } = options;
    const { capabilities = receive ? ["receive"] : [] } = options;
    const context = contextFor(label, this.time, { capabilities });
    const accepted = this.links.accept(cable.far, source);
    const link = await initiateLink(cable.near, context, { expectedPeer: this.peerId });
    link.trustRemote();
    await accepted;
    return new Client(context.identity.peerId, new LinkRecorder(link), cable);
  }

  /** Lets everything that is under way come to rest. */
  async settle(): Promise<void> {
    for (let round = 0; round < 6; round++) {
      await turns();
      await this.commit.flush();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.pairing.close();
    this.operator.close();
    this.hub?.close();
    await this.links.close();
    await this.desk?.close();
    await this.commit.close();
    this.kv.close();
    this.time[Symbol.dispose]();
  }
}

/** The other end of a link to the server. */
export class Client {
  constructor(
    readonly self: PeerId,
    readonly recorder: LinkRecorder,
    readonly cable: SocketPair,
  ) {}

  send(type: number, payload: Uint8Array = new Uint8Array(0)): void {
    this.recorder.link.send(type, payload);
  }

  close(reason = "going-away"): void {
    this.recorder.link.close(reason);
  }

  /** Gives the mailbox a message and returns its answer. */
  async forward(request: ForwardRequest): Promise<ForwardAck> {
    this.send(MessageType.ForwardRequest, encodeForwardRequest(request));
    let ack: ForwardAck | undefined;
    await this.recorder.until(() => {
      ack = this.acks().find(({ msgId }) => msgId.toHex() === request.msgId.toHex());
      return ack !== undefined || this.recorder.ended !== undefined;
    });
    if (!ack) throw new Error(`The link ended: ${this.recorder.ended}`);
    return ack;
  }

  acks(): ForwardAck[] {
    return this.recorder.payloads(MessageType.ForwardAck).map(decodeForwardAck);
  }

  deliveries(): ForwardDeliver[] {
    return this.recorder.payloads(MessageType.ForwardDeliver).map(decodeForwardDeliver);
  }

  async untilDelivered(count: number): Promise<ForwardDeliver[]> {
    await this.recorder.payload(MessageType.ForwardDeliver, count);
    return this.deliveries();
  }

  purge(...deliveries: ForwardDeliver[]): void {
    const msgIds = deliveries.map(({ msgId }) => msgId);
    this.send(MessageType.ForwardPurge, encodeForwardPurge({ msgIds, failed: [] }));
  }
}

/** A label whose Peer ID sorts before that of `label`, or behind it. */
export function labelBeside(label: string, side: "below" | "above"): string {
  const text = identityFor(label).peerId.toString();
  for (let n = 0;; n++) {
    const candidate = identityFor(`server ${n}`).peerId.toString();
    if (candidate < text === (side === "below")) return `server ${n}`;
  }
}
