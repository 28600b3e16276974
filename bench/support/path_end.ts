/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />
/** One end of a carrier, as a thread of `bench/path_throughput.ts`. */

import { systemHost } from "../../src/base/host.ts";
import type { CandidateText } from "../../src/protocol/ice/candidates.ts";
import type { PathParameters } from "../../src/protocol/rendezvous/sealed_message.ts";
import type { RelayServer } from "../../src/roles/path/relay_keeper.ts";
import { loadPathBatches } from "../../src/roles/path/path_sockets.ts";
import { type OutgoingPath, UdpPaths } from "../../src/roles/path/udp_paths.ts";
import { listen } from "../../src/roles/http.ts";
import { connectWebSocket, type FrameSocket } from "../../src/roles/web_socket.ts";
import { acceptWebSockets } from "../../src/roles/web_socket_server.ts";
import type { EndMessage, UdpEngine, Way } from "../path_throughput.ts";

const FRAME = 65_535;
/** Bytes that may wait in the carrier. */
const AHEAD = 4 * 1_048_576;

self.onmessage = ({ data }: MessageEvent<EndMessage>) => hear(data);

let wanted: {
  readonly end: "near" | "far";
  readonly way: Way;
  readonly engine: UdpEngine;
  readonly relayPort: number;
  readonly total: number;
};
let paths: UdpPaths;
let outgoing: OutgoingPath | undefined;
let answer: PathParameters | undefined;
let socket: FrameSocket;

async function hear(message: EndMessage): Promise<void> {
  switch (message.kind) {
    case "start":
      wanted = message;
      if (wanted.way !== "websocket") return openPath();
      if (wanted.end === "far") await listenHere();
      return;
    case "listens":
      return open(await connectWebSocket(message.url), message.url);
    case "said":
      return await learn(message.path, message.told);
    case "send":
      return await sendAll();
  }
}

async function listenHere(): Promise<void> {
  const { address } = await listen({
    host: "127.0.0.1",
    port: 0,
    prepare: (server) =>
      acceptWebSockets({
        server,
        limits: { maxFrameBytes: FRAME, maxBufferedBytes: 64 * 1_048_576 },
        handler: (_request, accept) => accept((socket) => open(socket, "")),
      }),
  });
  say({ kind: "listens", url: `ws://127.0.0.1:${address.port}/` });
}

function openPath(): void {
  if (wanted.engine === "batch") loadPathBatches();
  const { way, end } = wanted;
  const isRelayed = way !== "direct";
  const transport = way === "relay-tcp" ? "tcp" : "udp";
  const relay: RelayServer = {
    uri: { host: "127.0.0.1", port: wanted.relayPort, transport },
    credentials: () => ({ username: "user", password: "pass" }),
  };
  const only = Deno.networkInterfaces().filter(({ address }) => address === "127.0.0.1");
  paths = new UdpPaths({
    host: systemHost,
    relays: isRelayed ? [relay] : [],
    interfaces: () => only,
  });
  if (end === "far") return;
  outgoing = paths.offer({
    onCandidates: () => tell(outgoing?.parameters),
    onSocket: (socket, path) => {
      // The stream comes to exist for the other side with its first bytes.
      socket.send(new Uint8Array(0));
      open(socket, path.description ?? "");
    },
  });
  tell(outgoing.parameters);
}

async function learn(path: PathParameters, told: readonly CandidateText[]): Promise<void> {
  if (outgoing) return outgoing.learn(path, told);
  answer = await paths.answer("near", path, told, {
    onCandidates: () => tell(answer),
    onSocket: (socket, path) => open(socket, path.description ?? ""),
  });
  tell(answer);
}

function tell(path: PathParameters | undefined): void {
  if (!path) return;
  const told = wanted.way === "direct"
    ? paths.candidates
    : paths.candidates.filter(({ type }) => type === "relay");
  say({ kind: "said", path, told });
}

function open(opened: FrameSocket, description: string): void {
  socket = opened;
  let received = 0;
  socket.onFrame = (frame) => {
    const before = received;
    received += frame.length;
    if (before < wanted.total && received >= wanted.total) say({ kind: "received", at: clock() });
  };
  say({ kind: "open", description, at: clock() });
}

async function sendAll(): Promise<void> {
  const frame = new Uint8Array(FRAME);
  for (let sent = 0; sent < wanted.total; sent += FRAME) {
    socket.send(frame);
    while (socket.bufferedBytes > AHEAD) await new Promise((resolve) => setTimeout(resolve, 0));
  }
}

function say(message: EndMessage): void {
  self.postMessage(message);
}

/** Milliseconds, the same in every thread. */
function clock(): number {
  return performance.timeOrigin + performance.now();
}
