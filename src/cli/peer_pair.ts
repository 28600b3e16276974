/** `cairn peer pair`: becomes a peer of a server. */

import { CairnError } from "../base/errors.ts";
import { linkOfQrCode, type PairingWay } from "../roles/peer/pairing_way.ts";
import { OPTIONS } from "./options.ts";
import { unlessInterrupted } from "./peer.ts";
import { withNode } from "./peer_access.ts";
import { readInput } from "./read_input.ts";
import type { Settings } from "./settings.ts";
import { spacedSas } from "./spaced_sas.ts";
import { printLine, writeToStandardError } from "./standard_output.ts";

/** Many times what a QR code of ours holds. */
const MAX_SCANNED = 4_096;

/** Pairs in the way that the options say and prints the Peer ID of the other side. */
export async function peerPair(settings: Settings, operand: string | undefined): Promise<number> {
  const way = await wayOf(settings, operand);
  const { peer, own } = await withNode(settings, { start: true }, async (node, life) => {
    const paired = await unlessInterrupted(life, node.pair(way, { onSas: showSas }));
    return { peer: paired, own: node.peerId };
  });
  writeToStandardError(`Paired, as ${own}: tell it to those who are to write to you. With:\n`);
  await printLine(peer.toString());
  return 0;
}

/** @throws {CairnError} `invalid-option` unless exactly one way is said. */
async function wayOf(settings: Settings, operand: string | undefined): Promise<PairingWay> {
  const peer = settings.value(OPTIONS.pairPeer)?.toString();
  const ask = settings.value(OPTIONS.pairAsk)?.toString();
  const psk = settings.value(OPTIONS.psk);
  const pin = settings.value(OPTIONS.pairPin);
  const qr = settings.value(OPTIONS.pairQr);
  const link = operand ?? settings.value(OPTIONS.pairLink);
  const ways: PairingWay[] = [
    ...(pin === undefined ? [] : [{ by: "pin" as const, pin }]),
    ...(link === undefined ? [] : [{ by: "link" as const, link }]),
    ...(qr === undefined ? [] : [{ by: "link" as const, link: await scanned(qr) }]),
    ...(ask === undefined ? [] : [{ by: "ask" as const, peer: ask }]),
    ...(peer === undefined ? [] : [
      psk === undefined ? { by: "approved" as const, peer } : { by: "psk" as const, psk, peer },
    ]),
  ];
  const [way] = ways;
  if (way && ways.length === 1) return way;
  throw new CairnError(
    "invalid-option",
    way
      ? "Say only one of --pin, --link, --qr, --ask and --peer"
      : "Say how to pair: --pin PIN, a pairing link, --psk KEY --peer ID, --ask ID, or --peer ID " +
        "alone for a peer that has approved you (cairn server id prints a server's ID)",
  );
}

async function scanned(path: string): Promise<string> {
  const flag = OPTIONS.pairQr.flag;
  const tooLong = "a QR code for pairing can; give what a scanner read, not the image";
  return linkOfQrCode(await readInput(path, { flag, limit: MAX_SCANNED, tooLong }));
}

/** Results go to standard output: this is for the person who waits. */
function showSas(sas: string): void {
  writeToStandardError(
    `Waiting for approval. The code is ${spacedSas(sas)}: the operator must see the same one.\n`,
  );
}
