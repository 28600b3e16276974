import { Program } from "./namespace_program.ts";
import { type NatNetwork, NatWorld } from "./nat_world.ts";

const ROOT = new URL("../../", import.meta.url);
const RUN = ["run", "--quiet", "-A", "--no-check", "--unstable-kv", "--unstable-net"];

/**
 * Machines on one local network and nothing else: no internet, no signaling server. Each speaks
 * mDNS on an interface of its own.
 */
export class LocalScene implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();

  private constructor(
    readonly world: NatWorld,
    readonly folder: string,
    readonly deadline: AbortSignal,
  ) {}

  static async open(seconds = 180): Promise<LocalScene> {
    const world = await NatWorld.open();
    const folder = await Deno.makeTempDir({ prefix: "cairn-local-" });
    const scene = new LocalScene(world, folder, AbortSignal.timeout(seconds * 1000));
    scene.#stack.use(world);
    scene.#stack.defer(() => Deno.remove(folder, { recursive: true }));
    return scene;
  }

  addMachine(): Promise<NatNetwork> {
    return this.world.addNetwork("none");
  }

  /** A machine that has an IPv6 address and no other. */
  async addMachineOfIpv6(host: number): Promise<NatNetwork> {
    const machine = await this.addMachine();
    const script = "device=$(ip -o -4 addr show scope global | awk '{print $2}'); " +
      `ip addr add fd77::${host}/64 dev $device nodad && ip -4 addr flush dev $device && echo done`;
    const changed = this.run(machine.namespace, "sh", ["-c", script]);
    await changed.output.first(1);
    return machine;
  }

  /** Starts the home's server, by default on all IPv4 addresses; returns it and its Peer ID. */
  async startServer(
    { namespace }: NatNetwork,
    port: number,
    ...args: string[]
  ): Promise<{ readonly program: Program; readonly id: string }> {
    const program = this.cairn(namespace, [
      ...["server", "--mdns", "true", "--listen-addr", `0.0.0.0:${port}`],
      ...["--data-dir", `${this.folder}/server`, ...args],
    ]);
    const line = await program.logged(/accepts links/);
    const id = /Qm[1-9A-HJ-NP-Za-km-z]{44}/.exec(line)?.[0];
    if (!id) throw new Error(`No Peer ID in ${line}`);
    return { program, id };
  }

  /** A PIN of the server that runs on this machine. */
  async pin({ namespace }: NatNetwork): Promise<string> {
    const [pin = ""] = await this.lines(namespace, [
      ...["server", "pair", "--pin", "--leave-open", "--data-dir", `${this.folder}/server`],
    ], 1);
    return pin;
  }

  /** A verb of the peer whose data folder has this name. */
  peer({ namespace }: NatNetwork, name: string, verb: string, ...args: string[]): Program {
    return this.cairn(namespace, ["peer", verb, "--data-dir", `${this.folder}/${name}`, ...args]);
  }

  /** The first lines that a command prints. */
  async lines(namespace: string, args: readonly string[], count: number): Promise<string[]> {
    const program = this.cairn(namespace, args);
    return [...await program.output.first(count)];
  }

  cairn(namespace: string, args: readonly string[]): Program {
    return this.deno(namespace, "main.ts", args);
  }

  /** Runs a program of ours on a machine; `path` is below the project's folder. */
  deno(namespace: string, path: string, args: readonly string[]): Program {
    return this.run(namespace, Deno.execPath(), [...RUN, new URL(path, ROOT).href, ...args]);
  }

  /** Runs any program on a machine. */
  run(namespace: string, command: string, args: readonly string[]): Program {
    return this.#stack.use(new Program(namespace, command, args, {}, this.deadline));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}
