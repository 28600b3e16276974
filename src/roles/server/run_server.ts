import { getLogger } from "@logtape/logtape";
import type { Host } from "../../base/host.ts";
import { installPrimitives } from "../../protocol/crypto/primitives.ts";
import { MAX_ENVELOPE_LENGTH } from "../../protocol/link/link.ts";
import { CertificateWatch } from "../certificate_watch.ts";
import type { DataFolder } from "../data_folder.ts";
import { GroupCommit } from "../group_commit.ts";
import type { HttpListener } from "../http.ts";
import { loadIdentity } from "../identity_store.ts";
import { LinkKeys } from "../link_keys.ts";
import { Announcer } from "../mdns/announcer.ts";
import { nativePrimitives } from "../native_primitives.ts";
import { PeerBook } from "../peer_book.ts";
import { SignalClient } from "../signal_client.ts";
import { explainStoreFailure } from "../store_record.ts";
import { invitationHints, linkCandidates } from "./addresses.ts";
import { ApprovalBook } from "./approval_book.ts";
import { AskingPeers } from "./asking_peers.ts";
import { type CheckedOptions, checkOptions } from "./checked_options.ts";
import { openHub } from "./hub.ts";
import { acceptLinks, listenForLinks } from "./link_listener.ts";
import { MailboxDesk } from "./mailbox_desk.ts";
import { Management } from "./management.ts";
import { MeetingPoints } from "./meeting_points.ts";
import { OperatorDesk } from "./operator_desk.ts";
import { PairingDesk } from "./pairing_desk.ts";
import { PathAnswers } from "./path_answers.ts";
import { PeerLinks } from "./peer_links.ts";
import { PeerNames } from "./peer_names.ts";
import { PrekeyShelf } from "./prekey_shelf.ts";
import { openBackups } from "./server_backups.ts";
import { openServerStore } from "./server_store.ts";
import { openServerPaths, relayAccess } from "./server_relays.ts";
import type { RunningServer, ServerOptions } from "./server_options.ts";

const log = getLogger(["cairn", "server"]);

const HEARTBEAT = 60_000;
const SWEEP_INTERVAL = 60_000;
const DAY = 86_400_000;
/** Room in an envelope for what surrounds a body. */
const ENVELOPE_OVERHEAD = 1_024;

/**
 * Starts the always-on server.
 *
 * @throws {CairnError} that says what to do: folder in use or damaged, port in use, certificate
 * unreadable, an option that is not right.
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const checked = checkOptions(options);
  installPrimitives(nativePrimitives);
  const stack = new AsyncDisposableStack();
  try {
    const folder = await openServerStore(checked, checked.host);
    stack.defer(() => folder.close());
    return await assemble(checked, folder, stack);
  } catch (error) {
    await stack.disposeAsync();
    throw explainStoreFailure(options.storagePath, error);
  }
}

async function assemble(
  options: CheckedOptions,
  folder: DataFolder,
  stack: AsyncDisposableStack,
): Promise<RunningServer> {
  const { host } = options;
  const { kv } = folder;
  const commit = new GroupCommit(kv, folder.reserve);
  stack.defer(() => commit.close());
  const { identity } = await loadIdentity(kv, host);
  const self = identity.peerId;
  const book = await PeerBook.open(kv, commit);
  const shelf = await PrekeyShelf.open({ kv, commit, host });
  if (folder.restored) {
    log.warn("The data folder was copied or restored: senders will offer their messages again");
    await shelf.dropOneTimeKeys();
  }
  const retention = retentionOf(options);
  const largestBody = MAX_ENVELOPE_LENGTH - ENVELOPE_OVERHEAD;
  const desk = options.forward?.enabled === false ? undefined : await MailboxDesk.open({
    folder,
    commit,
    limits: {
      maxPerPeer: options.forward?.maxPerPeer ?? 10_000,
      maxAgeMs: retention,
      maxTotalBytes: options.forward?.maxTotalBytes ?? 1_073_741_824,
      largestBody,
    },
    isPaired: (peer) => book.has(peer),
    host,
  });
  if (desk) stack.defer(() => desk.close());
  const approvals = await ApprovalBook.open(kv, commit, {
    configured: options.approvedPeers,
    psk: options.psk,
  });
  const asking = await AskingPeers.open(kv, commit, {
    host,
    isSettled: (peer) => book.has(peer) || approvals.isApproved(peer),
  });
  const pairing = new PairingDesk({ self, book, approvals, asking, host, psk: options.psk });
  const names = await PeerNames.open(kv, commit);
  const hub = openHub(options, {
    peers: () => book.list().map(({ peerId }) => peerId),
    isPaired: (peer) => book.has(peer),
    nameOf: (peer) => names.get(peer) ?? null,
  });
  stack.defer(() => hub.close());
  names.onChange = (peerId) => hub.peerChanged(peerId, book.has(peerId));
  const links = new PeerLinks({
    context: {
      identity,
      keys: new LinkKeys(identity, host),
      capabilities: [...(desk ? ["mailbox", "sync"] : []), ...hub.capabilities],
      host,
      heartbeat: HEARTBEAT,
    },
    book,
    desk,
    shelf,
    pairing,
    hub,
    storeId: folder.storeId,
    largestBody,
    retentionSeconds: Math.floor(retention / 1000),
  });
  const clients = (options.signalServers ?? []).map((url) =>
    new SignalClient({
      url,
      host,
      ...(options.signalAuthToken !== undefined && { authToken: options.signalAuthToken }),
    })
  );

  const operator = new OperatorDesk({
    self,
    host,
    desk: pairing,
    hints: () => invitationHints(options, candidates()),
    isPaired: (peer) => book.has(peer),
    unpair: (peer) => links.unpair(peer, "operator"),
  });
  const linkListener = await listenForLinks(options, links);
  stack.defer(() => linkListener.close());
  const backups = openBackups(options, folder);
  stack.defer(() => backups?.close());
  const management = await Management.open({
    options,
    folder,
    commit,
    host,
    self,
    book,
    names,
    links,
    signaling: clients,
    accounts: desk?.accounts,
    inquiry: desk?.inquiry,
    pairing: operator,
    backups,
    retention,
    relay: hub.relayCount(),
  });
  stack.use(management);
  const managementListener = await management.listen((server) => acceptLinks(server, links));
  stack.defer(() => links.close());
  stack.defer(() => pairing.close());
  stack.defer(() => operator.close());

  const listening = [linkListener, ...(managementListener ? [managementListener] : [])];
  const watch = options.tls && watchCertificate(options.tls, listening, host);
  stack.defer(() => watch?.close());
  const listeners = listening.map(({ address }) => ({
    ...address,
    tls: options.tls !== undefined,
  }));
  const candidates = () =>
    linkCandidates({
      publicUrl: options.publicUrl,
      listeners,
      interfaces: Deno.networkInterfaces(),
    });
  const paths = clients.length === 0 ? undefined : openServerPaths(options, host);
  paths?.onNetworkChange((isLost) => isLost && clients.forEach((client) => client.renew()));
  if (paths) stack.defer(() => paths.close());
  const meetings = new MeetingPoints({
    self,
    book,
    clients,
    host,
    candidates,
    onSocket: (socket, source) => void links.accept(socket, source),
    ...(paths && {
      pathAnswers: new PathAnswers({
        paths,
        host,
        relays: () => relayAccess(options, host),
        onSocket: (socket, peer) => void links.accept(socket, peer.toString()),
      }),
    }),
  });
  book.onChange = (peerId) => {
    meetings.renew(peerId);
    hub.peerChanged(peerId, book.has(peerId));
  };
  operator.onTopics = () => meetings.followOffers(operator.topics());
  stack.defer(() => meetings.close());
  for (const client of clients) {
    client.start();
    stack.defer(() => client.close());
  }
  const announcer = options.mdns && new Announcer({
    server: self,
    listener: { ...linkListener.address, tls: options.tls !== undefined },
    host,
  });
  if (announcer) stack.use(announcer);
  const sweeper = setInterval(() => {
    desk?.sweep().catch((error) => log.error("Expired messages stay for now: {error}", { error }));
  }, SWEEP_INTERVAL);
  stack.defer(() => clearInterval(sweeper));

  log.info("Server {peer} accepts links on port {port}", {
    peer: self.toString(),
    port: linkListener.address.port,
  });
  return {
    peerId: self,
    pairing: operator,
    addresses: { links: linkListener.address, management: managementListener?.address },
    pairedPeers: () => book.list().length,
    closed: folder.lost ?? Promise.withResolvers<void>().promise,
    reload: () => watch?.reload(),
    relayStats: () => hub.relayStats(),
    close: () => stack.disposeAsync(),
  };
}

/** Links and management have one certificate, and one voice in the log. */
function watchCertificate(
  tls: NonNullable<ServerOptions["tls"]>,
  listeners: readonly HttpListener[],
  host: Host,
): CertificateWatch {
  return new CertificateWatch({
    listener: {
      get certificate() {
        return listeners[0]?.certificate;
      },
      reloadCertificate() {
        for (const listener of listeners) listener.reloadCertificate();
      },
    },
    tls,
    host,
    role: "server",
  });
}

function retentionOf(options: Pick<ServerOptions, "forward" | "maxMessageRetentionSecs">): number {
  const seconds = options.maxMessageRetentionSecs;
  return options.forward?.maxAgeMs ?? (seconds === undefined ? 7 * DAY : seconds * 1000);
}
