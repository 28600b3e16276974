/** The verbs of `cairn server` about its peers. */

import { toBase64Url } from "../base/bytes.ts";
import { systemHost } from "../base/host.ts";
import { HealthDetails, PairingRequests, PeerOutcome, Peers } from "../roles/server/api/shapes.ts";
import { ManagementClient } from "./management_client.ts";
import { OPTIONS } from "./options.ts";
import { parsePeerArgument } from "./peer_argument.ts";
import type { Settings } from "./settings.ts";
import { spacedSas } from "./spaced_sas.ts";
import { escapeControls, printLine } from "./standard_output.ts";

const PSK_BYTES = 24;

const Identified = HealthDetails.pick({ peer_id: true });

/** `cairn server id`: prints the Peer ID of the running server. */
export async function serverId(settings: Settings): Promise<number> {
  const { peer_id: peerId } = await new ManagementClient(settings).ask("/health", Identified);
  await printLine(peerId);
  return 0;
}

/** `cairn server peers`: prints the paired peers, as lines or as JSON. */
export async function serverPeers(settings: Settings): Promise<number> {
  const peers = await new ManagementClient(settings).ask("/peers", Peers);
  if (settings.value(OPTIONS.serverJson)) return await printJson(peers);
  for (const { peer_id: peerId, name, connected, last_seen: lastSeen, mechanism } of peers) {
    const seen = connected
      ? "connected"
      : lastSeen === null
      ? "never seen"
      : `seen ${day(lastSeen)}`;
    const called = name === null ? "" : `  ${escapeControls(name)}`;
    await printLine(`${peerId}  ${seen}  paired by ${mechanism}${called}`);
  }
  return 0;
}

/** `cairn server requests`: prints who asks to be paired, and the code that both sides show. */
export async function serverRequests(settings: Settings): Promise<number> {
  const { requests } = await new ManagementClient(settings).ask(
    "/pairing/requests",
    PairingRequests,
  );
  if (settings.value(OPTIONS.serverJson)) return await printJson(requests);
  for (const { peer_id: peerId, sas, connected, was_unpaired: wasUnpaired } of requests) {
    const notes = `${connected ? "waiting" : "away"}${wasUnpaired ? ", unpaired before" : ""}`;
    await printLine(`${peerId}  code ${spacedSas(sas)}  ${notes}`);
  }
  return 0;
}

/** `cairn server approve PEER`: lets a peer pair. */
export async function serverApprove(settings: Settings, peer: string): Promise<number> {
  const body = { "peer_id": parsePeerArgument(peer).toString() };
  const request = { method: "POST", body } as const;
  const answer = await new ManagementClient(settings).ask("/peers/approve", PeerOutcome, request);
  if (settings.value(OPTIONS.serverJson)) return await printJson(answer);
  await printLine(`${answer.peer_id} may pair`);
  return 0;
}

/** `cairn server refuse PEER`: turns a request down. */
export async function serverRefuse(settings: Settings, peer: string): Promise<number> {
  const path = `/pairing/requests/${parsePeerArgument(peer)}/refuse`;
  const answer = await new ManagementClient(settings).ask(path, PeerOutcome, { method: "POST" });
  if (settings.value(OPTIONS.serverJson)) return await printJson(answer);
  await printLine(`${answer.peer_id} was refused`);
  return 0;
}

/** `cairn server unpair PEER`: ends a pairing or an approval. */
export async function serverUnpair(settings: Settings, peer: string): Promise<number> {
  const path = `/peers/${parsePeerArgument(peer)}/unpair`;
  const answer = await new ManagementClient(settings).ask(path, PeerOutcome, { method: "POST" });
  if (settings.value(OPTIONS.serverJson)) return await printJson(answer);
  await printLine(`${answer.peer_id} is unpaired`);
  return 0;
}

/** `cairn server psk`: prints a new pre-shared key, for CAIRN_PSK on both sides. */
export async function serverPsk(): Promise<number> {
  await printLine(toBase64Url(systemHost.random(PSK_BYTES)));
  return 0;
}

async function printJson(answer: unknown): Promise<number> {
  await printLine(JSON.stringify(answer));
  return 0;
}

/** Of Unix seconds. */
function day(seconds: number): string {
  return new Date(seconds * 1000).toISOString().slice(0, 10);
}
