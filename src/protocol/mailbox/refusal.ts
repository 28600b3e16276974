/** Why a message is not accepted: the `rejection_reason` of ForwardAck. Senders compare the text. */

/** The largest distance of a sequence number from the last accepted one. */
export const MAX_SKIP = 1000;

export const SENDER_NOT_PAIRED = "sender is not a paired peer";
export const RECIPIENT_NOT_PAIRED = "recipient is not a paired peer";
export const QUOTA_EXCEEDED = "quota exceeded";
export const OTHER_BODY = "message ID was used for another body";
export const DISK_FULL = "the mailbox's disk is full";
export const NOT_STORED = "the mailbox could not store the message";

export function queueFull(limit: number): string {
  return `recipient queue full (${limit} messages)`;
}

export function sequenceGap(gap: number): string {
  return `sequence gap ${gap} exceeds max skip threshold ${MAX_SKIP}`;
}

export function tooLarge(size: number, largest: number): string {
  return `message too large (${size} bytes, at most ${largest})`;
}

export function waitingFor(sequence: number): string {
  return `waiting for sequence ${sequence}`;
}

export function alreadyUsed(sequence: number, lastAccepted: number): string {
  return `sequence ${sequence} was already used (last accepted ${lastAccepted})`;
}

/** Why an accepted message was not delivered: the reason of a receipt with `delivered: false`. */
export type Undelivered =
  | "expired"
  | "cannot be opened"
  | "refused by the recipient"
  | "recipient was unpaired"
  | "purged by the operator"
  | "damaged in the mailbox";
