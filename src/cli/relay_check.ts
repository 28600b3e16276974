/** `cairn relay check`: tries a relay from outside. */

import { utf8 } from "../base/bytes.ts";
import { CairnError } from "../base/errors.ts";
import { systemHost } from "../base/host.ts";
import { timeLimitedPassword } from "../protocol/turn/credentials.ts";
import { parseTurnUri } from "../protocol/turn/turn_uri.ts";
import { tryRelay } from "../roles/relay/relay_trial.ts";
import { OPTIONS } from "./options.ts";
import type { Settings } from "./settings.ts";
import { escapeControls, printLine } from "./standard_output.ts";

/** Seconds that the credential of a check is valid. */
const TTL = 600;

/** Tries the relay at `text`; a line for each step. */
export async function relayCheck(settings: Settings, text: string): Promise<number> {
  const uri = parseTurnUri(text);
  if (uri === undefined) {
    throw new CairnError(
      "invalid-option",
      `URI: "${text}" is not right; expected turn:host:port, with ?transport=tcp for TCP, or ` +
        "turns:host:port for TLS",
    );
  }
  const caPath = settings.value(OPTIONS.checkCa);
  const steps = tryRelay({
    uri,
    ...credential(settings),
    timeout: settings.value(OPTIONS.checkTimeout),
    ...(caPath !== undefined && { caCerts: [readCa(caPath)] }),
  });
  for await (const { kind, sentence } of steps) {
    await printLine(`${kind}: ${escapeControls(sentence)}`);
  }
  await printLine("The relay works.");
  return 0;
}

function credential(settings: Settings): { username: string; password: string } {
  const username = settings.value(OPTIONS.checkUser);
  const password = settings.value(OPTIONS.checkPassword);
  if (username !== undefined && password !== undefined) return { username, password };
  const [secret] = settings.value(OPTIONS.relayRestSecret) ?? [];
  if (secret === undefined || password !== undefined) {
    throw new CairnError(
      "invalid-option",
      `Say as whom to check: ${settings.howToSet(OPTIONS.checkUser)} with ${
        settings.howToSet(OPTIONS.checkPassword)
      }, or ${settings.howToSet(OPTIONS.relayRestSecret)}`,
    );
  }
  const expiry = Math.floor(systemHost.now() / 1000) + TTL;
  const made = `${expiry}:${username ?? "check"}`;
  return { username: made, password: timeLimitedPassword(made, utf8(secret)) };
}

function readCa(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (cause) {
    throw new CairnError(
      "certificate-unreadable",
      `Cannot read the certificate authority ${path}: check the path and its permissions`,
      { cause },
    );
  }
}
