/** What Deno's own telemetry (OTEL_DENO) tells of cairn. */

import { CairnError } from "../base/errors.ts";
import { OPTIONS } from "./options.ts";
import type { Settings } from "./settings.ts";

const YES = ["1", "true"];
const NO = ["0", "false"];

/**
 * Deno writes the address of each request that it traces into a span, query and all.
 *
 * @throws {CairnError} `invalid-option` when tokens may stand there.
 */
export function keepTokensFromSpans(settings: Settings): void {
  if (!settings.value(OPTIONS.signalAllowQueryToken) || !isTraced()) return;
  throw new CairnError(
    "invalid-option",
    "OTEL_DENO exports the addresses of requests, and a token may stand in them by " +
      `${settings.howToSet(OPTIONS.signalAllowQueryToken)}: leave that out, or set ` +
      "OTEL_DENO_TRACING=false to export metrics alone",
  );
}

function isTraced(): boolean {
  const [all, spans] = ["OTEL_DENO", "OTEL_DENO_TRACING"].map((name) =>
    Deno.env.get(name)?.toLowerCase() ?? ""
  );
  return YES.includes(spans ?? "") || (YES.includes(all ?? "") && !NO.includes(spans ?? ""));
}
