/** What a role would do with its settings, without doing it. */

import { CairnError } from "../base/errors.ts";
import { formatIp } from "../base/address.ts";
import { freeBytes } from "../roles/disk_space.ts";
import { type CertifiedPair, readCertificate } from "../roles/certified_pair.ts";
import { parseListenAddress } from "../roles/http.ts";
import { machineAddresses, relayAddresses } from "../roles/relay/relay_addresses.ts";
import { readBusCredentials } from "../roles/signal/bus_access.ts";
import { busAccess } from "./bus_setting.ts";
import { findServerDataDir } from "./data_dir.ts";
import { OPTIONS } from "./options.ts";
import type { Role } from "./option_values.ts";
import { loopbackOf, reachableUrl } from "./reachable.ts";
import type { OptionRow, Settings } from "./settings.ts";
import { keepTokensFromSpans } from "./telemetry.ts";
import { tlsFiles } from "./tls_files.ts";
import { turnCredentials } from "./turn_credentials.ts";

/** One thing that a role would do, or that is to be thought about, or that would stop it. */
export interface Finding {
  readonly kind: "does" | "note" | "problem";
  readonly sentence: string;
}

const DAY = 86_400_000;
/** A certificate that ends sooner is worth a word. */
const SOON = 30 * DAY;
const FIRST_FREE_PORT = 1_024;
const LITTLE_SPACE = 1_073_741_824;

/** Every row of the settings must be right. */
export async function* describeRole(settings: Settings, role: Role): AsyncGenerator<Finding> {
  const listening = new Map<string, string>();
  if (role === "signal" || role === "up") yield* signal(settings, listening);
  if (role === "relay" || (role === "up" && settings.value(OPTIONS.relayEnabled))) {
    yield* relay(settings, role, listening);
  }
  if (role === "server" || role === "up") yield* server(settings, role, listening);
}

/** Address, and what listens there over TCP. */
type Listening = Map<string, string>;

function* listens(
  listening: Listening,
  what: string,
  address: string,
  how: string,
): Generator<Finding> {
  yield does(`${what}: listens on ${address}, ${how}`);
  const { port } = parseListenAddress(address);
  const other = listening.get(String(port));
  if (port === 0) return;
  if (other !== undefined) yield problem(`${what} and ${other} would both listen on port ${port}`);
  listening.set(String(port), what);
  if (port < FIRST_FREE_PORT) {
    yield note(`port ${port} needs a permission on most systems (CAP_NET_BIND_SERVICE)`);
  }
}

function* signal(settings: Settings, listening: Listening): Generator<Finding> {
  const address = settings.value(OPTIONS.signalListenAddr);
  const pair = yield* certificate(settings, OPTIONS.signalTlsCert, OPTIONS.signalTlsKey);
  const url = reachableUrl(pair ? "wss" : "ws", parseListenAddress(address));
  yield* listens(listening, "signal", address, `reached as ${url}${pair ? "" : ", without TLS"}`);
  const tokens = settings.value(
    settings.command === "up" ? OPTIONS.signalToken : OPTIONS.signalAuthTokens,
  );
  yield does(
    tokens === undefined
      ? "signal: lets every client in; no token is set"
      : `signal: lets in who has the token (${tokens.length} set)`,
  );
  try {
    keepTokensFromSpans(settings);
  } catch (error) {
    yield asProblem(error);
  }
  const metrics = settings.value(OPTIONS.signalMetricsAddr);
  if (metrics !== undefined) yield* listens(listening, "signal's metrics", metrics, "plain HTTP");
  if (settings.command === "signal") yield* scale(settings);
}

/** What a signaling server shares with others, and its work among threads. */
function* scale(settings: Settings): Generator<Finding> {
  const workers = settings.value(OPTIONS.signalWorkers);
  if (workers > 1) yield does(`signal: ${workers} threads share the port and the work`);
  const cores = navigator.hardwareConcurrency;
  if (workers > cores) yield note(`this machine has ${cores} cores; more threads help nobody`);
  try {
    const bus = busAccess(settings);
    if (!bus) return;
    const { servers, isTls, login, credentialsPath } = bus;
    if (credentialsPath !== undefined) readBusCredentials(credentialsPath);
    yield does(
      `signal: joins others over the bus at ${servers.join(", ")}${isTls ? ", by TLS" : ""}`,
    );
    if (login && !isTls) {
      yield note("the bus may be reached without TLS: use tls:// unless nobody can read along");
    }
  } catch (error) {
    yield asProblem(error);
  }
}

function* relay(settings: Settings, role: Role, listening: Listening): Generator<Finding> {
  const address = settings.value(OPTIONS.relayListenAddr);
  const tcp = settings.value(OPTIONS.relayTcpAddr) ?? address;
  const { min, max } = settings.value(OPTIONS.relayPortRange);
  yield* listens(listening, "relay", tcp, `and on ${address} over UDP`);
  if (yield* certificate(settings, OPTIONS.relayTlsCert, OPTIONS.relayTlsKey)) {
    yield* listens(
      listening,
      "relay over TLS",
      settings.value(OPTIONS.relayTlsAddr),
      "TURN over TLS",
    );
  }
  try {
    const { advertised, warnings } = relayAddresses({
      listenHost: parseListenAddress(address).host,
      relayIps: settings.value(OPTIONS.relayIp) ?? [],
      externalIps: settings.value(OPTIONS.relayExternalIp) ?? [],
    }, machineAddresses());
    const told = Object.values(advertised).map(formatIp).join(" and ");
    yield does(`relay: relays from ${told}, UDP ports ${min} to ${max}`);
    for (const warning of warnings) yield note(warning);
  } catch (error) {
    yield asProblem(error);
  }
  const users = settings.value(OPTIONS.relayCredentials)?.length ?? 0;
  const secrets = settings.value(OPTIONS.relayRestSecret)?.length ?? 0;
  if (users + secrets > 0) {
    yield does(
      `relay: lets in ${users} users by password, and who has credentials of its secrets (${secrets} set)`,
    );
  } else if (role === "up") {
    yield does("relay: lets paired peers in, by a secret that it makes and keeps");
  } else {
    yield note("relay: lets nobody in; it is a STUN server only");
  }
  const metrics = settings.value(OPTIONS.relayMetricsAddr);
  if (metrics !== undefined) yield* listens(listening, "relay's metrics", metrics, "plain HTTP");
}

async function* server(
  settings: Settings,
  role: Role,
  listening: Listening,
): AsyncGenerator<Finding> {
  const address = settings.value(OPTIONS.serverListenAddr);
  const pair = yield* certificate(settings, OPTIONS.serverTlsCert, OPTIONS.serverTlsKey);
  const url = settings.value(OPTIONS.serverPublicUrl) ??
    reachableUrl(pair ? "wss" : "ws", parseListenAddress(address));
  yield* listens(listening, "links", address, `reached as ${url}${pair ? "" : ", without TLS"}`);
  yield* management(settings, pair !== undefined, listening);
  yield* dataFolder(findServerDataDir(settings));
  const psk = settings.value(OPTIONS.psk);
  const approved = settings.value(OPTIONS.approvedPeers)?.length ?? 0;
  yield does(
    `pairing: by PIN, link, QR code and approval${
      psk === undefined ? "" : ", by the pre-shared key"
    }` +
      (approved === 0 ? "" : `; ${approved} peers are approved`),
  );
  yield does(
    settings.value(OPTIONS.forwardEnabled)
      ? `mailbox: keeps ${settings.value(OPTIONS.forwardMaxPerPeer)} messages for a peer, for ` +
        `${settings.value(OPTIONS.forwardMaxAge) / DAY} days, ` +
        `${mebibytes(settings.value(OPTIONS.forwardMaxTotal))} in all`
      : "mailbox: off; nothing is kept for peers that are away",
  );
  const signals = settings.value(OPTIONS.signalServers);
  if (signals) yield does(`signaling: peers find this server at ${signals.join(", ")}`);
  else if (role === "server") {
    yield note("no signaling server is named: peers need the address of this one");
  }
  if (settings.value(OPTIONS.mdns)) {
    yield does("mDNS: peers on the local network find this server without signaling, too");
  }
  try {
    const credentials = turnCredentials(settings);
    const relays = settings.value(OPTIONS.turnServers);
    if (relays) yield does(`relays for peers: ${relays.join(", ")}`);
    if (relays && !credentials) {
      yield note(
        "no credentials for these relays are set (CAIRN_TURN_SECRET): nobody can use them",
      );
    }
  } catch (error) {
    yield asProblem(error);
  }
}

function* management(
  settings: Settings,
  hasTls: boolean,
  listening: Listening,
): Generator<Finding> {
  if (!settings.value(OPTIONS.mgmtEnabled)) {
    return yield does("management: off, with its dashboard");
  }
  const bind = settings.value(OPTIONS.mgmtBind);
  const port = settings.value(OPTIONS.mgmtPort);
  const scheme = hasTls ? "https" : "http";
  yield* listens(
    listening,
    "management",
    `${bind.includes(":") ? `[${bind}]` : bind}:${port}`,
    `the dashboard is ${scheme}://${loopbackOf(bind)}:${port}/`,
  );
  yield does(
    settings.isSet(OPTIONS.mgmtToken)
      ? "management: asks for the token that is set"
      : `management: asks for the token in ${findServerDataDir(settings)}/mgmt_token`,
  );
  const isNear = bind === "localhost" || bind === "::1" || bind.startsWith("127.");
  if (!isNear && !hasTls) {
    yield note(
      "management is reached from other machines without TLS: who reads along has the token",
    );
  }
}

async function* dataFolder(path: string): AsyncGenerator<Finding> {
  const info = await Deno.stat(path).catch(() => undefined);
  if (info && !info.isDirectory) return yield problem(`the data folder ${path} is no folder`);
  if (!info) return yield does(`data folder: ${path} is to be made`);
  const free = await freeBytes(path);
  yield does(`data folder: ${path} is there, with ${mebibytes(free)} free`);
  if (((info.mode ?? 0) & 0o077) !== 0) {
    yield note(`others may look into ${path}; close it with: chmod 700 ${path}`);
  }
  if (free < LITTLE_SPACE) yield note(`the disk of ${path} has less than 1 GB free`);
}

/** The pair that is set, if one is and it can be used. */
function* certificate(
  settings: Settings,
  cert: OptionRow<string>,
  key: OptionRow<string>,
): Generator<Finding, CertifiedPair | undefined> {
  try {
    const files = tlsFiles(settings, cert, key);
    if (files === undefined) return undefined;
    const pair = readCertificate(files);
    const end = pair.certificate.validToDate;
    const date = end.toISOString().slice(0, 10);
    if (end.getTime() < Date.now()) yield problem(`${files.certPath} ended on ${date}: renew it`);
    else if (end.getTime() < Date.now() + SOON) yield note(`${files.certPath} ends on ${date}`);
    else yield does(`certificate: ${files.certPath} is valid until ${date}`);
    return pair;
  } catch (error) {
    yield asProblem(error);
    return undefined;
  }
}

function does(sentence: string): Finding {
  return { kind: "does", sentence };
}

function note(sentence: string): Finding {
  return { kind: "note", sentence };
}

function problem(sentence: string): Finding {
  return { kind: "problem", sentence };
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 1_048_576)} MiB`;
}

/** @throws `error` itself when it is not meant for people. */
export function asProblem(error: unknown): Finding {
  if (!(error instanceof CairnError)) throw error;
  return { kind: "problem", sentence: error.message };
}
