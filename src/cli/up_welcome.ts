/** What `cairn up` says when it runs: where everything is, and what to do next. */

import type { ListenAddress } from "../roles/http.ts";
import { qrTerminal } from "../roles/qr_code.ts";
import type { LinkOffer } from "../roles/server/pairing_control.ts";
import { VERSION } from "../version.ts";
import { OPTIONS } from "./options.ts";
import { loopbackOf, reachableUrl } from "./reachable.ts";
import { defaultOf, flagOf, type Settings } from "./settings.ts";
import { printLine } from "./standard_output.ts";
import type { RunningHome } from "./up.ts";

/** Prints it; with an invitation where somebody sees it who may need one. */
export async function welcome(
  settings: Settings,
  home: RunningHome,
  dataDir: string,
): Promise<void> {
  const invites = settings.value(OPTIONS.upPair) ??
    (Deno.stdout.isTerminal() && home.server.pairedPeers() === 0);
  const offer = invites ? home.server.pairing.createLink() : undefined;
  for (const line of welcomeLines({ settings, home, dataDir, offer })) await printLine(line);
}

interface Welcome {
  readonly settings: Settings;
  readonly home: RunningHome;
  readonly dataDir: string;
  readonly offer: LinkOffer | undefined;
}

function welcomeLines({ settings, home, dataDir, offer }: Welcome): string[] {
  const { signal, relay, server } = home;
  const { links, management } = server.addresses;
  const signalScheme = settings.isSet(OPTIONS.signalTlsCert) ? "wss" : "ws";
  const linkScheme = settings.isSet(OPTIONS.serverTlsCert) ? "wss" : "ws";
  const token = settings.isSet(OPTIONS.mgmtToken)
    ? "the token that you gave"
    : `the token in ${dataDir}/mgmt_token`;
  const told = settings.value(OPTIONS.signalServers);
  const rows: (readonly [name: string, value: string])[] = [
    ...(management
      ? [
        ["Dashboard", `${httpUrl(management, linkScheme === "wss")} (sign in with ${token})`],
      ] as const
      : []),
    ["Links", settings.value(OPTIONS.serverPublicUrl) ?? reachableUrl(linkScheme, links)],
    ["Signaling", told?.join(", ") ?? reachableUrl(signalScheme, signal.address)],
    ["Relay", relay?.uris.join(", ") ?? "off"],
    ["Data folder", dataDir],
    ["Peer ID", server.peerId.toString()],
  ];
  const peers = server.pairedPeers();
  const verb = `cairn server pair --qr${sameServer(settings, dataDir)}`;
  return [
    `cairn ${VERSION} is up; ${peers === 0 ? "no peer is paired yet" : `paired peers: ${peers}`}.`,
    "",
    ...rows.map(([name, value]) => `  ${name.padEnd(12)} ${value}`),
    "",
    ...(offer ? invitation(offer) : []),
    `To pair ${offer || peers > 0 ? "another" : "a"} device: ${verb}`,
    "To stop: Ctrl-C, or SIGTERM. Everything is kept, and cairn up goes on with it.",
  ];
}

function invitation({ uri, payload }: LinkOffer): string[] {
  return [
    "To pair a device, run there within five minutes:",
    "",
    `  cairn peer pair '${uri}'`,
    "",
    "or let it scan:",
    "",
    qrTerminal(payload),
    "",
  ];
}

/** What a verb on this machine must be told to find this server, where it is not at its usual place. */
function sameServer(settings: Settings, dataDir: string): string {
  const envFile = settings.value(OPTIONS.envFile);
  if (envFile !== undefined) return ` ${OPTIONS.envFile.flag} ${envFile}`;
  const rows = [OPTIONS.mgmtBind, OPTIONS.mgmtPort] as const;
  const moved = rows.flatMap((row) => {
    const value = String(settings.value<string | number>(row));
    return value === defaultOf(row, "server") ? [] : [`${flagOf(row, "server pair")} ${value}`];
  });
  const folder = settings.isSet(OPTIONS.serverDataDir)
    ? [`${flagOf(OPTIONS.serverDataDir, "server pair")} ${dataDir}`]
    : [];
  const token = settings.isSet(OPTIONS.mgmtToken) ? [`(with ${OPTIONS.mgmtToken.env} set)`] : [];
  return [...folder, ...moved, ...token].map((flag) => ` ${flag}`).join("");
}

function httpUrl({ host, port }: ListenAddress, secure: boolean): string {
  return `${secure ? "https" : "http"}://${loopbackOf(host)}:${port}/`;
}
