import type { EventData, StreamedEvent } from "./event_parser.ts";
import { bytesText, mechanismText, messagesText } from "./wording.ts";

type Wording = (data: EventData, name: string) => string;

const SECRETS: Readonly<Record<string, string>> = {
  pin: "PIN",
  link: "link",
  psk: "pre-shared key",
};

const ENDS: Readonly<Record<string, string>> = {
  paired: "was used",
  expired: "has expired",
  burned: "has ended after too many wrong guesses",
  withdrawn: "was withdrawn",
};

const WORDINGS: Readonly<Record<string, Wording>> = {
  "peer.connected": (_, name) => `${name} came online`,
  "peer.disconnected": (_, name) => `${name} went offline`,
  "peer.paired": ({ mechanism }, name) => `${name} was paired ${mechanismText(String(mechanism))}`,
  "peer.unpaired": ({ by }, name) =>
    by === "peer" ? `${name} ended its pairing` : `${name} was unpaired`,
  "peer.changed": (_, name) => `${name} has another name or quota`,
  "pairing.requested": (_, name) => `${name} asks to be paired`,
  "pairing.approved": (_, name) => `${name} was approved`,
  "pairing.refused": (_, name) => `${name} was refused`,
  "pairing.offer-made": ({ kind }) => `A ${secretOf(kind)} was made`,
  "pairing.offer-ended": ({ kind, state }) => {
    return `A ${secretOf(kind)} ${ENDS[String(state)] ?? "has ended"}`;
  },
  "pairing.attempt-failed": ({ mechanism }) => `Somebody did not know the ${secretOf(mechanism)}`,
  "backup.made": ({ bytes }) => `A backup of ${bytesText(Number(bytes))} was written`,
  "backup.failed": ({ reason }) => `A backup could not be written: ${reason}`,
  "queue.purged": ({ purged }, name) => `${messagesText(Number(purged))} for ${name} dropped`,
  "queue.changed": ({ refused, reason }, name) => {
    return `${messagesText(Number(refused))} for ${name} refused: ${reason}`;
  },
};

/** What happened, as one sentence; `undefined` for what is no news. */
export function eventText(
  { type, data }: Pick<StreamedEvent, "type" | "data">,
  nameOf: (peerId: string) => string,
): string | undefined {
  if (type === "queue.changed" && !(Number(data.refused) > 0)) return undefined;
  const name = typeof data.peer_id === "string" ? nameOf(data.peer_id) : "";
  return WORDINGS[type]?.(data, name);
}

function secretOf(mechanism: EventData[string] | undefined): string {
  return SECRETS[String(mechanism)] ?? "secret";
}
