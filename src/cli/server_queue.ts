/** The verbs of `cairn server` that show and drop what waits in the mailbox. */

import { Purged, QueueDetails, QueueTotals } from "../roles/server/api/shapes.ts";
import { ManagementClient } from "./management_client.ts";
import { OPTIONS } from "./options.ts";
import { parsePeerArgument } from "./peer_argument.ts";
import type { Settings } from "./settings.ts";
import { printLine } from "./standard_output.ts";

/** `cairn server queue [PEER]`: prints what waits, for every peer or message by message for one. */
export async function serverQueue(settings: Settings, peer: string | undefined): Promise<number> {
  const client = new ManagementClient(settings);
  if (peer === undefined) {
    const answer = await client.ask("/queue", QueueTotals);
    if (settings.value(OPTIONS.serverJson)) return await printJson(answer);
    for (const queue of answer.queues) {
      const { peer_id: peerId, pending_messages: messages, total_bytes: bytes } = queue;
      const age = ageOf(queue.oldest_message_age_secs);
      await printLine(`${peerId}  ${counted(messages)}  ${bytes} bytes  oldest ${age}`);
    }
    return 0;
  }
  const answer = await client.ask(`/queue/${parsePeerArgument(peer)}`, QueueDetails);
  if (settings.value(OPTIONS.serverJson)) return await printJson(answer);
  for (const { msg_id: id, from, bytes, accepted_at: acceptedAt } of answer.messages) {
    const at = new Date(acceptedAt * 1000).toISOString().slice(0, 19);
    await printLine(`${id}  from ${from}  ${bytes} bytes  accepted ${at}Z`);
  }
  const more = answer.pending_messages - answer.messages.length;
  if (more > 0) await printLine(`and ${more} more`);
  return 0;
}

/** `cairn server purge PEER`: drops what waits for a peer, and prints how many messages that were. */
export async function serverPurge(settings: Settings, peer: string): Promise<number> {
  const path = `/queue/${parsePeerArgument(peer)}/purge`;
  const answer = await new ManagementClient(settings).ask(path, Purged, { method: "POST" });
  if (settings.value(OPTIONS.serverJson)) return await printJson(answer);
  const end = answer.purged === 0 ? "" : "; their senders are told";
  await printLine(`${counted(answer.purged)} dropped${end}`);
  return 0;
}

function counted(messages: number): string {
  return `${messages} ${messages === 1 ? "message" : "messages"}`;
}

async function printJson(answer: unknown): Promise<number> {
  await printLine(JSON.stringify(answer));
  return 0;
}

/** As in `2d 3h`: the two largest units. */
function ageOf(seconds: number): string {
  const units = [["d", 86_400], ["h", 3_600], ["m", 60], ["s", 1]] as const;
  const parts = units.map(([unit, length], i) => {
    const above = units[i - 1]?.[1] ?? Infinity;
    return { unit, amount: Math.floor(seconds % above / length) };
  });
  const first = Math.max(0, parts.findIndex(({ amount }) => amount > 0));
  const shown = seconds === 0 ? parts.slice(-1) : parts.slice(first, first + 2);
  return shown.map(({ unit, amount }) => `${amount}${unit}`).join(" ");
}
