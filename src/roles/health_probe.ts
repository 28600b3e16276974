/** Asks a role from outside whether it works, as its health pages and its protocol tell. */

import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { lookup } from "node:dns/promises";
import { formatAddressPort, formatIp, parseIp } from "../base/address.ts";
import { type Host, systemHost } from "../base/host.ts";
import { parseTurnUri, type TurnUri } from "../protocol/turn/turn_uri.ts";
import { openTurnCarrier } from "./turn_carrier.ts";
import { TurnConversation } from "./turn_conversation.ts";

/** What to ask. */
export interface Target {
  /** `http:`, `https:`, `ws:` or `wss:`, with the path of a health page or none; or `turn:`. */
  readonly url: string;
  /** On this machine, where a certificate is for another name than is asked for. */
  readonly isOwn: boolean;
}

/** What came of it. Where nothing of cairn's answers, the role is absent. */
export interface Probed {
  readonly state: "healthy" | "unhealthy" | "absent";
  /** Completes "the signaling server at URL …". */
  readonly sentence: string;
}

const MAX_BODY = 65_536;
/** Of the server and of the others. */
const PAGES = ["/health", "/healthz"];

/** Never throws, and takes no longer than `timeout` milliseconds. */
export async function probe(
  target: Target,
  timeout: number,
  host: Host = systemHost,
): Promise<Probed> {
  const { promise: late, resolve } = Promise.withResolvers<Probed>();
  const timer = setTimeout(
    () => resolve({ state: "unhealthy", sentence: `does not answer within ${timeout / 1000} s` }),
    timeout,
  );
  try {
    return await Promise.race([ask(target, timeout, host), late]);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { state: "absent", sentence: `cannot be reached (${reason})` };
  } finally {
    clearTimeout(timer);
  }
}

async function ask(target: Target, timeout: number, host: Host): Promise<Probed> {
  const uri = parseTurnUri(target.url);
  if (uri) return await askRelay(uri, { ...target, timeout, host });
  const url = new URL(target.url.replace(/^ws/i, "http"));
  const pages = url.pathname === "/" && !target.isOwn ? PAGES : [url.pathname];
  let answer: Probed = { state: "absent", sentence: "was not asked" };
  for (const page of pages) {
    url.pathname = page;
    answer = judge(await get(url, target.isOwn, timeout), page);
    if (answer.state !== "absent") break;
  }
  return answer;
}

interface Answer {
  readonly status: number;
  readonly body: string;
}

function judge({ status, body }: Answer, page: string): Probed {
  if (status === 200 && (body === "ok\n" || /"status":"healthy"/.test(body))) {
    return { state: "healthy", sentence: "works" };
  }
  // It delivers what it has; to start it again would mend nothing.
  if (status === 200 && /"status":"degraded"/.test(body)) {
    return { state: "healthy", sentence: "works, but its disk is nearly full" };
  }
  if (status === 503 && body === "draining\n") {
    return { state: "unhealthy", sentence: "is about to end" };
  }
  if (page === "/" && status === 404) return { state: "healthy", sentence: "listens" };
  return { state: "absent", sentence: `is no role of cairn (HTTP status ${status})` };
}

function get(url: URL, isOwn: boolean, timeout: number): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const send = url.protocol === "https:" ? httpsRequest : httpRequest;
    const asking = send(url, {
      timeout,
      agent: false,
      ...(isOwn && { rejectUnauthorized: false }),
    }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (text: string) => {
        body += text;
        if (body.length > MAX_BODY) response.destroy(new Error("the answer is too long"));
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
      response.on("error", reject);
    });
    asking.on("timeout", () => asking.destroy(new Error("no answer")));
    asking.on("error", reject);
    asking.end();
  });
}

async function askRelay(
  uri: TurnUri,
  { isOwn, timeout, host }: { isOwn: boolean; timeout: number; host: Host },
): Promise<Probed> {
  const { transport, port } = uri;
  const ip = parseIp(uri.host);
  const address = ip ? formatIp(ip) : (await lookup(uri.host)).address;
  // A datagram to nobody is not refused, a connection is: a relay of ours serves both on one port.
  if (isOwn && transport === "udp") (await Deno.connect({ hostname: address, port })).close();
  const carrier = await openTurnCarrier({ transport, address, port, serverName: uri.host });
  await using conversation = new TurnConversation(
    carrier,
    transport === "udp" ? "datagram" : "stream",
    // The probe itself ends first.
    { username: "", password: "", timeout: 2 * timeout, host },
  );
  const mapped = await conversation.bind();
  return { state: "healthy", sentence: `answers, and sees ${formatAddressPort(mapped)}` };
}
