import { getLogger } from "@logtape/logtape";
import { CairnError } from "../../base/errors.ts";
import { DISK_FULL, NOT_STORED } from "../../protocol/mailbox/refusal.ts";
import type { GroupCommit, KvOperation } from "../group_commit.ts";
import { behindFailure } from "./forward_answers.ts";
import type { Pair, Ticket } from "./mailbox_pairs.ts";

const log = getLogger(["cairn", "server", "mailbox"]);

/**
 * Hands `operations` in once `prepare` is done and every earlier ticket of the pair has been handed
 * in, without a wait where both are so already. When one fails, those behind it fail too. Resolves
 * when they are durable, or with the reason of a failure.
 */
export async function commitInTurn(
  commit: GroupCommit,
  pair: Pair,
  ticket: Ticket,
  operations: () => KvOperation[],
  prepare: () => void | Promise<void> = () => {},
): Promise<string | undefined> {
  try {
    const prepared = prepare();
    if (prepared instanceof Promise) await prepared;
    if (ticket.after !== undefined) await ticket.after;
    if (ticket.givenUp) return behindFailure(pair);
    const durable = commit.commit(operations(), { lane: pair });
    ticket.done();
    await durable;
    pair.sequence.committed(ticket.sequence);
    return undefined;
  } catch (error) {
    if (ticket.givenUp) return behindFailure(pair);
    pair.sequence.failed(ticket.sequence);
    for (const other of pair.tickets) {
      if (other.sequence > ticket.sequence) other.givenUp = true;
    }
    if (error instanceof CairnError && error.code === "disk-full") return DISK_FULL;
    log.error("A message could not be stored: {error}", { error });
    return NOT_STORED;
  } finally {
    ticket.done();
    pair.tickets.delete(ticket);
  }
}
