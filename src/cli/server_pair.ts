/** `cairn server pair`: lets one peer pair with the running server, and waits until it has. */

import { fromBase64 } from "../base/bytes.ts";
import { CairnError } from "../base/errors.ts";
import { qrTerminal } from "../roles/qr_code.ts";
import {
  PairingLink,
  PairingOffer,
  PairingOffers,
  PairingPin,
  PairingQr,
} from "../roles/server/api/shapes.ts";
import { ManagementClient } from "./management_client.ts";
import { OPTIONS } from "./options.ts";
import { ProcessLife } from "./process_life.ts";
import type { Settings } from "./settings.ts";
import { printLine, writeToStandardError } from "./standard_output.ts";

const LOOK_EVERY_MS = 500;

/** What was made: its lines for people, its JSON for programs. */
interface Made {
  readonly id: string;
  readonly shown: string;
  /** What to say on the device. */
  readonly next: string;
  readonly json: Readonly<Record<string, string | number | readonly string[]>>;
}

export async function serverPair(settings: Settings): Promise<number> {
  const asked = [OPTIONS.makePin, OPTIONS.makeLink, OPTIONS.makeQr]
    .filter((row) => settings.value(row) === true);
  const [kind] = asked;
  if (!kind || asked.length > 1) {
    throw new CairnError("invalid-option", "Say one of --pin, --link and --qr");
  }
  const life = new ProcessLife();
  const client = new ManagementClient(settings);
  const made = await makers[kind.flag](client);
  const asJson = settings.value(OPTIONS.serverJson);
  await printLine(asJson ? JSON.stringify(made.json) : made.shown);
  if (settings.value(OPTIONS.pairLeaveOpen)) return 0;
  if (!asJson) writeToStandardError(`On the device: ${made.next}\n`);
  const peer = await redeemed(client, made.id, life);
  await printLine(asJson ? JSON.stringify({ paired: peer }) : `Paired with ${peer}`);
  return 0;
}

const makers = {
  async "--pin"(client: ManagementClient): Promise<Made> {
    const json = await client.ask("/pairing/pin", PairingPin, { method: "POST" });
    const signal = json.signal_servers.length > 0
      ? ` ${OPTIONS.signalServers.flag} ${json.signal_servers.join(",")}`
      : "";
    const next = `cairn peer pair ${OPTIONS.pairPin.flag} ${json.pin}${signal}`;
    return { id: json.id, shown: json.pin, next, json };
  },
  async "--link"(client: ManagementClient): Promise<Made> {
    const json = await client.ask("/pairing/link", PairingLink, { method: "POST" });
    return { id: json.id, shown: json.uri, next: "cairn peer pair 'THE LINK'", json };
  },
  async "--qr"(client: ManagementClient): Promise<Made> {
    const json = await client.ask("/pairing/qr", PairingQr);
    const code = qrTerminal(fromBase64(json.qr_data));
    const next = "scan the code, or cairn peer pair 'THE LINK'";
    return { id: json.id, shown: `${code}\n${json.uri}`, next, json };
  },
};

/**
 * The Peer ID of whoever redeemed the offer; meanwhile a terminal shows how it stands.
 * @throws {CairnError} `pairing-failed` when it ended otherwise; `closed` when interrupted, after
 * the offer was withdrawn.
 */
async function redeemed(client: ManagementClient, id: string, life: ProcessLife): Promise<string> {
  const status = new StatusLine();
  try {
    while (true) {
      const { offers } = await client.ask("/pairing/offers", PairingOffers);
      const offer = offers.find((each) => each.id === id);
      if (offer?.state === "paired" && offer.peer_id !== null) return offer.peer_id;
      if (offer?.state !== "open") {
        throw new CairnError("pairing-failed", ENDS[offer?.state ?? "gone"]);
      }
      status.show(offer.expires_in_secs, offer.failures);
      if (await interruptedWithin(LOOK_EVERY_MS, life)) {
        await client.ask(`/pairing/offers/${id}`, PairingOffer, { method: "DELETE" });
        throw new CairnError("closed", "Interrupted; the PIN or link was withdrawn");
      }
    }
  } finally {
    status.clear();
  }
}

const ENDS = {
  expired: "Nobody paired within five minutes; make another one",
  burned:
    "It was given up after ten wrong guesses; make another one, and see who might be guessing",
  withdrawn: "It was withdrawn",
  paired: "It was redeemed already",
  gone: "The server knows it no longer; was it restarted? Make another one",
} as const;

async function interruptedWithin(milliseconds: number, life: ProcessLife): Promise<boolean> {
  const { promise: passed, resolve } = Promise.withResolvers<false>();
  const timer = setTimeout(() => resolve(false), milliseconds);
  try {
    return await Promise.race([passed, life.endRequested.then(() => true)]);
  } finally {
    clearTimeout(timer);
  }
}

/** One line that is written again and again on a terminal; elsewhere only what matters is written. */
class StatusLine {
  readonly #isTerminal = Deno.stderr.isTerminal();
  #failures = 0;

  show(secondsLeft: number, failures: number): void {
    const guesses = failures === 0 ? "" : `, ${failures} wrong guesses`;
    if (this.#isTerminal) {
      const time = `${Math.floor(secondsLeft / 60)}:${String(secondsLeft % 60).padStart(2, "0")}`;
      writeToStandardError(`\r\x1b[KWaiting for the other side, ${time} left${guesses}`);
    } else if (failures !== this.#failures) {
      writeToStandardError(`${failures} wrong guesses\n`);
    }
    this.#failures = failures;
  }

  clear(): void {
    if (this.#isTerminal) writeToStandardError("\r\x1b[K");
  }
}
