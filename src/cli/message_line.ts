/** How a received message is printed. */

import { fromUtf8, toBase64 } from "../base/bytes.ts";
import type { ReceivedMessage } from "../roles/peer/node_api.ts";
import { escapeControls } from "./standard_output.ts";

/** One JSON object: what comes `before`, `from`, `id`, `channel`, `text` or else `data_base64`, `sent_at`. */
export function jsonLine(
  message: ReceivedMessage,
  before: Readonly<Record<string, string>> = {},
): string {
  const text = textOf(message.data);
  // JSON.stringify leaves U+0080 to U+009F as they are, which a terminal may obey.
  return escapeControls(JSON.stringify({
    ...before,
    from: message.from.toString(),
    id: message.id,
    channel: message.channel,
    ...(text === undefined ? { data_base64: toBase64(message.data) } : { text }),
    sent_at: message.sentAt,
  }));
}

/** One line for a person; nothing in it can steer the terminal or forge another line. */
export function readableLine(message: ReceivedMessage): string {
  const sent = new Date(message.sentAt);
  const time = isNaN(sent.getTime()) ? `${message.sentAt} ms` : sent.toISOString();
  const channel = message.channel === "" ? "" : ` [${message.channel}]`;
  return escapeControls(`${time} ${message.from}${channel} ${readableText(message.data)}`);
}

/** The content as text, or in base64; not escaped yet. */
export function readableText(data: Uint8Array): string {
  return textOf(data) ?? `${data.length} bytes: ${toBase64(data)}`;
}

function textOf(data: Uint8Array): string | undefined {
  try {
    return fromUtf8(data);
  } catch {
    return undefined;
  }
}
