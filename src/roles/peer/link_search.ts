import {
  CairnError,
  PeerUnreachable,
  TransportExhausted,
  type WayTried,
} from "../../base/errors.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { Candidate } from "../../protocol/rendezvous/sealed_message.ts";
import { initiateLink, type LinkConnection, type LinkContext } from "../link_connection.ts";
import { LocalLook, type LocalSearch } from "../mdns/local_look.ts";
import type { PathSession } from "../path/path_session.ts";
import type { UdpPaths } from "../path/udp_paths.ts";
import type { PeerBook } from "../peer_book.ts";
import { FALLBACK_DELAY, signalingFailure } from "../ranked_clients.ts";
import { SealedRendezvous } from "../sealed_rendezvous.ts";
import type { SignalClient } from "../signal_client.ts";
import type { FrameSocket } from "../web_socket.ts";
import { dialLink, type DialOptions } from "./dial_link.ts";
import { PathSearch, useRelays } from "./path_search.ts";

/** One attempt: known addresses at once, and those that the peer answers with by signaling. */
const ATTEMPT_TIMEOUT = 15_000;
const MAX_DIALS = 16;
/**
 * Milliseconds that a WebSocket, which needs no relay and no hole in a NAT, is ahead: where one has
 * led to the server before, and where the server has yet to say whether one might.
 */
const KNOWN_HEAD_START = 300;
const HEAD_START = 100;

/** What finding a paired server needs. */
export interface LinkSearchOptions {
  readonly remote: PeerId;
  readonly book: PeerBook;
  readonly clients: readonly SignalClient[];
  readonly context: LinkContext;
  /** An address given by the user, tried beside all others. */
  readonly serverUrl: string | undefined;
  /** Ways of datagrams; absent from a node without signaling. */
  readonly paths?: UdpPaths | undefined;
  /** The local network, asked when nothing else has led to the server; absent from a page. */
  readonly local?: LocalSearch | undefined;
  /** Whether the way that carries the link answers. */
  readonly onSteady?: (isSteady: boolean) => void;
}

/** A link, and what carries it. */
export interface FoundLink {
  readonly link: LinkConnection;
  /** A URL, or a path of datagrams in words. */
  readonly via: () => string | undefined;
}

/**
 * A link to the server by the way that is the first to work.
 *
 * @throws {CairnError} why none did, {@linkcode TransportExhausted} where there was more than one.
 */
export async function findLink(
  options: LinkSearchOptions,
  signal: AbortSignal,
  ways: "all" | "websocket" = "all",
): Promise<FoundLink> {
  const { remote, book, clients, serverUrl, context } = options;
  const paths = ways === "all" ? options.paths : undefined;
  const local = ways === "all" ? options.local : undefined;
  const pairing = book.get(remote);
  if (!pairing) throw new CairnError("not-paired", `Not paired with ${remote}`);
  const attempt = AbortSignal.any([signal, AbortSignal.timeout(ATTEMPT_TIMEOUT)]);
  const dialing = new AbortController();
  const secrets = [pairing.secret, ...pairing.previousSecrets];
  return await new Promise<FoundLink>((resolve, reject) => {
    const dialed = new Set<string>();
    let lastError: Error | undefined;
    let settled = false;
    let secretUsed = false;
    let search: PathSearch | undefined;
    const attempts: WayTried[] = [];
    const tryWay = (
      way: () => string | undefined,
      open: (options: DialOptions) => Promise<LinkConnection>,
      url: string | undefined,
      failed: () => void,
    ) => {
      let nominated = false;
      const nominate = () => !settled && (nominated = settled = true);
      open({ signal: dialing.signal, nominate }).then((link) => {
        finish();
        // The search that brought the link lives as long as that.
        if (url !== undefined) void search?.close();
        void book.seen(remote, context.host.now(), url, secretUsed);
        resolve({ link, via: way });
      }, (error) => {
        if (nominated) settled = false;
        lastError = error instanceof Error ? error : new Error(String(error));
        attempts.push({ way: url ?? "datagrams", reason: lastError.message });
        failed();
      });
    };
    const dial = (url: string, isFound = false) => {
      if (settled || dialed.has(url) || dialed.size >= MAX_DIALS) return;
      dialed.add(url);
      tryWay(
        () => url,
        (options) => dialLink(url, remote, context, { ...options, isFound }),
        url,
        () => {
          dialed.delete(url);
          giveUpIfHopeless();
        },
      );
    };
    const linkOn = (socket: FrameSocket, path: PathSession) => {
      if (settled) return socket.destroy();
      const open = (options: DialOptions) =>
        initiateLink(socket, context, { ...options, expectedPeer: remote });
      tryWay(() => path.description, open, undefined, () => {});
    };
    // Without signaling only the local network can bring another address.
    const giveUpIfHopeless = () => {
      if (dialed.size === 0 && !rendezvous && (look?.isOver ?? true)) giveUp();
    };
    const rendezvous = clients.length === 0 ? undefined : new SealedRendezvous({
      self: context.identity.peerId,
      meeting: { remote, secrets },
      clients,
      host: context.host,
      onMessage: (message, secretIndex) => {
        search?.take(message);
        if (message.kind !== "answer" || !rendezvous?.hasOffered(message.id)) return;
        secretUsed ||= secretIndex === 0;
        if (paths) useRelays(paths, message.relays);
        for (const candidate of message.candidates) {
          if (isDialable(candidate)) dial(candidate.value);
        }
      },
    });
    const look = local && new LocalLook(local, {
      server: remote,
      hasOtherWays: clients.length > 0 || serverUrl !== undefined || pairing.urls.length > 0,
      onUrl: (url) => dial(url, true),
      onOver: giveUpIfHopeless,
    });
    const timer = setInterval(() => {
      rendezvous?.offer();
      search?.offer();
    }, FALLBACK_DELAY);
    const searchLater = setTimeout(() => {
      if (!rendezvous || !paths || settled) return;
      search = new PathSearch({
        paths,
        host: context.host,
        send: (message) => rendezvous.send(message),
        onSocket: linkOn,
        onSteady: (isSteady) => options.onSteady?.(isSteady),
        onEnd: () => {
          attempts.push({ way: "datagrams", reason: paths.describeFailure() });
        },
      });
      search.offer();
    }, serverUrl === undefined && pairing.urls.length === 0 ? HEAD_START : KNOWN_HEAD_START);
    const finish = () => {
      settled = true;
      clearInterval(timer);
      clearTimeout(searchLater);
      rendezvous?.close();
      look?.[Symbol.dispose]();
      attempt.removeEventListener("abort", giveUp);
      dialing.abort();
    };
    const giveUp = () => {
      if (settled) return;
      finish();
      void search?.close();
      const error = lastError ?? unreachable(options);
      reject(attempts.length > 1 ? new TransportExhausted(error, attempts) : error);
    };
    attempt.addEventListener("abort", giveUp);
    if (attempt.aborted) return giveUp();
    rendezvous?.offer();
    if (serverUrl !== undefined) dial(serverUrl);
    for (const url of pairing.urls) dial(url);
    giveUpIfHopeless();
  });
}

function unreachable({ clients, serverUrl, remote, local }: LinkSearchOptions): CairnError {
  const refused = signalingFailure(clients);
  if (refused) return refused;
  if (clients.length === 0 && serverUrl === undefined) {
    return new PeerUnreachable(
      `${local ? "Not on the local network, and no other" : "No"} way to find the server ` +
        `${remote}; name a signaling server, or the server's address`,
    );
  }
  return new PeerUnreachable(
    `The server ${remote} did not answer; check that it runs and uses the same signaling server`,
  );
}

function isDialable({ type, value }: Candidate): boolean {
  const url = URL.parse(value);
  return type === "ws" && (url?.protocol === "ws:" || url?.protocol === "wss:");
}
