/** `cairn peer`: a peer on the command line. */

import { concatBytes, utf8 } from "../base/bytes.ts";
import { CairnError } from "../base/errors.ts";
import type { PeerId } from "../protocol/crypto/peer_id.ts";
import { safetyNumber } from "../protocol/crypto/safety_number.ts";
import { MAX_DATA_LENGTH, Node } from "../roles/peer/node.ts";
import { peerId as peerIdKind } from "./option_values.ts";
import { OPTIONS } from "./options.ts";
import { type ReachedNode, withNode } from "./peer_access.ts";
import type { ProcessLife } from "./process_life.ts";
import type { Settings } from "./settings.ts";
import { printLine } from "./standard_output.ts";

/** Work that a signal ends before it is done. */
function unlessInterrupted<T>(life: ProcessLife, work: Promise<T>): Promise<T> {
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

/** `cairn peer pair`: pairs with the peer that the options name and prints its Peer ID. */
export async function peerPair(settings: Settings): Promise<number> {
  const peer = settings.value(OPTIONS.pairPeer);
  const psk = settings.value(OPTIONS.psk);
  for (const row of [OPTIONS.pairPin, OPTIONS.pairLink]) {
    if (settings.value(row) !== undefined) {
      throw new CairnError(
        "refused",
        `Pairing by ${row.flag} is not built yet; pair with --psk KEY --peer ID`,
      );
    }
  }
  if (peer === undefined) {
    throw new CairnError(
      "invalid-option",
      "Say whom to pair with: --psk KEY --peer ID, or --peer ID alone for a peer that approves " +
        "you (cairn server id prints a server's ID)",
    );
  }
  await withNode(settings, { start: true }, (node, life) => {
    const pairing = psk === undefined ? node.pairApproved(peer) : node.pairWithPsk(psk, peer);
    return unlessInterrupted(life, pairing);
  });
  await printLine(peer.toString());
  return 0;
}

/** `cairn peer unpair`: forgets a peer, and tells it when it can be reached. */
export async function peerUnpair(settings: Settings, peer: string): Promise<number> {
  const peerId = parsePeerArgument(peer);
  await withNode(settings, { start: true }, (node, life) => {
    return unlessInterrupted(life, node.unpair(peerId));
  });
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
  if (file === undefined || file === "-") {
    return await readAtMost(MAX_DATA_LENGTH, "standard input", Deno.stdin.readable);
  }
  try {
    using opened = await Deno.open(file);
    return await readAtMost(MAX_DATA_LENGTH, `"${file}"`, opened.readable);
  } catch (cause) {
    if (cause instanceof CairnError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CairnError("invalid-option", `--file: cannot read "${file}": ${reason}`, { cause });
  }
}

async function readAtMost(
  limit: number,
  name: string,
  stream: ReadableStream<Uint8Array>,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of stream) {
    length += part.length;
    if (length > limit) {
      throw new CairnError(
        "too-large",
        `${name} holds more than the ${limit} bytes that one message may have; send it in parts`,
      );
    }
    parts.push(part);
  }
  return concatBytes(...parts);
}

/** The Peer ID of an operand. @throws {CairnError} `invalid-option`. */
export function parsePeerArgument(text: string): PeerId {
  const parsed = peerIdKind.parse(text);
  if (parsed !== undefined) return parsed;
  throw new CairnError(
    "invalid-option",
    `PEER: "${text}" is not right; expected ${peerIdKind.expected}`,
  );
}
