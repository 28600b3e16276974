import { CairnError, PeerUnreachable } from "../../base/errors.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import { initiateLink, type LinkConnection, type LinkContext } from "../link_connection.ts";
import { LocalLook, type LocalSearch, openLocally } from "../mdns/local_look.ts";
import { FALLBACK_DELAY, inTurn, rankClients, signalingFailure } from "../ranked_clients.ts";
import type { SignalClient, TopicAccess } from "../signal_client.ts";
import { callOnTopic, initiateOnTopic } from "../topic_carrier.ts";
import { dialLink } from "./dial_link.ts";

/** How long an address is tried before signaling is as well. */
const HEAD_START = 500;
/** Acceptors that are listened to for one PIN: more than one means that strangers pose as it. */
const MAX_ACCEPTORS = 8;

/** What to do where there is no way. */
export const NAME_A_WAY = "name a signaling server, or its address";

/** A signaling server as pairing uses it. */
export type PairingClient = TopicAccess & Pick<SignalClient, "whenConnected" | "lastError">;

/** Ways to an acceptor. */
export interface PairingWays {
  /** WebSocket URLs, tried at once. */
  readonly urls: readonly string[];
  readonly clients: readonly PairingClient[];
  /** The local network, asked when nothing else has led to the acceptor. */
  readonly local?: LocalSearch | undefined;
  /** Where the acceptor listens on each signaling server. */
  readonly topic: string;
  readonly context: LinkContext;
  readonly signal: AbortSignal;
}

/**
 * A link to `acceptor`: at its addresses, and over the topic when none of them answers soon.
 *
 * @throws {CairnError} `unreachable`, or what was wrong with the only way there is.
 */
export async function reachAcceptor(
  acceptor: PeerId,
  ways: PairingWays,
): Promise<LinkConnection> {
  const { urls, clients, local, topic, signal, context } = ways;
  requireWays(ways, `No way to reach ${acceptor}`);
  const attempts = new AbortController();
  const stop = AbortSignal.any([signal, attempts.signal]);
  let isNominated = false;
  const options = {
    expectedPeer: acceptor,
    signal: stop,
    nominate: () => !isNominated && (isNominated = true),
  };
  const dial = () => Promise.any(urls.map((url) => dialLink(url, acceptor, context, options)));
  const dialLocally = (search: LocalSearch) => () =>
    openLocally(
      search,
      { server: acceptor, signal: stop },
      (url) => dialLink(url, acceptor, context, { ...options, isFound: true }),
    );
  const ask = () =>
    inTurn(
      rankClients(clients, topic).map((client) => async () => {
        await client.whenConnected(stop);
        const socket = initiateOnTopic(client, topic, context.host.random(16));
        return await initiateLink(socket, context, options);
      }),
      FALLBACK_DELAY,
    );
  try {
    return await inTurn(
      [
        ...(urls.length > 0 ? [dial] : []),
        ...(clients.length > 0 ? [ask] : []),
        ...(local ? [dialLocally(local)] : []),
      ],
      HEAD_START,
    );
  } catch (error) {
    throw mostTelling(error, clients) ?? new PeerUnreachable(
      clients.length === 0 && urls.length === 0
        ? `${acceptor} is not on the local network; ${NAME_A_WAY}`
        : clients.length === 0
        ? `${acceptor} did not answer at ${urls.join(" or ")}; check the address and that it runs`
        : `${acceptor} did not answer through the signaling server; check its Peer ID, that it ` +
          "runs, and that it uses the same signaling server",
      { cause: error },
    );
  } finally {
    attempts.abort();
  }
}

/**
 * Brings links to whoever may be the acceptor of a PIN: at the addresses, and all that answer on
 * the topic, a bounded number of them.
 */
export class AcceptorSearch implements Disposable {
  readonly #ways: PairingWays;
  readonly #onLink: (link: LinkConnection, isFound: boolean) => void;
  readonly #ending = new AbortController();
  readonly #ends: (() => void)[] = [];
  readonly #errors: unknown[] = [];
  readonly #look: LocalLook | undefined;
  #asks: readonly (() => void)[] = [];
  #links = 0;
  #dialing = 0;

  /**
   * `isFound` says that the local network led to the other end, where any server may be.
   *
   * @throws {CairnError} `unreachable` when there is no way to search.
   */
  constructor(ways: PairingWays, onLink: (link: LinkConnection, isFound: boolean) => void) {
    requireWays(ways, "No way to find who made the PIN");
    this.#ways = ways;
    this.#onLink = onLink;
    for (const url of ways.urls) {
      this.#open((signal) => dialLink(url, undefined, ways.context, { signal }));
    }
    for (const client of rankClients(ways.clients, ways.topic)) this.#call(client);
    this.#look = ways.local && new LocalLook(ways.local, {
      server: undefined,
      hasOtherWays: ways.urls.length > 0 || ways.clients.length > 0,
      onUrl: (url) => {
        if (ways.urls.includes(url)) return;
        this.#open(
          (signal) => dialLink(url, undefined, ways.context, { signal, isFound: true }),
          true,
        );
      },
    });
  }

  /** Whether nobody can answer any more but over signaling. */
  get isExhausted(): boolean {
    return this.#dialing === 0 && (this.#look?.isOver ?? true);
  }

  /** Asks again those signaling servers that were asked. */
  askAgain(): void {
    for (const ask of this.#asks) ask();
  }

  /** Why nobody was found. */
  get failure(): CairnError | undefined {
    return mostTelling(new AggregateError(this.#errors), this.#ways.clients);
  }

  [Symbol.dispose](): void {
    this.#ending.abort();
    this.#look?.[Symbol.dispose]();
    for (const end of this.#ends) end();
  }

  #call(client: PairingClient): void {
    const { topic, context, signal } = this.#ways;
    client.whenConnected(AbortSignal.any([signal, this.#ending.signal])).then(() => {
      if (this.#ending.signal.aborted) return;
      const call = callOnTopic(client, topic, context.host.random(16), (attempt) => {
        this.#open((signal) =>
          initiateLink(initiateOnTopic(client, topic, attempt), context, { signal })
        );
      });
      this.#asks = [...this.#asks, call.again];
      this.#ends.push(call.end);
    }, (error) => this.#errors.push(error));
  }

  #open(open: (signal: AbortSignal) => Promise<LinkConnection>, isFound = false): void {
    if (this.#links >= MAX_ACCEPTORS || this.#ending.signal.aborted) return;
    this.#links++;
    this.#dialing++;
    open(AbortSignal.any([this.#ways.signal, this.#ending.signal])).then((link) => {
      if (this.#ending.signal.aborted) link.close("going-away");
      else this.#onLink(link, isFound);
    }, (error) => this.#errors.push(error)).finally(() => this.#dialing--);
  }
}

function requireWays({ urls, clients, local }: PairingWays, problem: string): void {
  if (urls.length > 0 || clients.length > 0 || local) return;
  throw new PeerUnreachable(`${problem}; ${NAME_A_WAY}`);
}

/** A failure that a person can do something about, of those that came together. */
function mostTelling(error: unknown, clients: readonly PairingClient[]): CairnError | undefined {
  const errors = flatten(error).filter((each) => each instanceof CairnError);
  return errors.find(({ code }) => code === "refused" || code === "invalid-option") ??
    signalingFailure(clients) ??
    (clients.length === 0 ? errors[0] : undefined);
}

function flatten(error: unknown): unknown[] {
  return error instanceof AggregateError ? error.errors.flatMap(flatten) : [error];
}
