import { equal, ok } from "node:assert/strict";
import { makeSelfSigned } from "./self_signed.ts";
import { Program } from "./namespace_program.ts";
import type { TapOrders } from "./wire_tap.ts";
import {
  everyNatObstacle,
  type Firewall,
  type NatKind,
  type NatNetwork,
  NatWorld,
} from "./nat_world.ts";

const ROOT = new URL("../../", import.meta.url);
const SECRET = "secret-of-the-relay";
const RUN = ["run", "--quiet", "-A", "--unstable-kv", "--unstable-net"];

/** An address of the services at which a relay may be. */
type ServiceHost = 11 | 12;

/** What the peers of a network reported. */
export interface PeersReport {
  readonly messages: number;
  readonly expected: number;
  readonly repeated: number;
  readonly firstMessageMs: number;
  readonly natKind: string;
  readonly via: string;
  readonly peerIds: readonly string[];
}

/** How messages came that the peers were asked to exchange. */
export interface TransferReport {
  readonly ms: number;
  /** Longest time in milliseconds without one. */
  readonly pause: number;
  readonly repeated: number;
  /** What carries Bob's link after it, and what he then finds about his NAT. */
  readonly via: string;
  readonly natKind: string;
}

/** A signaling server and a relay in the middle; a server and two peers in networks around it. */
export class NatScene implements AsyncDisposable {
  readonly world: NatWorld;
  readonly deadline: AbortSignal;
  readonly folder: string;
  readonly #stack = new AsyncDisposableStack();
  signal: Program | undefined;
  /** In every message that Alice and Bob exchange, and in the name of its channel. */
  readonly mark = crypto.randomUUID();
  signalAddress: string;
  server: NatNetwork | undefined;
  peers: NatNetwork | undefined;
  #relays: readonly ServiceHost[] = [11];
  #reported = 2;
  /** The file of a certificate that every program takes for an authority's. */
  #trusted: string | undefined;

  private constructor(world: NatWorld, folder: string, seconds: number) {
    this.world = world;
    this.folder = folder;
    this.signalAddress = `${world.service(10)}:443`;
    this.deadline = AbortSignal.timeout(seconds * 1000);
    this.#stack.use(world);
    this.#stack.defer(() => Deno.remove(folder, { recursive: true }));
  }

  static async open(seconds = 400): Promise<NatScene> {
    const folder = await Deno.makeTempDir({ prefix: "cairn-nat-" });
    const scene = new NatScene(await NatWorld.open(), folder, seconds);
    await scene.startSignal();
    return scene;
  }

  /** Where peers look for the signaling server: where the narrowest firewall lets out. */
  get signalUrl(): string {
    return `ws://${this.signalAddress}`;
  }

  async startSignal(): Promise<Program> {
    const signal = this.signal = this.cairn(this.world.middle, [
      ...["signal", "--listen-addr", `${this.world.service(10)}:443`],
    ]);
    await signal.logged(/listens/i);
    return signal;
  }

  /** Starts a relay on UDP 3478 and TCP 443, or TLS there, whose certificate all others then trust. */
  async startRelay(host: ServiceHost = 11, secured: "tcp" | "tls" = "tcp"): Promise<Program> {
    const ip = this.world.service(host);
    const pair = secured === "tls" ? this.#stack.use(await makeSelfSigned(2, ip)) : undefined;
    if (pair) this.#trusted = pair.certPath;
    const stream = pair
      ? ["--tls-addr", `${ip}:443`, "--tls-cert", pair.certPath, "--tls-key", pair.keyPath]
      : ["--tcp-addr", `${ip}:443`];
    const relay = this.cairn(this.world.middle, [
      ...["relay", "--listen-addr", `${ip}:3478`, ...stream],
      ...["--relay-ip", ip, "--rest-secret", SECRET, "--realm", "cairn"],
      ...["--metrics-addr", `127.0.0.1:${9_400 + host}`, "--api-addr", `127.0.0.1:${8_000 + host}`],
    ]);
    await relay.logged(/listens/i);
    return relay;
  }

  /** Starts coturn in place of cairn's relay, on the same ports. */
  async startCoturn(host: ServiceHost = 11): Promise<Program> {
    const ip = this.world.service(host);
    const coturn = this.start(this.world.middle, "turnserver", [
      ...["-n", "-v", "-L", ip, "-E", ip, "-p", "3478", "--realm", "cairn", "--use-auth-secret"],
      ...["--static-auth-secret", SECRET, "--no-tls", "--no-dtls", "--no-cli"],
      ...["--pidfile", "/dev/null", "--log-file", "stdout"],
    ]);
    for await (const line of coturn.output) {
      if (/UDP listener opened/.test(line)) return coturn;
    }
    throw new Error(`It ended: ${coturn.output.all.join("\n")}`);
  }

  /** Bytes that the relay has brought to or from peers. */
  async relayedBytes(host: ServiceHost = 11): Promise<number> {
    const url = `http://127.0.0.1:${9_400 + host}/metrics`;
    const { stdout } = await new Deno.Command("ip", {
      args: [
        ...["netns", "exec", this.world.middle, Deno.execPath(), "eval", "--quiet"],
        `console.log(await (await fetch("${url}")).text())`,
      ],
    }).output();
    const text = new TextDecoder().decode(stdout);
    const lines = [...text.matchAll(/^cairn_relay_relayed_bytes_total\S* (\d+)$/gm)];
    return lines.reduce((sum, [, count]) => sum + Number(count), 0);
  }

  /** Starts the always-on server in a network of its own; returns its Peer ID. */
  async startServer(
    nat: NatKind,
    firewall?: Firewall,
    relays: readonly ServiceHost[] = [11],
  ): Promise<string> {
    const network = this.server = await this.world.addNetwork(nat, firewall);
    this.#relays = relays;
    const turn = relays.flatMap((host) => {
      const ip = this.world.service(host);
      const scheme = this.#trusted === undefined ? "turn" : "turns";
      return [`turn:${ip}:3478`, `${scheme}:${ip}:443?transport=tcp`];
    });
    const server = this.cairn(network.namespace, [
      ...["server", "--data-dir", `${this.folder}/server`, "--signal", this.signalUrl],
      ...(turn.length > 0 ? ["--turn", turn.join(",")] : []),
    ], { CAIRN_TURN_SECRET: SECRET });
    const line = await server.logged(/accepts links/);
    const id = /Qm[1-9A-HJ-NP-Za-km-z]{44}/.exec(line)?.[0];
    if (!id) throw new Error(`No Peer ID in ${line}`);
    return id;
  }

  /** Starts two peers in a network of their own, which pair and exchange messages. */
  async startPeers(
    serverId: string,
    nat: NatKind,
    firewall?: Firewall,
    large = 100_000,
  ): Promise<Program> {
    const network = this.peers = await this.world.addNetwork(nat, firewall);
    const orders = {
      folder: this.folder,
      signal: this.signalUrl,
      server: serverId,
      pins: await Promise.all([this.#pin(), this.#pin()]),
      large,
      mark: this.mark,
    };
    const program = new URL("tests/support/nat_peers.ts", ROOT).href;
    return this.start(network.namespace, Deno.execPath(), [
      ...[...RUN, program, JSON.stringify(orders)],
    ]);
  }

  /** A PIN that the server's operator makes; one peer can take it. */
  async #pin(): Promise<string> {
    const pair = this.cairn(this.server?.namespace ?? "", [
      ...["server", "pair", "--pin", "--leave-open", "--data-dir", `${this.folder}/server`],
    ]);
    const [pin = ""] = await pair.output.first(1);
    return pin;
  }

  /** What the peers report once all is done: nothing lost, nothing twice. */
  async report(peers: Program): Promise<PeersReport> {
    const [, line = ""] = await peers.output.first(2);
    const report: PeersReport = JSON.parse(line);
    equal(report.messages, report.expected, "messages that came");
    equal(report.repeated, 0, "messages that came twice");
    const { via, firstMessageMs, natKind } = report;
    this.tell(`by ${via}, first message ${firstMessageMs} ms after the start, NAT ${natKind}`);
    return report;
  }

  /**
   * Has Alice send Bob so many messages of so many bytes. Once a fifth of them have come, something
   * happens; still all come, and none twice.
   */
  async transfer(
    peers: Program,
    size: { readonly messages: number; readonly bytes: number },
    happen: () => Promise<void> = () => Promise.resolve(),
  ): Promise<TransferReport> {
    await peers.write(`send ${size.messages} ${size.bytes}`);
    await peers.output.first(this.#reported += 1);
    await happen();
    const lines = await peers.output.first(this.#reported += 1);
    const report: TransferReport = JSON.parse(lines.at(-1) ?? "");
    const { ms, pause, repeated, via } = report;
    equal(repeated, 0, "messages that came twice");
    this.tell(`all came within ${ms} ms, the longest pause was ${pause} ms, then by ${via}`);
    return report;
  }

  /** Lets the peers write on until what carries Bob's link is like that, and his NAT is known. */
  async until(peers: Program, via: RegExp, natKind?: string): Promise<TransferReport> {
    for (;;) {
      const found = await this.transfer(peers, { messages: 1, bytes: 1_000 });
      if (via.test(found.via) && (natKind ?? found.natKind) === found.natKind) return found;
      const { aborted } = this.deadline;
      ok(!aborted, `the link stays on ${found.via}, and the NAT is taken for ${found.natKind}`);
    }
  }

  /** Lets the peers write until, while they did, the relay carried as many bytes as expected. */
  async writeUntilRelayed(
    peers: Program,
    size: { readonly messages: number; readonly bytes: number },
    expected: (bytes: number) => boolean,
  ): Promise<void> {
    for (let before = await this.relayedBytes();;) {
      await this.transfer(peers, size);
      const after = await this.relayedBytes();
      const bytes = after - before;
      this.tell(`${bytes} bytes of it went through the relay`);
      if (expected(bytes)) return;
      this.deadline.throwIfAborted();
      before = after;
    }
  }

  /** Puts something between everybody and a server of the middle. */
  async startTap(orders: TapOrders): Promise<Program> {
    const program = new URL("tests/support/wire_tap.ts", ROOT).href;
    const tap = this.start(this.world.middle, Deno.execPath(), [
      ...[...RUN, program, JSON.stringify(orders)],
    ]);
    await tap.output.first(1);
    return tap;
  }

  /** A number for whoever runs all scenes. */
  tell(sentence: string): void {
    // deno-lint-ignore no-console
    if (everyNatObstacle === undefined) console.log(`    ${sentence}`);
  }

  cairn(
    namespace: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Program {
    const program = new URL("main.ts", ROOT).href;
    return this.start(namespace, Deno.execPath(), [...RUN, program, ...args], env);
  }

  start(
    namespace: string,
    command: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Program {
    const trust = this.#trusted === undefined ? {} : { DENO_CERT: this.#trusted };
    return this.#stack.use(
      new Program(namespace, command, args, { ...trust, ...env }, this.deadline),
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}
