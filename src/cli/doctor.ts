/** `cairn doctor`: tries what the roles on this machine need, and says how to mend what is wrong. */

import { CairnError } from "../base/errors.ts";
import { parseTurnUri } from "../protocol/turn/turn_uri.ts";
import { findServerDataDir } from "./data_dir.ts";
import { examineAddress } from "./doctor_address.ts";
import { examineMachine } from "./doctor_machine.ts";
import { examineAnnouncement } from "./doctor_mdns.ts";
import { examineRelay } from "./doctor_relay.ts";
import { OPTIONS } from "./options.ts";
import type { Settings } from "./settings.ts";
import { escapeControls, printLine } from "./standard_output.ts";
import { turnCredentials } from "./turn_credentials.ts";

/** What came of one check. */
export interface Diagnosis {
  /** As in `dns`; for programs. */
  readonly check: string;
  /** What was looked at: an address, a folder. */
  readonly subject: string;
  readonly state: "ok" | "note" | "problem";
  /** Says how to mend it, too, unless it is right. */
  readonly sentence: string;
}

/** Milliseconds for each step. */
const TIMEOUT = 10_000;

/** Returns 0 when nothing must be put right, 1 otherwise. */
export async function runDoctor(settings: Settings, urls: readonly string[]): Promise<number> {
  const asJson = settings.value(OPTIONS.operatorJson);
  const found: Diagnosis[] = [];
  for await (const diagnosis of diagnose(settings.as("server"), urls)) {
    found.push(diagnosis);
    const { state, subject, sentence } = diagnosis;
    if (!asJson) await printLine(escapeControls(`${state}: ${subject}: ${sentence}`));
  }
  const problems = found.filter(({ state }) => state === "problem").length;
  await printLine(
    asJson
      ? JSON.stringify({ ok: problems === 0, findings: found })
      : problems === 0
      ? "Nothing must be put right."
      : `${problems} of these must be put right.`,
  );
  return problems === 0 ? 0 : 1;
}

async function* diagnose(settings: Settings, urls: readonly string[]): AsyncGenerator<Diagnosis> {
  const publicUrl = settings.value(OPTIONS.serverPublicUrl);
  const addresses = urls.length > 0 ? urls : [
    ...(settings.value(OPTIONS.signalServers) ?? []),
    ...(publicUrl === undefined ? [] : [publicUrl]),
    ...(settings.value(OPTIONS.turnServers) ?? []),
  ];
  for (const address of addresses) {
    const uri = parseTurnUri(address);
    if (uri) {
      yield* examineRelay(uri, {
        address,
        credentials: turnCredentials(settings),
        timeout: TIMEOUT,
      });
    } else {
      yield* examineAddress(urlOf(address), {
        token: settings.value(OPTIONS.signalToken)?.[0],
        isServer: address === publicUrl,
        timeout: TIMEOUT,
      });
    }
  }
  if (urls.length === 0 && settings.as("up").value(OPTIONS.mdns)) yield* examineAnnouncement();
  yield* examineMachine(findServerDataDir(settings));
}

function urlOf(text: string): URL {
  const url = URL.parse(text);
  if (url && /^(wss?|https?):$/.test(url.protocol)) return url;
  throw new CairnError(
    "invalid-option",
    `URL: "${text}" is not right; expected a ws, wss, http, https or turn address`,
  );
}
