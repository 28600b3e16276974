import { systemHost } from "../../../src/base/host.ts";
import type { CandidateText } from "../../../src/protocol/ice/candidates.ts";
import type { PathSession } from "../../../src/roles/path/path_session.ts";
import type { RelayServer } from "../../../src/roles/path/relay_keeper.ts";
import { type OutgoingPath, UdpPaths } from "../../../src/roles/path/udp_paths.ts";
import {
  type DatagramSockets,
  DenoDatagramSockets,
} from "../../../src/roles/relay/datagram_sockets.ts";
import type { FrameSocket } from "../../../src/roles/web_socket.ts";
import { within } from "../../support/deadline.ts";

const PATIENT = 180_000;

export interface PathSide {
  readonly relays?: readonly RelayServer[];
  /** The addresses that it believes to have; default the machine's. */
  readonly address?: string;
  /** Tells the other side nothing but relayed addresses. */
  readonly relayedOnly?: boolean;
  /** Default Deno's own. */
  readonly sockets?: DatagramSockets;
}

/** What came of a search, at one end. */
export interface Carried {
  readonly socket: FrameSocket;
  readonly path: PathSession;
}

/** Two nodes on this machine that tell one another everything at once. */
export class PathPair implements AsyncDisposable {
  readonly near: UdpPaths;
  readonly far: UdpPaths;
  /** What the near side heard about its way. */
  readonly steadiness: boolean[] = [];
  #outgoing: OutgoingPath | undefined;

  readonly #isRelayedOnly: boolean;

  constructor(near: PathSide = {}, far: PathSide = {}) {
    this.#isRelayedOnly = near.relayedOnly ?? false;
    this.near = open(near);
    this.far = open(far);
  }

  /** Finds a way, and returns the carriers at both ends. */
  async connect(): Promise<{ near: Carried; far: Carried }> {
    const [near, far] = [Promise.withResolvers<Carried>(), Promise.withResolvers<Carried>()];
    const outgoing = this.near.offer({
      onCandidates: (candidates) =>
        this.far.learn("near", outgoing.parameters, this.#told(candidates)),
      onSteady: (isSteady) => this.steadiness.push(isSteady),
      onSocket: (socket, path) => {
        // The stream comes to exist for the other side with its first bytes.
        socket.send(new Uint8Array(0));
        near.resolve({ socket, path });
      },
      onEnd: () => near.reject(new Error("The search came to nothing")),
    });
    this.#outgoing = outgoing;
    const answer = await this.far.answer(
      "near",
      outgoing.parameters,
      this.#told(this.near.candidates),
      {
        onCandidates: (candidates) => answer && outgoing.learn(answer, this.#told(candidates)),
        onSocket: (socket, path) => far.resolve({ socket, path }),
      },
    );
    if (!answer) throw new Error("The offer was not answered");
    outgoing.learn(answer, this.#told(this.far.candidates));
    const both = Promise.all([near.promise, far.promise]);
    const deadline = AbortSignal.timeout(PATIENT);
    const [here, there] = await within(deadline, both, () => "a carrier at both ends");
    return { near: here, far: there };
  }

  #told(candidates: readonly CandidateText[]): readonly CandidateText[] {
    return this.#isRelayedOnly ? candidates.filter(({ type }) => type === "relay") : candidates;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#outgoing?.close();
    await Promise.all([this.near.close(), this.far.close()]);
  }
}

function open({ relays = [], address, sockets = new DenoDatagramSockets() }: PathSide): UdpPaths {
  const only = address === undefined ? undefined : [{ ...Deno.networkInterfaces()[0]!, address }];
  return new UdpPaths({
    host: systemHost,
    sockets,
    relays,
    interfaces: () =>
      only?.map((each) => ({ ...each, family: "IPv4" as const })) ?? Deno.networkInterfaces(),
  });
}

/** Sends one frame and returns what comes back, if the other end echoes. */
export function echo(socket: FrameSocket, frame: Uint8Array): Promise<Uint8Array> {
  const { promise, resolve } = Promise.withResolvers<Uint8Array>();
  socket.onFrame = (frame) => {
    if (frame.length > 0) resolve(frame);
  };
  socket.send(frame);
  return within(AbortSignal.timeout(PATIENT), promise, () => "an echo");
}
