/** The roles as processes, a peer in a program, and the example page in Chromium. */

import { match } from "node:assert/strict";
import { Node } from "../../src/mod.ts";
import { browserExample } from "../../tasks/browser_example.ts";
import { serveSite } from "../../tasks/site.ts";
import { runCairn } from "../cli/run_cairn.ts";
import { DashboardPage } from "./dashboard_page.ts";
import { within } from "./deadline.ts";
import { freePort } from "./free_port.ts";
import { CairnProcess } from "./processes.ts";

const PSK = "correct horse battery staple";
const TOKEN = "a-token-of-the-test";
const LOOPBACK = "127.0.0.1";
const WITHIN = 400_000;

/** Everything ends with it. */
export class BrowserHome implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly #deadline = AbortSignal.timeout(WITHIN);
  readonly #signalPort = freePort();
  readonly #managementPort = freePort();
  readonly #linkPort = freePort();
  #server: CairnProcess | undefined;

  private constructor(readonly folder: string, readonly url: string) {}

  /** A signaling server that admits the page's origin alone, and an always-on server. */
  static async open(): Promise<BrowserHome> {
    const folder = await Deno.makeTempDir({ prefix: "cairn-browser-" });
    const site = serveSite(await browserExample());
    const home = new BrowserHome(folder, site.url);
    home.#stack.defer(() => Deno.remove(folder, { recursive: true }));
    home.#stack.use(site);
    const signal = home.#process([
      ...["signal", "--listen-addr", `${LOOPBACK}:${home.#signalPort}`],
      ...["--allowed-origins", new URL(site.url).origin],
    ]);
    await signal.log.first(1);
    await home.startServer();
    return home;
  }

  async startServer(): Promise<void> {
    this.#server = this.#process([
      ...["server", "--data-dir", `${this.folder}/server`, "--psk", PSK],
      ...["--listen-addr", `${LOOPBACK}:${this.#linkPort}`, "--signal", this.#signalUrl],
      ...["--mgmt-port", String(this.#managementPort)],
    ]);
    for await (const line of this.#server.log) if (line.includes("accepts links")) break;
  }

  async stopServer(): Promise<void> {
    await this.#server?.end();
  }

  /** What `cairn server pair --link` prints. */
  async pairingLink(): Promise<string> {
    const { stdout, stderr } = await this.#ask(["pair", "--link", "--leave-open"]);
    match(stdout, /^cairn:\/\/pair\?/, stderr);
    return stdout.trim();
  }

  /** A peer in this program, paired. */
  async peer(name: string): Promise<Node> {
    const node = await Node.create({
      storagePath: `${this.folder}/${name}`,
      signalServer: this.#signalUrl,
    });
    this.#stack.defer(() => node.close());
    await node.start();
    await node.pairWithPsk(PSK, (await this.#ask(["id"])).stdout.trim());
    return node;
  }

  /** The page, in a browser that has what the one before it stored. */
  async page(): Promise<DashboardPage> {
    const profile = `${this.folder}/chromium`;
    return this.#stack.use(await DashboardPage.open(this.url, this.#deadline, profile));
  }

  within<T>(promise: Promise<T>, what: string): Promise<T> {
    return within(this.#deadline, promise, () => what);
  }

  get #signalUrl(): string {
    return `ws://${LOOPBACK}:${this.#signalPort}`;
  }

  #ask(args: readonly string[]) {
    const all = ["server", ...args, "--mgmt-port", String(this.#managementPort)];
    return runCairn(all, { env: { CAIRN_MGMT_TOKEN: TOKEN } });
  }

  #process(args: readonly string[]): CairnProcess {
    const env = { CAIRN_MGMT_TOKEN: TOKEN };
    return this.#stack.use(new CairnProcess(args, { deadline: this.#deadline, env }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
