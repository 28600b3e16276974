/** The loads that are put on a signaling server, each measured from outside. */

import { serveSockets } from "./epoll_sockets.ts";
import { Exchange, nextSource } from "./exchange.ts";
import { cpuSeconds, residentBytes } from "./process_usage.ts";
import { type ClientEvents, Message, type SignalingClient } from "./signaling_dialects.ts";
import type { RunningServer } from "./signaling_servers.ts";
import { connectOverTls } from "./tls_connects.ts";

/** What one load did in one go. */
export interface Measured {
  readonly count: number;
  readonly failures: number;
  readonly seconds: number;
  readonly serverCpu: number;
  readonly loadCpu: number;
  /** Milliseconds each, where single times were taken. */
  readonly times: readonly number[];
}

/** Longest that what has begun may take to end. */
const FINISH_WITHIN_MS = 5_000;
/** Connections that may be in their handshake at a time. */
const CONNECTING = 64;

/** Keeps `pairs` exchanges going for a while. */
export async function loadExchanges(
  server: RunningServer,
  pairs: number,
  seconds: number,
): Promise<Measured> {
  const going = new Set<Exchange>();
  const times: number[] = [];
  let failures = 0;
  let free = pairs;
  const onDone = ({ duration, failure }: Exchange) => {
    free++;
    if (failure === undefined) times.push(duration);
    else failures++;
  };
  return await measure(server, async () => {
    const end = performance.now() + seconds * 1_000;
    const step = () => {
      const isOver = performance.now() >= end;
      for (; free > 0 && !isOver; free--) going.add(new Exchange(server, onDone));
      for (const exchange of going) if (exchange.isGone) going.delete(exchange);
      return isOver && going.size === 0;
    };
    if (!await serveSockets(step, seconds * 1_000 + FINISH_WITHIN_MS)) {
      failures += going.size;
      for (const exchange of going) exchange.destroy();
    }
    return { count: times.length, failures, times };
  });
}

/** Keeps `connecting` clients connecting, until they may speak, and leaving for a while. */
export async function loadConnects(
  server: RunningServer,
  connecting: number,
  seconds: number,
): Promise<Measured> {
  const going = new Set<SignalingClient>();
  const times: number[] = [];
  let failures = 0;
  let free = connecting;
  return await measure(server, async () => {
    const end = performance.now() + seconds * 1_000;
    const step = () => {
      const isOver = performance.now() >= end;
      for (; free > 0 && !isOver; free--) {
        const start = performance.now();
        const client = connect(server, {
          onReady: () => {
            free++;
            times.push(performance.now() - start);
            client.socket.close();
          },
          onDelivery: () => {},
          onEnd: () => {
            free++;
            failures++;
          },
        });
        going.add(client);
      }
      for (const client of going) if (client.socket.isGone) going.delete(client);
      return isOver && going.size === 0;
    };
    if (!await serveSockets(step, seconds * 1_000 + FINISH_WITHIN_MS)) {
      failures += going.size;
      for (const { socket } of going) socket.destroy();
    }
    return { count: times.length, failures, times };
  });
}

const TLS_CONNECTING = 16;

/** The same over TLS, by the runtime's own sockets. */
export async function loadTlsConnects(
  server: RunningServer,
  caCert: string,
  seconds: number,
): Promise<Measured> {
  return await measure(server, async () => {
    const end = performance.now() + seconds * 1_000;
    let count = 0;
    let failures = 0;
    await Promise.all(Array.from({ length: TLS_CONNECTING }, async () => {
      while (performance.now() < end) {
        const isIn = await connectOverTls(server, caCert, `t${clientCount++}`).catch(() => false);
        if (isIn) count++;
        else failures++;
      }
    }));
    return { count, failures, times: [] };
  });
}

const FAN_OUT_MESSAGE = new Message("Fs".padEnd(200, "x"));
/** Deliveries that may be under way; more only if one message alone has more. */
const DELIVERIES_AHEAD = 2_000;
const MESSAGES_AHEAD = 32;

/** One client's messages of 200 bytes to `listeners` others, as fast as they arrive. */
export async function loadFanOut(
  server: RunningServer,
  listeners: number,
  seconds: number,
): Promise<Measured> {
  const topic = listeners.toString(16).padStart(64, "f");
  let deliveries = 0;
  let failure: string | undefined;
  const events = {
    onDelivery: () => deliveries++,
    onEnd: (why: string) => failure ??= why,
  };
  const clients = await connectAll(server, listeners + 1, events);
  const sender = clients[0]!;
  const target = server.kind.addressesClients ? clients[1]!.id : topic;
  for (const { client } of clients.slice(1)) client.subscribe(topic);
  // The first message to reach all shows that all subscriptions are in force.
  let warmUps = 0;
  await serveSockets(() => {
    if (failure !== undefined || deliveries >= listeners) return true;
    if (warmUps++ % 50 === 0) {
      deliveries = 0;
      sender.client.publish(target, FAN_OUT_MESSAGE);
    }
    return false;
  }, FINISH_WITHIN_MS);
  // What is left of earlier ones must not be counted.
  for (let seen = -1; seen !== deliveries;) {
    seen = deliveries;
    await serveSockets(() => false, 300);
  }
  const result = await measure(server, async () => {
    deliveries = 0;
    let published = 0;
    const ahead = Math.max(1, Math.min(MESSAGES_AHEAD, Math.floor(DELIVERIES_AHEAD / listeners)));
    const end = performance.now() + seconds * 1_000;
    const step = () => {
      if (failure !== undefined) return true;
      const isOver = performance.now() >= end;
      const under = published - Math.floor(deliveries / listeners);
      for (let i = under; i < ahead && !isOver; i++) {
        sender.client.publish(target, FAN_OUT_MESSAGE);
        published++;
      }
      return isOver && deliveries >= published * listeners;
    };
    await serveSockets(step, seconds * 1_000 + FINISH_WITHIN_MS);
    return { count: deliveries, failures: published * listeners - deliveries, times: [] };
  });
  await leave(clients.map(({ client }) => client));
  if (failure !== undefined) throw new Error(`Fan-out to ${listeners}: a client was ${failure}`);
  return result;
}

/** Memory of a server before and while clients are connected, each listening to a topic. */
export interface IdleMemory {
  readonly bytesBefore: number;
  readonly steps: readonly {
    readonly connections: number;
    readonly rest: number;
    readonly bytes: number;
  }[];
}

/** Connects up to each number in turn, and reads the memory after so many seconds of rest. */
export async function loadIdle(
  server: RunningServer,
  plan: readonly (readonly [connections: number, rest: number])[],
): Promise<IdleMemory> {
  const bytesBefore = residentBytes(server.pid);
  const clients: { client: SignalingClient }[] = [];
  const steps: IdleMemory["steps"][number][] = [];
  let failure: string | undefined;
  const events = { onDelivery: () => {}, onEnd: (why: string) => failure ??= why };
  for (const [count, rest] of plan) {
    const first = clients.length;
    clients.push(...await connectAll(server, count - first, events));
    for (let i = first; i < clients.length; i++) {
      clients[i]!.client.subscribe(i.toString(16).padStart(64, "0"));
    }
    await serveSockets(() => false, rest * 1_000);
    if (failure !== undefined) throw new Error(`An idle client was ${failure}`);
    steps.push({ connections: count, rest, bytes: residentBytes(server.pid) });
  }
  await leave(clients.map(({ client }) => client));
  return { bytesBefore, steps };
}

let clientCount = 0;

function connect(server: RunningServer, events: ClientEvents): SignalingClient & { id: string } {
  const id = `c${(clientCount++).toString(16).padStart(15, "0")}`;
  const place = { port: server.port, source: nextSource(), id };
  return Object.assign(server.kind.dialect(place, events), { id });
}

async function connectAll(
  server: RunningServer,
  count: number,
  events: Pick<ClientEvents, "onDelivery" | "onEnd">,
): Promise<{ client: SignalingClient; id: string }[]> {
  const clients: { client: SignalingClient; id: string }[] = [];
  let ready = 0;
  let failure: string | undefined;
  const onEnd = (why: string) => {
    failure ??= why;
    events.onEnd(why);
  };
  const hasAll = await serveSockets(() => {
    while (clients.length < count && clients.length - ready < CONNECTING) {
      const client = connect(server, { ...events, onEnd, onReady: () => ready++ });
      clients.push({ client, id: client.id });
    }
    return ready === count || failure !== undefined;
  }, 60_000);
  if (!hasAll || failure !== undefined) {
    throw new Error(`${ready} of ${count} connected to ${server.kind.name}: ${failure ?? "late"}`);
  }
  return clients;
}

async function leave(clients: readonly SignalingClient[]): Promise<void> {
  for (const { socket } of clients) socket.close();
  const isOver = () => clients.every(({ socket }) => socket.isGone);
  if (!await serveSockets(isOver, FINISH_WITHIN_MS)) {
    for (const { socket } of clients) socket.destroy();
  }
}

async function measure(
  { pid }: RunningServer,
  load: () => Promise<Pick<Measured, "count" | "failures" | "times">>,
): Promise<Measured> {
  const [serverBefore, loadBefore, start] = [
    cpuSeconds(pid),
    cpuSeconds(Deno.pid),
    performance.now(),
  ];
  const outcome = await load();
  return {
    ...outcome,
    seconds: (performance.now() - start) / 1_000,
    serverCpu: cpuSeconds(pid) - serverBefore,
    loadCpu: cpuSeconds(Deno.pid) - loadBefore,
  };
}
