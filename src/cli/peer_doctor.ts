/** `cairn peer doctor`: tries everything that a peer needs, and says in words what is wrong. */

import { CairnError } from "../base/errors.ts";
import { systemHost } from "../base/host.ts";
import { parseTurnUri } from "../protocol/turn/turn_uri.ts";
import type { Node } from "../roles/peer/node.ts";
import type { NetworkInfo } from "../roles/peer/node_api.ts";
import { tryRelay } from "../roles/relay/relay_trial.ts";
import { connectWebSocket } from "../roles/web_socket.ts";
import { findAnnounced } from "./doctor_mdns.ts";
import { OPTIONS } from "./options.ts";
import { withOwnNode } from "./peer_access.ts";
import type { Settings } from "./settings.ts";
import { escapeControls, printLine } from "./standard_output.ts";

const TIMEOUT = 10_000;
const SERVER_TIMEOUT = 20_000;
/** Sealed messages that are 300 s off are dropped. */
const MAX_SKEW = 240_000;

const NAT_SENTENCES: ReadonlyMap<NetworkInfo["natKind"], string> = new Map([
  ["open", "nothing stands between this machine and others: datagrams come in from everywhere"],
  ["full_cone", "behind a full cone NAT: peers reach this machine directly"],
  ["restricted_cone", "behind a restricted cone NAT: most peers reach this machine directly"],
  [
    "port_restricted_cone",
    "behind a port restricted cone NAT: most peers reach this machine directly",
  ],
  [
    "symmetric",
    "behind a symmetric NAT: peers behind another one are reached through a relay only",
  ],
]);
const NO_SIGNALING =
  "no signaling server is named by --signal: servers are looked for where they " +
  "were when this peer was paired";
const NAT_UNKNOWN = "what kind of NAT there is is not known: name a TURN server over UDP with " +
  "--turn and --turn-user, or let UDP out";

/** Returns 0 when everything works, 1 otherwise. */
export async function peerDoctor(settings: Settings): Promise<number> {
  let problems = 0;
  const tell = async (isRight: boolean, sentence: string) => {
    if (!isRight) problems += 1;
    await printLine(`${isRight ? "ok" : "problem"}: ${escapeControls(sentence)}`);
  };
  const signalServers = settings.value(OPTIONS.signalServers) ?? [];
  const [token] = settings.value(OPTIONS.signalToken) ?? [];
  const asksLocally = settings.value(OPTIONS.mdns);
  if (signalServers.length === 0) {
    await printLine(`note: ${NO_SIGNALING}${asksLocally ? ", and on the local network" : ""}`);
  }
  for (const url of signalServers) {
    await examine(tell, () => trySignal(url, token));
    const skew = await clockSkew(url);
    if (skew !== undefined) {
      const seconds = Math.round(Math.abs(skew) / 1000);
      await tell(
        Math.abs(skew) < MAX_SKEW,
        Math.abs(skew) < MAX_SKEW
          ? `the clock agrees with that of ${url} (${seconds} s apart)`
          : `the clock is ${seconds} s off that of ${url}: set it right`,
      );
    }
  }
  const user = settings.value(OPTIONS.turnUser);
  for (const text of user ? settings.value(OPTIONS.turnServers) ?? [] : []) {
    const uri = parseTurnUri(text);
    if (!uri || !user) continue;
    await examine(tell, async () => {
      await Array.fromAsync(tryRelay({ uri, ...user, timeout: TIMEOUT }));
      return `the relay ${text} works`;
    });
  }
  await withOwnNode(settings, { receive: false }, async (node) => {
    await node.start();
    await examineServers(node, tell);
    if (asksLocally) await examineLocalNetwork(node);
    const { natKind } = await node.networkInfo();
    const sentence = NAT_SENTENCES.get(natKind);
    await printLine(sentence === undefined ? `note: ${NAT_UNKNOWN}` : `ok: ${sentence}`);
  });
  await printLine(
    problems === 0 ? "Everything works." : `${problems} of these must be put right.`,
  );
  return problems === 0 ? 0 : 1;
}

type Tell = (isRight: boolean, sentence: string) => Promise<void>;

async function examine(tell: Tell, attempt: () => Promise<string>): Promise<void> {
  try {
    await tell(true, await attempt());
  } catch (error) {
    if (!(error instanceof CairnError)) throw error;
    await tell(false, error.message);
  }
}

async function examineServers(node: Node, tell: Tell): Promise<void> {
  const pairings = node.pairings();
  if (pairings.length === 0) {
    return await tell(false, "this peer is paired with no server: pair it (cairn peer pair)");
  }
  await examine(tell, async () => {
    await node.connect(node.peerId, SERVER_TIMEOUT);
    return "a server was found and has this peer's keys";
  });
  for (const { peerId, connected } of node.pairings()) {
    await tell(connected, `the server ${peerId} is ${connected ? "linked" : "not linked"}`);
  }
}

/** A server elsewhere is not to be found there, and nothing is wrong with that. */
async function examineLocalNetwork(node: Node): Promise<void> {
  for (const { peerId } of node.pairings()) {
    const url = await findAnnounced(peerId);
    await printLine(
      url === undefined
        ? `note: the server ${peerId} is not announced on the local network (--mdns true there)`
        : `ok: the server ${peerId} is announced on the local network, at ${url}`,
    );
  }
}

async function trySignal(url: string, token: string | undefined): Promise<string> {
  const socket = await connectWebSocket(url, {
    protocols: ["cairn.signal.v1"],
    timeout: TIMEOUT,
    ...(token !== undefined && { headers: { authorization: `Bearer ${token}` } }),
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.onClose = () => resolve();
  socket.close();
  const timer = setTimeout(() => socket.destroy(), TIMEOUT);
  await promise;
  clearTimeout(timer);
  return `the signaling server ${url} lets this peer in`;
}

/** Milliseconds by which this clock is ahead of the server's; `undefined` where it does not say. */
async function clockSkew(url: string): Promise<number | undefined> {
  const page = new URL("/health", url);
  page.protocol = page.protocol === "wss:" ? "https:" : "http:";
  try {
    const response = await fetch(page, { signal: AbortSignal.timeout(TIMEOUT) });
    await response.body?.cancel();
    const date = Date.parse(response.headers.get("date") ?? "");
    return Number.isNaN(date) ? undefined : systemHost.now() - date;
  } catch {
    return undefined;
  }
}
