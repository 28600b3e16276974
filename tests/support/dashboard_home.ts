import { equal } from "node:assert/strict";
import { createServer, Node, type ServerNode } from "../../src/mod.ts";
import { startSignal } from "../../src/roles/signal/run_signal.ts";
import { chromiumPath } from "./chromium.ts";
import { DashboardPage } from "./dashboard_page.ts";
import { within } from "./deadline.ts";
import { freePort } from "./free_port.ts";

export const TOKEN = "token-of-the-dashboard";

const LOOPBACK = "127.0.0.1";
const WITHIN = 300_000;

/** For the tests that need a browser: whether there is none, and what to say of it. */
export const ignore = chromiumPath === undefined;
export const note = ignore ? " (SKIPPED: Chromium is not installed)" : "";

/** A signaling server, an always-on server, peers, and a browser that shows the dashboard. */
export class DashboardHome implements AsyncDisposable {
  readonly deadline = AbortSignal.timeout(WITHIN);
  readonly #stack = new AsyncDisposableStack();

  private constructor(
    readonly folder: string,
    readonly signalUrl: string,
    readonly server: ServerNode,
    readonly url: string,
  ) {}

  static async open(): Promise<DashboardHome> {
    const folder = await Deno.makeTempDir({ prefix: "cairn-dashboard-" });
    const signal = await startSignal({ listenAddr: `${LOOPBACK}:0`, authTokens: [], drainTime: 0 });
    const signalUrl = `ws://${LOOPBACK}:${signal.address.port}`;
    const port = freePort();
    const server = createServer({
      storagePath: `${folder}/server`,
      listenAddr: `${LOOPBACK}:0`,
      management: { port, token: TOKEN },
      signalServers: [signalUrl],
    });
    const home = new DashboardHome(folder, signalUrl, server, `http://${LOOPBACK}:${port}/`);
    home.#stack.defer(() => Deno.remove(folder, { recursive: true }));
    home.#stack.defer(() => signal.close());
    home.#stack.defer(() => server.close());
    await server.start();
    return home;
  }

  async page(): Promise<DashboardPage> {
    return this.#stack.use(await DashboardPage.open(this.url, this.deadline));
  }

  /** A peer that looks for servers by signaling; it ends before the server does. */
  async peer(name: string): Promise<Node> {
    const node = await Node.create({
      storagePath: `${this.folder}/${name}`,
      signalServers: [this.signalUrl],
    });
    this.#stack.defer(() => node.close());
    await node.start();
    return node;
  }

  /** Asks the management API beside the page, which must do it; its answer. */
  async ask(method: string, path: string, body?: unknown): Promise<Record<string, unknown>> {
    const response = await fetch(this.url + path, {
      method,
      headers: { authorization: `Bearer ${TOKEN}`, "content-type": "application/json" },
      signal: this.deadline,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const answer = await response.json();
    equal(response.status, 200, JSON.stringify(answer));
    return answer;
  }

  within<T>(promise: Promise<T>, what: string): Promise<T> {
    return within(this.deadline, promise, () => what);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
