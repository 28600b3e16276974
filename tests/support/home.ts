import { createServer, Node, type NodeOptions, type ServerOptions } from "../../src/mod.ts";

/** Of the server. */
export const PSK = "correct horse battery staple";

/** An always-on server and peers of one temporary folder. */
export class Home implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();

  private constructor(
    readonly folder: string,
    readonly server: ReturnType<typeof createServer>,
  ) {}

  static async open(options: Partial<ServerOptions> = {}): Promise<Home> {
    const folder = await Deno.makeTempDir({ prefix: "cairn-test-" });
    const server = createServer({
      storagePath: `${folder}/server`,
      listenAddr: "127.0.0.1:0",
      management: { enabled: false },
      psk: PSK,
      ...options,
    });
    await server.start();
    const home = new Home(folder, server);
    home.#stack.defer(() => Deno.remove(folder, { recursive: true }));
    home.#stack.defer(() => server.close());
    return home;
  }

  /** A peer that is paired with the server. */
  async peer(name: string, options: Partial<NodeOptions> = {}): Promise<Node> {
    const node = await this.reopen(name, options);
    await node.pairWithPsk(PSK, this.server.peerId);
    return node;
  }

  peers<const Names extends readonly string[]>(
    ...names: Names
  ): Promise<{ -readonly [Index in keyof Names]: Node }>;
  async peers(...names: string[]): Promise<Node[]> {
    return await Promise.all(names.map((name) => this.peer(name)));
  }

  /** A peer that has paired before. */
  async reopen(name: string, options: Partial<NodeOptions> = {}): Promise<Node> {
    const node = await Node.create({
      storagePath: `${this.folder}/${name}`,
      serverUrl: `ws://127.0.0.1:${this.server.addresses.links.port}`,
      ...options,
    });
    this.#stack.defer(() => node.close());
    await node.start();
    return node;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
