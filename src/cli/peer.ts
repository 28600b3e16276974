/** `cairn peer`: a peer on the command line. */

import { utf8 } from "../base/bytes.ts";
import { CairnError } from "../base/errors.ts";
import { safetyNumber } from "../protocol/crypto/safety_number.ts";
import { Node } from "../roles/peer/node.ts";
import { MAX_DATA_LENGTH } from "../roles/peer/outgoing.ts";
import { OPTIONS } from "./options.ts";
import { parsePeerArgument } from "./peer_argument.ts";
import { type ReachedNode, withNode } from "./peer_access.ts";
import type { ProcessLife } from "./process_life.ts";
import { readInput } from "./read_input.ts";
import type { Settings } from "./settings.ts";
import { printLine, writeToStandardError } from "./standard_output.ts";

/** Work that a signal ends before it is done. */
export function unlessInterrupted<T>(life: ProcessLife, work: Promise<T>): Promise<T> {
  const interrupted = life.endRequested.then((): never => {
    throw new CairnError("closed", "Interrupted before it was done; run the command again");
  });
  return Promise.race([work, interrupted]);
}

/** `cairn peer id`: prints the Peer ID, making the identity at the first call. */
export async function peerIdentity(settings: Settings): Promise<number> {
  await withNode(settings, { start: false }, (node) => {
    return printLine(node.peerId.toString());
  });
  return 0;
}

/** `cairn peer unpair`: forgets a peer, and tells it when it can be reached. */
export async function peerUnpair(settings: Settings, peer: string): Promise<number> {
  const peerId = parsePeerArgument(peer);
  const isTold = await withNode(settings, { start: true }, (node, life) => {
    return unlessInterrupted(life, node.unpair(peerId));
  });
  if (!isTold) {
    writeToStandardError(
      `warning: ${peerId} could not be reached to be told; its operator can unpair this peer with ` +
        "cairn server unpair\n",
    );
  }
  return 0;
}

/** `cairn peer list`: prints the pairings, as lines or as JSON. */
export async function peerList(settings: Settings): Promise<number> {
  const pairings = await withNode(settings, { start: false }, async (node) => {
    return await node.pairings();
  });
  if (settings.value(OPTIONS.json)) {
    const listed = pairings.map((pairing) => ({
      peer_id: pairing.peerId,
      paired_at: pairing.pairedAt,
      mechanism: pairing.mechanism,
      connected: pairing.connected,
    }));
    await printLine(JSON.stringify(listed));
    return 0;
  }
  for (const { peerId, pairedAt, mechanism } of pairings) {
    const day = new Date(pairedAt).toISOString().slice(0, 10);
    await printLine(`${peerId}  paired ${day} by ${mechanism}`);
  }
  return 0;
}

/** `cairn peer safety-number`: prints the number to compare with the other person. */
export async function peerSafetyNumber(settings: Settings, peer: string): Promise<number> {
  const peerId = parsePeerArgument(peer);
  await withNode(settings, { start: false }, (node) => {
    return printLine(safetyNumber(node.peerId, peerId));
  });
  return 0;
}

/** `cairn peer send`: prints the message id and waits until the message is accepted. */
export async function peerSend(
  settings: Settings,
  peer: string,
  text: string | undefined,
): Promise<number> {
  const recipient = parsePeerArgument(peer);
  const data = await readBody(settings.value(OPTIONS.file), text);
  const timeoutMs = settings.value(OPTIONS.sendTimeout);
  await withNode(settings, { start: true }, async (node, life) => {
    const message = await node.send(recipient, settings.value(OPTIONS.channel), data);
    await printLine(message.id);
    await unlessInterrupted(life, acceptedWithin(timeoutMs, message.accepted, node));
  });
  return 0;
}

async function acceptedWithin(
  timeoutMs: number,
  accepted: Promise<void>,
  node: ReachedNode,
): Promise<void> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    const failure = node instanceof Node ? node.lastFailure : undefined;
    const latest = failure === undefined ? "" : ` (latest: ${failure.message})`;
    reject(
      new CairnError(
        "timeout",
        `No server accepted the message within ${timeoutMs / 1000} s${latest}; it stays in the ` +
          "outbox and goes out at the next cairn peer send or listen. Check that the server runs " +
          "and that --signal (CAIRN_SIGNAL_SERVERS) or --server-url leads to it",
      ),
    );
  }, timeoutMs);
  try {
    await Promise.race([accepted, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function readBody(file: string | undefined, text: string | undefined): Promise<Uint8Array> {
  if ((file === undefined) === (text === undefined)) {
    throw new CairnError(
      "invalid-option",
      "Say what to send: a TEXT, --file PATH, or - for standard input",
    );
  }
  if (text !== undefined && text !== "-") return utf8(text);
  return await readInput(file ?? "-", {
    flag: OPTIONS.file.flag,
    limit: MAX_DATA_LENGTH,
    tooLong: `the ${MAX_DATA_LENGTH} bytes that one message may have; send it in parts`,
  });
}
