import { CairnError } from "../../base/errors.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import { MessageType } from "../../protocol/message_types.ts";
import { encodePairConfirm } from "../../protocol/pairing_messages.ts";
import { type Invitation, isExpired } from "../../protocol/pairing/invitation.ts";
import type { PairingOutcome } from "../../protocol/pairing/pairing.ts";
import { pinCredentialId } from "../../protocol/pairing/pin.ts";
import { contactTopic, invitationTopic, pinTopic } from "../../protocol/rendezvous/topics.ts";
import { parseTurnUri } from "../../protocol/turn/turn_uri.ts";
import type { LinkConnection, LinkContext } from "../link_connection.ts";
import type { LocalSearch } from "../mdns/local_look.ts";
import type { PeerBook } from "../peer_book.ts";
import { linkUrl } from "./dial_link.ts";
import { type PairingClient, type PairingWays, reachAcceptor } from "./pairing_reach.ts";
import { type PairingAim, PairingDelayed, PairingInterrupted } from "./pairing_aim.ts";
import { talk } from "./pairing_talk.ts";
import { ChallengeBudget, findByPin } from "./pin_search.ts";

/** Seconds that a joiner waits by itself when a PIN or link is held up by somebody's guesses. */
const LONGEST_WAIT = 20;
const ASK_AGAIN_AFTER = 2_000;
/** Ends of a link after which it makes no sense to ask again. */
const FINAL_REASONS: ReadonlySet<string> = new Set(["replaced", "not-paired", "protocol-error"]);
const MAX_NOTED = 4;

/** What pairing with an acceptor needs. */
export interface PairWithOptions {
  readonly aim: PairingAim;
  readonly book: PeerBook;
  readonly clients: readonly PairingClient[];
  readonly context: LinkContext;
  /** Addresses given by the user. */
  readonly urls: readonly string[];
  /** The local network; absent where it is not asked. */
  readonly local?: LocalSearch | undefined;
  readonly signal: AbortSignal;
}

/**
 * Pairs with an acceptor that is reached at an address or over a topic of its. When this resolves
 * the pairing is durable on both sides.
 *
 * @throws {CairnError} `pairing-failed`, `unreachable` or `timeout`, saying what to do.
 */
export async function pairWith(options: PairWithOptions): Promise<PeerId> {
  const { aim, book, context, urls } = options;
  if (aim.mechanism === "link") requireValid(aim, context);
  const { link, outcome } = await untilHeard(options);
  try {
    requireServer(link);
    await book.pair({
      peerId: link.remote,
      mechanism: aim.mechanism === "ask" ? "approved" : aim.mechanism,
      pairedAt: context.host.now(),
      secret: outcome.pairingSecret,
      signalServers: meetingPoints(options),
    });
    link.send(MessageType.PairConfirm, encodePairConfirm(outcome.reply));
    // The way that is tried first is the one that is noted last.
    for (const url of [...hints(aim, "ws"), ...urls].slice(0, MAX_NOTED)) {
      await book.seen(link.remote, context.host.now(), url);
    }
    return link.remote;
  } finally {
    link.close("going-away");
  }
}

/**
 * Where the server is found again: a link says it, and else it is where it was found, which the user
 * may have said for this once.
 */
function meetingPoints({ aim, clients }: PairWithOptions): string[] {
  if (aim.mechanism === "link") return hints(aim, "signal");
  return clients.filter(({ connected }) => connected).map(({ url }) => url);
}

/** URLs, or URIs of relays, of one kind in a link's hints: only such that are ones. */
export function hints(aim: PairingAim, type: "signal" | "ws" | "turn"): string[] {
  if (aim.mechanism !== "link") return [];
  return aim.invitation.hints.filter((hint) => hint.type === type).flatMap(({ value }) => {
    if (type === "turn") return parseTurnUri(value) ? [value] : [];
    const url = URL.parse(value);
    const isWebSocket = url?.protocol === "ws:" || url?.protocol === "wss:";
    return isWebSocket ? [type === "ws" ? linkUrl(value) : url.href] : [];
  });
}

interface Heard {
  readonly link: LinkConnection;
  readonly outcome: PairingOutcome;
}

async function untilHeard(options: PairWithOptions): Promise<Heard> {
  const budget = new ChallengeBudget();
  let isWaiting = false;
  const aim: PairingAim = options.aim.mechanism === "ask"
    ? {
      ...options.aim,
      onSas: (sas) => {
        isWaiting = true;
        if (options.aim.mechanism === "ask") options.aim.onSas(sas);
      },
    }
    : options.aim;
  while (true) {
    try {
      return await attempt({ ...options, aim }, budget);
    } catch (error) {
      const wait = isWaiting ? pauseBeforeAsking(error) : pauseWhenHeldUp(error, aim);
      if (wait === undefined || !await passed(wait, options.signal)) throw error;
    }
  }
}

/** Milliseconds after which a PIN or link that somebody's guesses hold up is tried again. */
function pauseWhenHeldUp(error: unknown, { mechanism }: PairingAim): number | undefined {
  if (mechanism !== "pin" && mechanism !== "link") return undefined;
  if (!(error instanceof PairingDelayed) || error.retryAfter > LONGEST_WAIT) return undefined;
  return error.retryAfter * 1000;
}

/** Milliseconds after which a peer that waits for an operator asks again, on another link. */
function pauseBeforeAsking(error: unknown): number | undefined {
  const isForNow = error instanceof PairingDelayed ||
    error instanceof PairingInterrupted && !FINAL_REASONS.has(error.reason) ||
    error instanceof CairnError && error.code === "unreachable";
  return isForNow ? ASK_AGAIN_AFTER : undefined;
}

async function attempt(options: PairWithOptions, budget: ChallengeBudget): Promise<Heard> {
  const { aim, context, signal } = options;
  // A link for pairing must not take the deliveries of one that listens.
  const ways: PairingWays = {
    urls: [...new Set([...options.urls, ...hints(aim, "ws")])],
    clients: options.clients,
    local: options.local,
    topic: topicOf(aim),
    context: { ...context, capabilities: [] },
    signal,
  };
  if (aim.mechanism === "pin") return await findByPin(ways, aim, budget);
  const acceptor = aim.mechanism === "link" ? aim.invitation.peerId : aim.acceptor;
  const link = await reachAcceptor(acceptor, ways);
  try {
    return { link, outcome: await talk(link, { aim, context, signal }) };
  } catch (error) {
    link.close("going-away");
    throw error;
  }
}

function topicOf(aim: PairingAim): string {
  switch (aim.mechanism) {
    case "pin":
      return pinTopic(pinCredentialId(aim.pin));
    case "link":
      return invitationTopic(aim.invitation.credential, aim.invitation.nonce);
    default:
      return contactTopic(aim.acceptor);
  }
}

/** Every pairing of a peer stands for a mailbox to write to; only a peer declares that it receives. */
function requireServer({ remote, capabilities }: LinkConnection): void {
  if (!capabilities.has("receive")) return;
  throw new CairnError(
    "pairing-failed",
    `${remote} is a peer and no server; pair both with one server, and write to it by its Peer ID`,
  );
}

function requireValid({ invitation }: { invitation: Invitation }, context: LinkContext): void {
  if (invitation.peerId.equals(context.identity.peerId)) {
    throw new CairnError("pairing-failed", "This link is this peer's own; use it on another one");
  }
  if (isExpired(invitation, context.host.now() / 1000)) {
    throw new CairnError(
      "pairing-failed",
      "The link has expired; have another one made, or set this machine's clock if it is wrong",
    );
  }
}

/** False when the wait was given up. */
function passed(milliseconds: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const done = (hasPassed: boolean) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      resolve(hasPassed);
    };
    const abort = () => done(false);
    const timer = setTimeout(() => done(true), milliseconds);
    signal.addEventListener("abort", abort);
    if (signal.aborted) abort();
  });
}
