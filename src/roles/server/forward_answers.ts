import type { ForwardAck, ForwardRequest } from "../../protocol/forward_messages.ts";
import { waitingFor } from "../../protocol/mailbox/refusal.ts";
import type { Pair } from "./mailbox_pairs.ts";

/** Why what comes behind a message that failed fails, too. */
export function behindFailure({ sequence }: Pair): string {
  return waitingFor(sequence.awaited ?? sequence.lastReserved + 1);
}

/** The answer to what is stored. */
export function accepted({ msgId }: ForwardRequest, { sequence }: Pair): ForwardAck {
  return { msgId, accepted: true, rejectionReason: null, lastSequence: sequence.lastAccepted };
}

/** The answer to what is not, with the reason. */
export function refused({ msgId }: ForwardRequest, reason: string, pair?: Pair): ForwardAck {
  return {
    msgId,
    accepted: false,
    rejectionReason: reason,
    ...(pair && { lastSequence: pair.sequence.lastAccepted }),
  };
}
