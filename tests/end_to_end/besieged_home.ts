/** A signaling server, a server and two peers that talk to one another while all is under fire. */

import { freePort } from "../support/free_port.ts";
import { deepEqual, equal, ok } from "node:assert/strict";
import { utf8 } from "../../src/base/bytes.ts";
import { PeerId } from "../../src/protocol/crypto/peer_id.ts";
import { encodeSignalFrame } from "../../src/protocol/signal/signal_frame.ts";
import { RemoteNode } from "../../src/roles/peer/remote_node.ts";
import { within } from "../support/deadline.ts";
import { ForeignClient } from "../support/foreign_client.ts";
import { Garbage } from "../support/garbage.ts";
import type { CairnProcess } from "../support/processes.ts";
import {
  type BadInputScene,
  badInputTest,
  eventually,
  LOOPBACK,
  type PeerOnCommandLine,
  recordOf,
  SECRETS,
  type ServerProcess,
  textsOf,
} from "./bad_input_scene.ts";

/** Far above what the processes need, far below what a leak per connection or frame comes to. */
const MOST_MEMORY_KIB = 450 * 1_024;
/** The longest that a message may take while the processes are under fire. */
const SLOWEST_MS = 30_000;
/** From one message to the next; a person writes less often. */
const PAUSE_MS = 100;

const FEWEST_TURNS = 5;

export interface Siege {
  readonly scene: BadInputScene;
  readonly garbage: Garbage;
  readonly signalPort: number;
  readonly signalUrl: string;
  readonly server: ServerProcess;
  readonly alice: PeerOnCommandLine;
  readonly bob: PeerOnCommandLine;
  readonly deadline: AbortSignal;
}

/** Runs `attack` while two peers exchange messages, of which none may be late, lost or repeated. */
export function siegeTest(name: string, attack: (siege: Siege) => Promise<void>): void {
  badInputTest({
    name,
    seconds: 300,
    async story(scene) {
      const { deadline } = scene;
      const { process: signal, port: signalPort, url: signalUrl } = await scene.signal(freePort());
      const server = await scene.server(`${scene.folder}/server`, {
        CAIRN_SIGNAL_SERVERS: signalUrl,
        CAIRN_SIGNAL_AUTH_TOKEN: SECRETS.signalToken,
        RUST_LOG: "debug",
      });
      const [alice, bob] = ["alice", "bob"].map((name) => scene.peer(name, server, signalUrl));
      ok(alice && bob);
      await Promise.all([alice.pair(), bob.pair()]);
      const [atAlice, atBob] = [alice.listen(), bob.listen()];
      const talks = [
        scene.use(await Talk.begin(alice, { to: bob, reader: atBob, deadline })),
        scene.use(await Talk.begin(bob, { to: alice, reader: atAlice, deadline })),
        scene.use(await SignalTalk.begin(signalUrl, deadline)),
      ];
      const garbage = new Garbage(name);
      try {
        await attack({
          ...{ scene, garbage, signalPort, signalUrl, server, alice, bob, deadline },
        });
        await server.assertHealthy();
        const health = await fetch(`http://${LOOPBACK}:${signalPort}/healthz`);
        equal(await health.text(), "ok\n");
        for (const talk of talks) await talk.end();
        await eventually(
          deadline,
          () => server.queues(),
          (queues) => Object.keys(queues).length === 0,
        );
      } catch (error) {
        throw new Error(`Under garbage of the seed "${garbage.seed}"`, { cause: error });
      }
      for (const reader of [atAlice, atBob]) await scene.stop(reader);
      for (const talk of talks) talk.assertUndisturbed();
      assertNothingBroke(signal);
      assertNothingBroke(server.process);
      await assertModest(`${LOOPBACK}:${signalPort}`);
      await assertModest(`${scene.folder}/server`);
    },
  });
}

/** Something that goes on and on, and remembers how long each turn took. */
abstract class Conversation implements AsyncDisposable {
  #going = true;
  #slowest = 0;
  #turns = 0;
  #running: Promise<void> | undefined;

  protected abstract turn(number: number): Promise<void>;

  protected start(): void {
    this.#running = this.#run();
    this.#running.catch(() => {}); // It is told by `end`.
  }

  get turns(): number {
    return this.#turns;
  }

  /** Stops after the turn under way; rejects when a turn has failed. */
  async end(): Promise<void> {
    this.#going = false;
    await this.#running;
  }

  assertUndisturbed(): void {
    ok(this.#slowest < SLOWEST_MS, `a turn took ${this.#slowest} ms`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end().catch(() => {});
  }

  async #run(): Promise<void> {
    while (this.#going || this.#turns < FEWEST_TURNS) {
      const began = performance.now();
      await this.turn(++this.#turns);
      this.#slowest = Math.max(this.#slowest, performance.now() - began);
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}

interface TalkOptions {
  readonly to: PeerOnCommandLine;
  readonly reader: CairnProcess;
  readonly deadline: AbortSignal;
}

/** One message after the other, through the `cairn peer listen` of the sender. */
class Talk extends Conversation {
  private constructor(
    private readonly sender: RemoteNode,
    private readonly recipient: PeerId,
    private readonly options: TalkOptions,
  ) {
    super();
  }

  static async begin(from: PeerOnCommandLine, options: TalkOptions): Promise<Talk> {
    const { deadline, to } = options;
    const sender = await eventually(deadline, () => RemoteNode.connect(from.folder), Boolean);
    ok(sender);
    const talk = new Talk(sender, PeerId.from(await to.id()), options);
    talk.start();
    return talk;
  }

  protected override async turn(number: number): Promise<void> {
    const { deadline } = this.options;
    const { accepted } = await this.sender.send(this.recipient, "", utf8(`message ${number}`));
    await within(deadline, accepted, () => `the acceptance of message ${number}`);
  }

  /** Waits until all has come. */
  override async end(): Promise<void> {
    await super.end();
    await this.options.reader.output.first(this.turns);
  }

  override assertUndisturbed(): void {
    super.assertUndisturbed();
    const sent = Array.from({ length: this.turns }, (_, index) => `message ${index + 1}`);
    deepEqual(textsOf(this.options.reader.output.all), sent);
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await this.sender.close();
    await super[Symbol.asyncDispose]();
  }
}

/** One relayed payload after the other, between two clients of a signaling server. */
class SignalTalk extends Conversation {
  private constructor(
    private readonly speaker: ForeignClient,
    private readonly listener: ForeignClient,
    private readonly deadline: AbortSignal,
  ) {
    super();
  }

  static async begin(url: string, deadline: AbortSignal): Promise<SignalTalk> {
    const headers = { authorization: `Bearer ${SECRETS.signalToken}` };
    const speaker = await ForeignClient.open(url, { headers });
    const listener = await ForeignClient.open(url, { headers });
    await listener.subscribe("a topic of two");
    const talk = new SignalTalk(speaker, listener, deadline);
    talk.start();
    return talk;
  }

  protected override async turn(number: number): Promise<void> {
    const frame = encodeSignalFrame({
      kind: "Relay",
      topic: "a topic of two",
      payload: utf8(`payload ${number}`),
    });
    this.speaker.send(frame);
    const relayed = this.listener.next();
    deepEqual(await within(this.deadline, relayed, () => `payload ${number}`), frame.slice());
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await super[Symbol.asyncDispose]();
    for (const client of [this.speaker, this.listener]) {
      client.socket.terminate();
      await client.closed;
    }
  }
}

/** Whatever a stranger sends is the stranger's mistake: none of it may count as an error of ours. */
function assertNothingBroke({ log }: CairnProcess): void {
  const errors = log.all.map(recordOf).filter((record) => /ERROR|FATAL/.test(record?.level ?? ""));
  deepEqual(errors, []);
}

/** Asserts that the process with `word` among its arguments has never used too much memory. */
async function assertModest(word: string): Promise<void> {
  if (Deno.build.os !== "linux") return;
  for await (const { name: id } of Deno.readDir("/proc")) {
    const [command, status] = await Promise.all(
      ["cmdline", "status"].map((file) => Deno.readTextFile(`/proc/${id}/${file}`).catch(() => "")),
    );
    if (!command?.includes(word) || !command.includes("main.ts")) continue;
    const most = Number(/^VmHWM:\s*(\d+) kB$/m.exec(status ?? "")?.[1]);
    return ok(most < MOST_MEMORY_KIB, `${most} KiB were used`);
  }
  throw new Error(`No process has ${word} among its arguments`);
}
