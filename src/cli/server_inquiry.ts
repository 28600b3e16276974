/** The verbs of `cairn server` that tell what it knows of one message, and of one peer. */

import { concatBytes, fromUtf8 } from "../base/bytes.ts";
import { CairnError } from "../base/errors.ts";
import { MessageTraces } from "../roles/server/api/inquiry_routes.ts";
import { writingTo } from "./backup_output.ts";
import { ManagementClient } from "./management_client.ts";
import { OPTIONS } from "./options.ts";
import { parsePeerArgument } from "./peer_argument.ts";
import type { Settings } from "./settings.ts";
import { printLine } from "./standard_output.ts";

/** Longer than the last line of an export. */
const TAIL = 64;

/** `cairn server trace MESSAGE`: prints its way through the mailbox. */
export async function serverTrace(settings: Settings, text: string): Promise<number> {
  const id = text.replaceAll("-", "").toLowerCase();
  if (!/^[0-9a-f]{32}$/.test(id)) {
    throw new CairnError(
      "invalid-option",
      `MESSAGE: "${text}" is not right; expected 32 hex digits, as cairn server queue PEER shows`,
    );
  }
  const answer = await new ManagementClient(settings).ask(`/messages/${id}/trace`, MessageTraces);
  if (settings.value(OPTIONS.serverJson)) {
    await printLine(JSON.stringify(answer));
    return 0;
  }
  for (const { from, to, bytes, state, steps } of answer.traces) {
    const size = bytes === null ? "" : `, ${bytes} bytes`;
    await printLine(`from ${from} to ${to}${size}: ${state}`);
    for (const { step, at, reason } of steps) {
      await printLine(`  ${at}  ${step}${reason === null ? "" : `: ${reason}`}`);
    }
  }
  return 0;
}

/** `cairn server export PEER [FILE]`: writes what the server holds of a peer, as lines of JSON. */
export async function serverExport(
  settings: Settings,
  peer: string,
  file: string | undefined,
): Promise<number> {
  const path = `/peers/${parsePeerArgument(peer)}/export`;
  const client = new ManagementClient(settings);
  await writingTo(file ?? "-", { isText: true }, async (passage) => {
    let tail: Uint8Array = new Uint8Array(0);
    for await (const bytes of passage(client.stream(path, "text/x-ndjson"))) {
      tail = concatBytes(tail, bytes).slice(-TAIL);
    }
    if (/\{"type":"end","lines":\d+\}\n$/.test(fromUtf8(tail))) return;
    throw new CairnError("unreachable", "The server stopped before the end; its log says why");
  });
  return 0;
}
