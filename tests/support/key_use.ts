/** Watches what leaves senders: a key of the ratchet may encrypt one plaintext only. */

import { equal, ok } from "node:assert/strict";
import { toHex } from "../../src/base/bytes.ts";
import type { ForwardRequest } from "../../src/protocol/forward_messages.ts";
import { decodeBody } from "../../src/protocol/session/message_body.ts";
import { splitRatchetMessage } from "../../src/protocol/session/ratchet_message.ts";

/** What names the key under which a body was encrypted; it travels in clear. */
export function keyNameOf(encryptedPayload: Uint8Array): string {
  const { sessionId, ratchetMessage } = decodeBody(encryptedPayload);
  const { publicKey, number } = splitRatchetMessage(ratchetMessage).header;
  return `${toHex(sessionId)} ${toHex(publicKey)} ${number}`;
}

/** Fails when two different bodies were encrypted under one key. */
export function assertNoKeyUsedTwice(requests: readonly ForwardRequest[]): void {
  ok(requests.length > 0, "something was sent");
  const bodies = new Map<string, string>();
  for (const { encryptedPayload } of requests) {
    const name = keyNameOf(encryptedPayload);
    const body = toHex(encryptedPayload);
    equal(bodies.get(name) ?? body, body, `the key ${name} has encrypted twice`);
    bodies.set(name, body);
  }
}
