/** `cairn health`: whether the roles on this machine work, for a container's HEALTHCHECK. */

import { probe, type Target } from "../roles/health_probe.ts";
import { parseListenAddress } from "../roles/http.ts";
import { OPTIONS } from "./options.ts";
import type { Role } from "./option_values.ts";
import { loopbackOf } from "./reachable.ts";
import { parseRoleArgument } from "./role_argument.ts";
import type { Settings } from "./settings.ts";
import { escapeControls, printLine } from "./standard_output.ts";

interface Asked {
  readonly name: string;
  readonly target: Target;
}

/**
 * Returns 0 when everything that is asked answers that it works. Without a role whatever is there
 * counts, as long as anything is.
 */
export async function runHealth(settings: Settings, named: string | undefined): Promise<number> {
  const asked = askedOf(settings, named);
  const isSure = named !== undefined || settings.isSet(OPTIONS.healthUrl);
  const timeout = settings.value(OPTIONS.healthTimeout);
  const answers = await Promise.all(asked.map(async ({ name, target }) => (
    { name, target, answer: await probe(target, timeout) }
  )));
  const counted = isSure ? answers : answers.filter(({ answer }) => answer.state !== "absent");
  for (const { name, target, answer } of counted) {
    const word = answer.state === "healthy" ? "ok" : "problem";
    await printLine(`${word}: ${name} at ${target.url} ${escapeControls(answer.sentence)}`);
  }
  if (counted.length === 0) {
    const where = asked.map(({ target }) => target.url).join(", ");
    await printLine(`problem: no role answers on this machine (asked ${where})`);
  }
  return counted.length > 0 && counted.every(({ answer }) => answer.state === "healthy") ? 0 : 1;
}

function askedOf(settings: Settings, named: string | undefined): Asked[] {
  const url = settings.value(OPTIONS.healthUrl);
  if (url !== undefined) return [{ name: "what is", target: { url, isOwn: false } }];
  const all = parseRoleArgument(named).flatMap((each) => partsOf(settings.as(each), each));
  return all.filter(({ target }, i) => {
    return all.findIndex((other) => other.target.url === target.url) === i;
  });
}

/** Where the parts of a role answer, by its settings. */
function partsOf(settings: Settings, each: Role): Asked[] {
  const part = (name: string, url: string) => ({ name, target: { url, isOwn: true } });
  const near = (listening: string) => {
    const { host, port } = parseListenAddress(listening);
    return `${loopbackOf(host)}:${port}`;
  };
  const parts: Asked[] = [];
  if (each === "signal" || each === "up") {
    const scheme = settings.isSet(OPTIONS.signalTlsCert) ? "https" : "http";
    const address = near(settings.value(OPTIONS.signalListenAddr));
    parts.push(part("signal", `${scheme}://${address}/readyz`));
  }
  if (each === "relay" || (each === "up" && settings.value(OPTIONS.relayEnabled))) {
    const tcp = settings.value(OPTIONS.relayTcpAddr);
    const address = near(tcp ?? settings.value(OPTIONS.relayListenAddr));
    parts.push(part("relay", `turn:${address}${tcp === undefined ? "" : "?transport=tcp"}`));
  }
  if (each === "server" || each === "up") {
    const scheme = settings.isSet(OPTIONS.serverTlsCert) ? "https" : "http";
    const url = settings.value(OPTIONS.mgmtEnabled)
      ? `${scheme}://${loopbackOf(settings.value(OPTIONS.mgmtBind))}:${
        settings.value(OPTIONS.mgmtPort)
      }/health`
      : `${scheme}://${near(settings.value(OPTIONS.serverListenAddr))}/`;
    parts.push(part("server", url));
  }
  return parts;
}
