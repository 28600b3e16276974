import { CairnError } from "../../base/errors.ts";
import type { PairingOutcome } from "../../protocol/pairing/pairing.ts";
import type { LinkConnection } from "../link_connection.ts";
import { type PairingAim, PairingDelayed } from "./pairing_aim.ts";
import { AcceptorSearch, NAME_A_WAY, type PairingWays } from "./pairing_reach.ts";
import { talk } from "./pairing_talk.ts";

const MAX_CHALLENGES = 3;
const ASK_INTERVAL = 2_000;
/** Rounds of asking after which nobody is expected to answer any more. */
const MAX_ROUNDS = 5;

/**
 * Challenges that are answered for one typed PIN: each answer lets whoever sent the challenge test
 * one guess at the PIN.
 */
export class ChallengeBudget {
  #left = MAX_CHALLENGES;

  readonly take = (): boolean => this.#left > 0 && this.#left-- > 0;
}

/**
 * Finds the acceptor that knows the PIN among all that answer, of whom strangers may be some, and
 * talks to it.
 *
 * @throws {CairnError} `pairing-failed` or `unreachable`, saying what to do.
 */
export function findByPin(
  ways: PairingWays,
  aim: Extract<PairingAim, { mechanism: "pin" }>,
  budget: ChallengeBudget,
): Promise<{ link: LinkConnection; outcome: PairingOutcome }> {
  return new Promise((resolve, reject) => {
    const { signal, context } = ways;
    const talking = new Set<LinkConnection>();
    const failures: Error[] = [];
    /** Of servers that are there whether or not they made the PIN: they end no search. */
    const failuresNearby: Error[] = [];
    let rounds = 0;
    let roundOfLastFailure = 0;
    const settle = () => {
      clearInterval(timer);
      signal.removeEventListener("abort", abort);
      search[Symbol.dispose]();
    };
    const giveUp = (error: Error) => {
      settle();
      for (const link of talking) link.close("going-away");
      reject(error);
    };
    const abort = () => giveUp(new CairnError("timeout", "The pairing took too long; try again"));
    const onLink = async (link: LinkConnection, isFound: boolean) => {
      talking.add(link);
      try {
        const outcome = await talk(link, { aim, context, signal, mayAnswer: budget.take });
        talking.delete(link);
        settle();
        for (const other of talking) other.close("going-away");
        resolve({ link, outcome });
      } catch (error) {
        talking.delete(link);
        link.close("going-away");
        const failure = error instanceof Error ? error : new Error(String(error));
        if (isFound) failuresNearby.push(failure);
        else {
          failures.push(failure);
          roundOfLastFailure = rounds;
        }
        if (ways.clients.length === 0) consider();
      }
    };
    const consider = () => {
      if (talking.size > 0 && rounds < MAX_ROUNDS) return;
      const isOver = ways.clients.length === 0
        ? search.isExhausted
        : rounds >= MAX_ROUNDS || (failures.length > 0 && rounds > roundOfLastFailure);
      if (isOver) {
        giveUp(worst([...failures, ...failuresNearby]) ?? search.failure ?? nobody(ways));
      }
    };
    const search = new AcceptorSearch(ways, (link, isFound) => void onLink(link, isFound));
    const timer = setInterval(() => {
      rounds++;
      consider();
      search.askAgain();
    }, ASK_INTERVAL);
    signal.addEventListener("abort", abort);
    if (signal.aborted) abort();
  });
}

/** What to tell when several have failed: to wait is better than to give up. */
function worst(failures: readonly Error[]): Error | undefined {
  return failures.find((failure) => failure instanceof PairingDelayed) ?? failures[0];
}

function nobody({ clients, urls }: PairingWays): CairnError {
  if (clients.length === 0 && urls.length === 0) {
    return new CairnError(
      "unreachable",
      `Nobody on the local network answers to this PIN: check it, or ${NAME_A_WAY}`,
    );
  }
  return new CairnError(
    "unreachable",
    "Nobody answers to this PIN: it may be mistyped, used or expired; check it and the signaling " +
      "server, or have another one made",
  );
}
