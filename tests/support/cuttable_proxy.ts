/** A TCP proxy on loopback whose network can be cut. */
export class CuttableProxy implements AsyncDisposable {
  readonly port: number;
  readonly #target: number;
  readonly #listener: Deno.TcpListener;
  readonly #connections = new Set<Deno.TcpConn>();
  readonly #accepting: Promise<void>;
  #isCut = false;
  #mayPass: number;

  /**
   * Passes on what comes to {@linkcode port} to the port `target`; of connections, as many as
   * `mayPass`.
   */
  constructor(target: number, mayPass = Infinity) {
    this.#target = target;
    this.#mayPass = mayPass;
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.port = this.#listener.addr.port;
    this.#accepting = this.#accept();
  }

  /** Drops all connections and every further one, until {@linkcode mend}. */
  cut(): void {
    this.#isCut = true;
    for (const connection of this.#connections) close(connection);
  }

  mend(): void {
    this.#isCut = false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    this.cut();
    await this.#accepting;
  }

  async #accept(): Promise<void> {
    const passing = new Set<Promise<void>>();
    try {
      for await (const connection of this.#listener) {
        const passed = this.#pass(connection).finally(() => passing.delete(passed));
        passing.add(passed);
      }
    } catch {
      // The listener was closed.
    }
    await Promise.all(passing);
  }

  async #pass(near: Deno.TcpConn): Promise<void> {
    this.#connections.add(near);
    try {
      if (this.#isCut || this.#mayPass-- <= 0) return;
      const far = await Deno.connect({ hostname: "127.0.0.1", port: this.#target });
      this.#connections.add(far);
      const ways = [near.readable.pipeTo(far.writable), far.readable.pipeTo(near.writable)];
      await Promise.all(ways.map((way) =>
        way.catch(() => {}).finally(() => {
          close(near);
          close(far);
        })
      ));
      this.#connections.delete(far);
    } catch {
      // Nobody listens there.
    } finally {
      close(near);
      this.#connections.delete(near);
    }
  }
}

function close(connection: Deno.TcpConn): void {
  try {
    connection.close();
  } catch {
    // It was closed already.
  }
}
