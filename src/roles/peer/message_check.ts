import { equalBytes } from "../../base/bytes.ts";
import { sha256 } from "../../protocol/crypto/primitives.ts";
import { encodeMessage, type Message } from "../../protocol/session/message_body.ts";

/**
 * What is kept beside a message that lies unencrypted on this disk. The ratchet would seal altered
 * text as faithfully as the right one, so damage must show before.
 */
export function checkOf(message: Message): Uint8Array {
  return sha256(encodeMessage(message));
}

/** Whether `message` is what it was when it was stored. */
export function isIntact(message: Message, check: unknown): boolean {
  return check instanceof Uint8Array && equalBytes(checkOf(message), check);
}
