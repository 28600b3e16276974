import { getRequestListener } from "@hono/node-server";
import { getLogger } from "@logtape/logtape";
import { CairnError } from "../../base/errors.ts";
import { systemHost } from "../../base/host.ts";
import { PeerId } from "../../protocol/crypto/peer_id.ts";
import { installPrimitives } from "../../protocol/crypto/primitives.ts";
import { MAX_ENVELOPE_LENGTH, MAX_FRAME_LENGTH } from "../../protocol/link/link.ts";
import { GOOD_PSK_LENGTH, judgePsk, MIN_PSK_LENGTH } from "../../protocol/pairing/psk.ts";
import { VERSION } from "../../version.ts";
import { type DataFolder, openDataFolder } from "../data_folder.ts";
import { GroupCommit } from "../group_commit.ts";
import { type HttpListener, listen, parseListenAddress } from "../http.ts";
import { loadIdentity } from "../identity_store.ts";
import { LinkKeys } from "../link_keys.ts";
import { nativePrimitives } from "../native_primitives.ts";
import { PeerBook } from "../peer_book.ts";
import { SignalClient } from "../signal_client.ts";
import { explainStoreFailure } from "../store_record.ts";
import { acceptWebSockets } from "../web_socket_server.ts";
import { linkCandidates } from "./addresses.ts";
import { createApi } from "./api/app.ts";
import { ensureManagementToken } from "./api/token_auth.ts";
import { MailboxDesk } from "./mailbox_desk.ts";
import { MeetingPoints } from "./meeting_points.ts";
import { PairingDesk } from "./pairing_desk.ts";
import { PathAnswers } from "./path_answers.ts";
import { PeerLinks } from "./peer_links.ts";
import { PrekeyShelf } from "./prekey_shelf.ts";
import { openServerPaths, relayAccess } from "./server_relays.ts";
import type { RunningServer, ServerOptions } from "./server_options.ts";

const log = getLogger(["cairn", "server"]);

const LINK_PATH = "/link";
const LINK_PROTOCOL = "cairn.link.v1";
const HEARTBEAT = 60_000;
const SWEEP_INTERVAL = 60_000;
const DAY = 86_400_000;
/** Room in an envelope for what surrounds a body. */
const ENVELOPE_OVERHEAD = 1_024;
const MAX_BUFFERED = 8 * 1_048_576;

/**
 * Starts the always-on server.
 *
 * @throws {CairnError} that says what to do: folder in use or damaged, port in use, certificate
 * unreadable, key too short.
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  checkPsk(options.psk);
  const approvedPeers = parseApproved(options.approvedPeers ?? []);
  installPrimitives(nativePrimitives);
  const { host = systemHost } = options;
  const stack = new AsyncDisposableStack();
  try {
    const folder = await openDataFolder({ path: options.storagePath, kind: "server", host });
    stack.defer(() => folder.close());
    return await assemble({ ...options, approvedPeers, host }, folder, stack);
  } catch (error) {
    await stack.disposeAsync();
    throw explainStoreFailure(options.storagePath, error);
  }
}

async function assemble(
  options: Omit<ServerOptions, "approvedPeers" | "host"> & {
    approvedPeers: readonly PeerId[];
    host: NonNullable<ServerOptions["host"]>;
  },
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
  const pairing = new PairingDesk({
    self,
    book,
    host,
    psk: options.psk,
    approvedPeers: options.approvedPeers,
  });
  const links = new PeerLinks({
    context: {
      identity,
      keys: new LinkKeys(identity, host),
      capabilities: desk ? ["mailbox"] : [],
      host,
      heartbeat: HEARTBEAT,
    },
    book,
    desk,
    shelf,
    pairing,
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

  const linkListener = await listenForLinks(options, links);
  stack.defer(() => linkListener.close());
  const management = await listenForManagement(options, folder.path, links, {
    peerId: self.toString(),
    version: VERSION,
    startedAt: host.monotonic(),
    forwardEnabled: desk !== undefined,
    peers: () =>
      book.list().map(({ peerId, lastSeen }) => ({
        peer_id: peerId.toString(),
        name: null,
        connected: links.isConnected(peerId),
        last_seen: lastSeen === 0 ? null : Math.floor(lastSeen / 1000),
      })),
    queues: () =>
      (desk?.queues() ?? []).map((queue) => ({
        peer_id: queue.peerId.toString(),
        pending_messages: queue.pendingMessages,
        oldest_message_age_secs: queue.oldestMessageAgeSecs,
        total_bytes: queue.totalBytes,
      })),
    totals: () => desk?.totals() ?? { messages: 0, bytes: 0 },
  });
  if (management) stack.defer(() => management.close());
  stack.defer(() => links.close());
  stack.defer(() => pairing.close());

  const listeners = [linkListener, ...(management ? [management] : [])].map(({ address }) => ({
    ...address,
    tls: options.tls !== undefined,
  }));
  const paths = clients.length === 0 ? undefined : openServerPaths(options, host);
  if (paths) stack.defer(() => paths.close());
  const meetings = new MeetingPoints({
    self,
    book,
    clients,
    host,
    candidates: () =>
      linkCandidates({
        publicUrl: options.publicUrl,
        listeners,
        interfaces: Deno.networkInterfaces(),
      }),
    onSocket: (socket) => void links.accept(socket, "signaling"),
    ...(paths && {
      pathAnswers: new PathAnswers({
        paths,
        host,
        relays: () => relayAccess(options, host),
        onSocket: (socket, peer) => void links.accept(socket, peer.toString()),
      }),
    }),
  });
  book.onChange = (peerId) => meetings.renew(peerId);
  stack.defer(() => meetings.close());
  for (const client of clients) {
    client.start();
    stack.defer(() => client.close());
  }
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
    addresses: { links: linkListener.address, management: management?.address },
    close: () => stack.disposeAsync(),
  };
}

async function listenForLinks(options: ServerOptions, links: PeerLinks): Promise<HttpListener> {
  const { host, port } = parseListenAddress(options.listenAddr ?? "0.0.0.0:9091");
  return await listen({
    host,
    port,
    option: "--listen-addr (CAIRN_SERVER_LISTEN_ADDR)",
    ...(options.tls && { tls: options.tls }),
    prepare: (server) => acceptLinks(server, links),
  });
}

async function listenForManagement(
  options: ServerOptions,
  folderPath: string,
  links: PeerLinks,
  view: Parameters<typeof createApi>[0],
): Promise<HttpListener | undefined> {
  const { enabled = true, bind = "127.0.0.1", port = 9090, token, hosts = [] } =
    options.management ?? {};
  if (!enabled) return undefined;
  const made = await ensureManagementToken(folderPath, token, options.host);
  if (made.path !== null) log.info("The management token is in {path}", { path: made.path });
  const api = createApi(view, made.token, { hosts });
  const listener = await listen({
    host: bind,
    port,
    option: "--mgmt-port (CAIRN_MGMT_PORT)",
    ...(options.tls && { tls: options.tls }),
    onRequest: getRequestListener(api.fetch),
    prepare: (server) => acceptLinks(server, links),
  });
  log.info("The management API answers on port {port}", { port: listener.address.port });
  if (!isLoopback(bind) && !options.tls) {
    log.warn("The management API is reachable from other machines without TLS");
  }
  return listener;
}

function acceptLinks(server: HttpListener["server"], links: PeerLinks): void {
  acceptWebSockets({
    server,
    limits: { maxFrameBytes: MAX_FRAME_LENGTH, maxBufferedBytes: MAX_BUFFERED },
    handler: (request, accept, refuse) => {
      if (request.url?.split("?")[0] !== LINK_PATH) return refuse(404);
      const offered = request.headers["sec-websocket-protocol"]?.split(/\s*,\s*/) ?? [];
      const source = request.socket.remoteAddress ?? "unknown";
      accept(
        (socket) => void links.accept(socket, source),
        offered.includes(LINK_PROTOCOL) ? LINK_PROTOCOL : undefined,
      );
    },
  });
}

function retentionOf(options: Pick<ServerOptions, "forward" | "maxMessageRetentionSecs">): number {
  const seconds = options.maxMessageRetentionSecs;
  return options.forward?.maxAgeMs ?? (seconds === undefined ? 7 * DAY : seconds * 1000);
}

function checkPsk(psk: string | undefined): void {
  if (psk === undefined) return;
  const verdict = judgePsk(psk);
  if (verdict === "refused") {
    throw new CairnError(
      "invalid-option",
      `The pre-shared key (CAIRN_PSK) is too short: at least ${MIN_PSK_LENGTH} bytes, better ` +
        `${GOOD_PSK_LENGTH} or more`,
    );
  }
  if (verdict === "short") {
    log.warn("The pre-shared key is short; use {length} bytes or more", {
      length: GOOD_PSK_LENGTH,
    });
  }
}

function parseApproved(peers: readonly (PeerId | string)[]): PeerId[] {
  return peers.map((peer) => {
    const parsed = peer instanceof PeerId ? peer : PeerId.parse(peer);
    if (parsed) return parsed;
    throw new CairnError("invalid-option", `Not a Peer ID in the approved peers: "${peer}"`);
  });
}

function isLoopback(address: string): boolean {
  return address === "localhost" || address === "::1" || address.startsWith("127.");
}
