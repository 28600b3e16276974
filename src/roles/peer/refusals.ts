import { AuthenticationFailed, CairnError } from "../../base/errors.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import { DISK_FULL, NOT_STORED, QUOTA_EXCEEDED } from "../../protocol/mailbox/refusal.ts";

const NO_ROOM: readonly string[] = [QUOTA_EXCEEDED, DISK_FULL, NOT_STORED];

/** Stands for the reason when a message was refused because another of its recipients was. */
export const FOR_ANOTHER = "refused for another recipient";

/** Whether offering the same message again cannot help. */
export function isPermanent(reason: string | null): boolean {
  return reason !== null &&
    (reason.startsWith("recipient is not a paired peer") || reason.startsWith("message too large"));
}

/** Whether the mailbox has no room for the message now; another one may have. */
export function isNoRoom(reason: string | null): boolean {
  return reason !== null &&
    (NO_ROOM.includes(reason) || reason.startsWith("recipient queue full"));
}

/** What a sender is told of a refusal that ends the message. */
export function refusalError(recipient: PeerId, reason: string | null): CairnError {
  if (reason?.startsWith("recipient is not")) {
    return new AuthenticationFailed(
      "refused",
      `The server does not know ${recipient}; pair that peer with the server, then send again`,
    );
  }
  return new CairnError("refused", `The server refused the message: ${reason}`);
}

/** What a sender is told of a refusal that may pass. */
export function laterError(recipient: PeerId, reason: string): CairnError {
  if (reason.startsWith("sender is not")) {
    return new AuthenticationFailed(
      "not-paired",
      "The server does not know this peer any more; pair with it again",
    );
  }
  return new CairnError(
    "refused",
    `The server cannot take messages to ${recipient} now (${reason}); the message waits in the ` +
      "outbox and is offered again while this peer runs",
  );
}

/** What a sender is told when its own disk is too full to encrypt a message. */
export function noRoomError(): CairnError {
  return new CairnError(
    "disk-full",
    "The disk that holds the data folder is full; the message waits in the outbox: free some " +
      "space, and it goes out at the next cairn peer send or listen",
  );
}

/** What a sender is told of an accepted message that did not arrive. */
export function undeliverableError(recipient: PeerId, reason: string): CairnError {
  return new CairnError("refused", `The message did not reach ${recipient}: ${reason}`);
}

/** What a sender is told of a message that its own disk has altered before it left. */
export function damagedError(): CairnError {
  return new CairnError(
    "data-folder-corrupt",
    "The message was damaged on this disk before it left, and is given up: check the disk, and " +
      "send it again",
  );
}
