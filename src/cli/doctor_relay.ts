/** What `cairn doctor` finds out about a relay. */

import { CairnError } from "../base/errors.ts";
import { systemHost } from "../base/host.ts";
import type { TurnUri } from "../protocol/turn/turn_uri.ts";
import { timeLimitedCredentials } from "../roles/path/relay_access.ts";
import { tryRelay } from "../roles/relay/relay_trial.ts";
import type { ServerOptions } from "../roles/server/server_options.ts";
import type { Diagnosis } from "./doctor.ts";

interface RelayVisit {
  /** The URI as it was written. */
  readonly address: string;
  readonly credentials: ServerOptions["turnCredentials"];
  /** Milliseconds for each step. */
  readonly timeout: number;
}

/** Uses it as its clients do, over UDP and TCP on the same port, or over TLS. */
export async function* examineRelay(
  uri: TurnUri,
  { address, credentials, timeout }: RelayVisit,
): AsyncGenerator<Diagnosis> {
  if (credentials === undefined) {
    const sentence = "it was not tried, for want of credentials: set CAIRN_TURN_SECRET, or " +
      "CAIRN_TURN_USERNAME and CAIRN_TURN_PASSWORD";
    return yield { check: "relay", subject: address, state: "note", sentence };
  }
  const transports = uri.transport === "tls" ? ["tls"] as const : ["udp", "tcp"] as const;
  for (const transport of transports) {
    const subject = `${address} over ${transport.toUpperCase()}`;
    const user = "secret" in credentials
      ? timeLimitedCredentials(credentials.secret, systemHost)
      : credentials;
    try {
      for await (const step of tryRelay({ uri: { ...uri, transport }, ...user, timeout })) {
        if (step.kind === "note") {
          yield { check: "relay", subject, state: "note", sentence: step.sentence };
        }
      }
      yield { check: "relay", subject, state: "ok", sentence: "it relays datagrams both ways" };
    } catch (error) {
      if (!(error instanceof CairnError)) throw error;
      yield { check: "relay", subject, state: "problem", sentence: error.message };
    }
  }
}
