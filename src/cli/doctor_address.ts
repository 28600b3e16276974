/** What `cairn doctor` finds out about the address of a signaling server or a server. */

import { lookup } from "node:dns/promises";
import { connect, type TLSSocket } from "node:tls";
import { parseIp } from "../base/address.ts";
import { CairnError } from "../base/errors.ts";
import { systemHost } from "../base/host.ts";
import { connectWebSocket } from "../roles/web_socket.ts";
import type { Diagnosis } from "./doctor.ts";

interface AddressVisit {
  /** For signaling servers. */
  readonly token: string | undefined;
  /** Whether links are accepted there, and no signaling. */
  readonly isServer: boolean;
  /** Milliseconds for each step. */
  readonly timeout: number;
}

const DAY = 86_400_000;
/** Let's Encrypt renews 30 days before the end. */
const SOON = 21 * DAY;
/** Sealed messages that are 300 s off are dropped. */
const MAX_SKEW = 240_000;

/** Goes from the name to the WebSocket, and stops where nothing further can work. */
export async function* examineAddress(url: URL, visit: AddressVisit): AsyncGenerator<Diagnosis> {
  const subject = `${url.protocol}//${url.host}`;
  const say = (check: string, state: Diagnosis["state"], sentence: string): Diagnosis => (
    { check, subject, state, sentence }
  );
  const name = url.hostname.replace(/^\[|\]$/g, "");
  if (parseIp(name) === undefined) {
    const known = await lookup(name, { all: true }).catch(() => []);
    if (known.length === 0) {
      return yield say(
        "dns",
        "problem",
        `no address is known for the name ${name}: check its spelling and its DNS records`,
      );
    }
    const list = known.map(({ address }) => address).join(", ");
    yield say("dns", "ok", `the name ${name} stands for ${list}`);
  }
  if (/^(wss|https):$/.test(url.protocol)) {
    const [state, sentence] = await examineTls(url, name, visit.timeout);
    yield say("tls", state, sentence);
    if (state === "problem") return;
  }
  const [state, sentence] = await examineWebSocket(url, visit);
  yield say("websocket", state, sentence);
  const skew = await clockSkew(url, visit.timeout);
  if (skew === undefined) return;
  const seconds = Math.round(Math.abs(skew) / 1000);
  yield Math.abs(skew) < MAX_SKEW
    ? say("clock", "ok", `its clock agrees with this one (${seconds} s apart)`)
    : say("clock", "problem", `its clock and this one are ${seconds} s apart: let NTP set both`);
}

type Verdict = readonly [state: Diagnosis["state"], sentence: string];

async function examineTls(url: URL, name: string, timeout: number): Promise<Verdict> {
  let socket: TLSSocket;
  try {
    socket = await handshake(name, Number(url.port || 443), timeout);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return [
      "problem",
      `no TLS handshake comes about (${reason}): check that the role runs, that the firewall ` +
      "lets it in, and that this port is the one with the certificate",
    ];
  }
  const end = Date.parse(socket.getPeerCertificate().valid_to);
  const isTrusted = socket.authorized;
  const reason = String(socket.authorizationError ?? "unknown");
  socket.destroy();
  const date = Number.isNaN(end) ? "an unknown day" : new Date(end).toISOString().slice(0, 10);
  const left = end - systemHost.now();
  if (left <= 0) return ["problem", `the certificate ended on ${date}: renew it`];
  if (!isTrusted) {
    return [
      "problem",
      `the certificate is not trusted (${reason}): serve the whole chain (fullchain.pem) of one ` +
      `for ${name}, or name your own authority in DENO_CERT`,
    ];
  }
  if (left < SOON) {
    return ["note", `the certificate ends on ${date}: see to it that it is renewed`];
  }
  return ["ok", `the certificate is trusted and valid until ${date}`];
}

function handshake(name: string, port: number, timeout: number): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: name,
      port,
      rejectUnauthorized: false,
      ...(parseIp(name) === undefined && { servername: name }),
    }, () => {
      clearTimeout(timer);
      resolve(socket);
    });
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error("no answer"));
    }, timeout);
    socket.on("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
  });
}

async function examineWebSocket(url: URL, visit: AddressVisit): Promise<Verdict> {
  const target = new URL(url);
  target.protocol = /^(wss|https):$/.test(url.protocol) ? "wss:" : "ws:";
  if (visit.isServer && target.pathname === "/") target.pathname = "/link";
  const isLink = target.pathname.endsWith("/link");
  const { token, timeout } = visit;
  try {
    const socket = await connectWebSocket(target.href, {
      protocols: [isLink ? "cairn.link.v1" : "cairn.signal.v1"],
      timeout,
      ...(token !== undefined && !isLink && { headers: { authorization: `Bearer ${token}` } }),
    });
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    socket.onClose = () => resolve();
    socket.close();
    const timer = setTimeout(() => socket.destroy(), timeout);
    await closed;
    clearTimeout(timer);
    return ["ok", `a WebSocket opens, for ${isLink ? "links" : "signaling"}`];
  } catch (error) {
    if (!(error instanceof CairnError)) throw error;
    const advice = error.code === "refused"
      ? "give the right one in CAIRN_SIGNAL_AUTH_TOKEN"
      : "check that the role runs; a proxy in front of it must pass on Upgrade and Connection";
    return ["problem", `no WebSocket opens: ${error.message}: ${advice}`];
  }
}

/** Milliseconds by which this clock is ahead of the other; `undefined` where that one does not say. */
async function clockSkew(url: URL, timeout: number): Promise<number | undefined> {
  const page = new URL(url.href.replace(/^ws/, "http"));
  try {
    const response = await fetch(page, {
      signal: AbortSignal.timeout(timeout),
      redirect: "manual",
    });
    await response.body?.cancel();
    const date = Date.parse(response.headers.get("date") ?? "");
    return Number.isNaN(date) ? undefined : systemHost.now() - date;
  } catch {
    return undefined;
  }
}
